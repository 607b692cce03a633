"""The open batches of a monitor: windows and CPU time go to the batch in which most of them lies, and a batch closes
when all that belongs to it has come, or cannot come any more.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

import msgspec

from .accumulator import Accumulator, Owner
from .batch import IDLE, UNATTRIBUTED, CurrentPower, DeviceEnergy, EnergyShare
from .config import PowerConfig
from .reading import Channel, ProcessUse
from .sources.model import DEVICE as MODEL_DEVICE
from .window import SensorWindow


class ClosedBatch(msgspec.Struct, frozen=True, kw_only=True):
    """A batch whose times are still on the monotonic clock."""

    start_s: float
    end_s: float
    devices: tuple[DeviceEnergy, ...]
    shares: tuple[EnergyShare, ...]


class Live(msgspec.Struct, frozen=True, kw_only=True):
    """The latest watts of one device and of the jobs on it."""

    seen_s: float
    power_w: float
    is_estimated: bool
    job_w: dict[str, float]


class Books:
    """Batches of ``batch_s``, without holes between them, from the time given to :meth:`begin`."""

    def __init__(self, config: PowerConfig, holders: Callable[[], Mapping[str, Sequence[str]]], owner: Owner) -> None:
        self._config = config
        self._holders = holders
        self._owner = owner
        self._origin_s = 0.0
        self._index = 0  # the batch that is filling; those before it only wait for late windows
        self._closed = 0
        self._open: dict[int, Accumulator] = {}
        self._recent = Accumulator(0.0, 0.0)
        self._live: dict[str, Live] = {}
        self._uses: dict[str, list[ProcessUse] | None] = {}  # as the drivers said last
        self.channels: dict[str, Channel] = {}
        self.taken_s: dict[str, float] = {}  # device -> newest live reading; replaced, for other threads' eyes

    def begin(self, origin_s: float) -> None:
        """The first batch starts then; called once, before anything is added."""
        self._origin_s = origin_s

    def set_channels(self, channels: Iterable[Channel]) -> None:
        """The meters that count from now on."""
        self.channels = {channel.device: channel for channel in channels}

    def add(self, window: SensorWindow) -> None:
        """Take a window; one of a closed batch goes to the oldest open one, so that its joules are not lost."""
        self._batch((window.start_s + window.end_s) / 2).add_window(window, self._owner)
        self._uses = {**self._uses, **window.uses}
        uses = {device.device: self._uses[device.device] for device in window.devices if device.device in self._uses}
        self._recent.add_window(msgspec.structs.replace(window, uses=uses, uses_span_s=0.0), self._owner)
        taken_s = {device.device: device.taken_s for device in window.devices if device.taken_s}
        self.taken_s = {**self.taken_s, **taken_s}

    def add_cpu(
        self,
        now_s: float,
        since_s: float,
        used_s: Mapping[str, float],
        jobs: Sequence[str],
        grouped: Collection[str] = frozenset(),
    ) -> None:
        """Take the CPU time of a scan over [``since_s``, ``now_s``); ``grouped``: jobs whose control group told it."""
        self._batch((since_s + now_s) / 2).add_cpu(used_s, jobs, grouped)
        self._recent.add_cpu(used_s, jobs, grouped)
        self._index = max(self._index, self._number(now_s))

    def is_over(self, now_s: float) -> bool:
        """Whether the filling batch has ended, so that its last scan is due."""
        return self._number(now_s) > self._index

    def wait_s(self, now_s: float) -> float:
        """Seconds until the filling batch ends; short while an ended one waits for its last windows."""
        if self._closed < self._index:
            return 0.1
        return max(0.0, self._end_s(self._index) - now_s)

    def closable(self, now_s: float, down_reason: str, gap_reason: str = "") -> list[ClosedBatch]:
        """Batches to hand out now. ``down_reason``: why the sensor sends nothing at present, empty while it works;
        ``gap_reason``: why it sent nothing a moment ago.
        """
        ready = []
        while self._closed < self._index and self._is_complete(self._closed, now_s, down_reason):
            ready.append(self._close(self._closed, self._end_s(self._closed), down_reason or gap_reason))
            self._closed += 1
        return ready

    def finish(self, now_s: float, down_reason: str) -> list[ClosedBatch]:
        """All that is left, the filling batch cut off at now."""
        ready = []
        for index in range(self._closed, self._index + 1):
            end_s = min(self._end_s(index), now_s)
            if index in self._open or end_s - self._start_s(index) > 0.1:
                ready.append(self._close(index, end_s, down_reason))
        self._closed = self._index + 1
        return ready

    def current(self, now_s: float, limit_s: float) -> CurrentPower:
        """Watts over the last second or so; devices that were silent for longer than ``limit_s`` are absent."""
        devices, shares = self._settle(self._recent, {}, "")
        fresh = [device for device in devices if self._recent.covered_s(device.device) > 0]
        for device in fresh:
            self._live[device.device] = _live(device, shares, self._recent.covered_s(device.device), now_s)
        if fresh:
            self._recent = Accumulator(now_s, now_s)
        self._live = {
            name: live for name, live in self._live.items() if now_s - live.seen_s <= limit_s and name in self.channels
        }
        job_w: dict[str, float] = {}
        for live in self._live.values():
            for job, power_w in live.job_w.items():
                job_w[job] = job_w.get(job, 0.0) + power_w
        return CurrentPower(
            device_w={name: live.power_w for name, live in self._live.items()},
            job_w=job_w,
            is_estimated=any(live.is_estimated for live in self._live.values()),
        )

    def _is_complete(self, index: int, now_s: float, down_reason: str) -> bool:
        end_s = self._end_s(index)
        if now_s >= end_s + self._config.hang_s + 2.0:
            return True
        batch = self._open.get(index)
        slack_s = 0.6 * min(1.0, self._config.batch_s)
        late = [
            channel
            for name, channel in self.channels.items()
            if batch is None or (batch.reached_s(name) or -math.inf) < end_s - slack_s
        ]
        return not late or bool(down_reason)

    def _close(self, index: int, end_s: float, down_reason: str) -> ClosedBatch:
        batch = self._open.pop(index, None) or Accumulator(self._start_s(index), end_s)
        batch.end_s = end_s
        devices, shares = self._settle(batch, self._holders(), down_reason or "no readings came")
        return ClosedBatch(start_s=batch.start_s, end_s=end_s, devices=devices, shares=shares)

    def _settle(
        self, batch: Accumulator, holders: Mapping[str, Sequence[str]], reason: str
    ) -> tuple[tuple[DeviceEnergy, ...], tuple[EnergyShare, ...]]:
        declared = self._config.model
        return batch.close(
            self.channels,
            idle_w={MODEL_DEVICE: declared.idle_w} if declared else {},
            idle_rule=self._config.idle_rule,
            holders=holders,
            missing_reason=reason,
        )

    def _batch(self, at_s: float) -> Accumulator:
        index = max(self._closed, self._number(at_s))
        if index not in self._open:
            self._open[index] = Accumulator(self._start_s(index), self._end_s(index))
        return self._open[index]

    def _number(self, at_s: float) -> int:
        return math.floor((at_s - self._origin_s) / self._config.batch_s)

    def _start_s(self, index: int) -> float:
        return self._origin_s + index * self._config.batch_s

    def _end_s(self, index: int) -> float:
        return self._start_s(index + 1)


def _live(device: DeviceEnergy, shares: Iterable[EnergyShare], covered_s: float, now_s: float) -> Live:
    job_w: dict[str, float] = {}
    for share in shares:
        if share.device == device.device and share.job_id not in (IDLE, UNATTRIBUTED):
            job_w[share.job_id] = job_w.get(share.job_id, 0.0) + share.energy_j / covered_s
    return Live(seen_s=now_s, power_w=device.energy_j / covered_s, is_estimated=device.estimated, job_w=job_w)
