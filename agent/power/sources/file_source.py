"""A source made of files: what RAPL, hwmon and Jetson rails have in common."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..reading import Channel, ErrorKind, Reading, SensorError, failed

Read = Callable[[], float]


class Meter:
    """One channel with the functions that read its counter (J) and its power (W); either may be missing."""

    def __init__(self, channel: Channel, *, energy_j: Read | None = None, power_w: Read | None = None) -> None:
        self.channel = channel
        self._energy_j = energy_j
        self._power_w = power_w
        self._stopped: SensorError | None = None

    def read(self, now_s: float, *, counters: bool = True) -> Reading:
        """Data, or a failed reading; after a STOP the file is not asked again."""
        if self._stopped is not None:
            return failed(self.channel, now_s, self._stopped)
        try:
            return Reading(
                device=self.channel.device,
                source=self.channel.source,
                scope=self.channel.scope,
                taken_s=now_s,
                energy_j=self._energy_j() if self._energy_j and (counters or self._power_w is None) else None,
                power_w=self._power_w() if self._power_w else None,
            )
        except SensorError as error:
            if error.kind is not ErrorKind.RETRY:
                self._stopped = error
            return failed(self.channel, now_s, error)


class FileSource:
    """Meters over files; implements :class:`..source.Source`."""

    def __init__(self, name: str, meters: Sequence[Meter], monotonic_s: Callable[[], float]) -> None:
        self._name = name
        self._meters = list(meters)
        self._monotonic_s = monotonic_s

    @property
    def name(self) -> str:
        return self._name

    @property
    def channels(self) -> Sequence[Channel]:
        return [meter.channel for meter in self._meters]

    def keep(self, devices: frozenset[str]) -> None:
        self._meters = [meter for meter in self._meters if meter.channel.device in devices]

    def read(self, *, counters: bool = True) -> list[Reading]:
        return [meter.read(self._monotonic_s(), counters=counters) for meter in self._meters]

    def close(self) -> None:
        self._meters = []


def probed(meters: Sequence[Meter], now_s: float) -> tuple[list[Meter], list[str]]:
    """Each meter asked once by itself: those that answer, and the errors of those that do not."""
    working: list[Meter] = []
    problems: list[str] = []
    for meter in meters:
        reading = meter.read(now_s)
        if reading.error_kind is None:
            working.append(meter)
        else:
            problems.append(reading.error)
    return working, problems
