"""Made-up GPUs, for people without any: readings follow a scenario, and everything that they touch says "fake".

It stands where drivers stand, in the sensor process behind the same interface, so the watchdog, the counters' bridging,
attribution, spool and ledger are the real ones. The energy counter is the exact integral of the power, in steps of 100
ms like a real one; a scenario's faults happen at their second after the agent's start, also when the sensor is
restarted meanwhile.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence

from ..fake_scenario import FakeGpu, FakeScenario
from ..reading import Channel, ErrorKind, Health, Reading, Scope, SensorError, failed
from .names import FAKE

_STEP_S = 0.1


def open_fake(
    scenario: FakeScenario, origin_s: float, monotonic_s: Callable[[], float]
) -> tuple[FakeSource | None, list[str]]:
    """The scenario's GPUs that answer now, with one problem that says what they are."""
    now_s = monotonic_s() - origin_s
    if scenario.driver_away(now_s):
        return None, ["fake: the scenario's driver is being loaded anew; it is looked for again"]
    meters = [FakeMeter(gpu, origin_s) for gpu in scenario.gpus]
    return FakeSource(scenario, meters, origin_s, monotonic_s), []


class FakeMeter:
    """One made-up GPU."""

    def __init__(self, gpu: FakeGpu, origin_s: float) -> None:
        self.gpu = gpu
        self._origin_s = origin_s
        self._is_lost = False
        self.channel = Channel(
            device=gpu.uuid,
            source=FAKE,
            scope=Scope(gpu.scope),
            label=f"{gpu.model} (made up)",
            estimated=True,
            has_counter=gpu.has_counter,
            counter_step_s=_STEP_S,
        )

    def read(self, now_s: float, *, counters: bool) -> Reading:
        """As a driver would answer at that moment of the scenario."""
        at_s = now_s - self._origin_s
        self._is_lost = self._is_lost or self.gpu.is_lost(at_s)
        if self._is_lost:  # like a real one: it only comes back to a process that opens it anew
            error = SensorError(ErrorKind.STOP, f"fake: {self.gpu.uuid} fell off the bus; the scenario says so", 15)
            return failed(self.channel, now_s, error)
        has_counter = self.gpu.has_counter and (counters or not self.gpu.has_power)
        return Reading(
            device=self.gpu.uuid,
            source=FAKE,
            scope=self.channel.scope,
            taken_s=now_s,
            health=Health.LIVE,
            energy_j=self.gpu.counter_j(math.floor(at_s / _STEP_S) * _STEP_S) if has_counter else None,
            power_w=self.gpu.power_at_w(at_s) if self.gpu.has_power else None,
        )


class FakeSource:
    """Implements :class:`..source.Source`. It does not say who uses a GPU: a job that holds one is charged for it."""

    def __init__(
        self, scenario: FakeScenario, meters: Sequence[FakeMeter], origin_s: float, monotonic_s: Callable[[], float]
    ) -> None:
        self._scenario = scenario
        self._meters = list(meters)
        self._origin_s = origin_s
        self._monotonic_s = monotonic_s

    @property
    def name(self) -> str:
        return FAKE

    @property
    def channels(self) -> Sequence[Channel]:
        return [meter.channel for meter in self._meters]

    def keep(self, devices: frozenset[str]) -> None:
        self._meters = [meter for meter in self._meters if meter.channel.device in devices]

    def read(self, *, counters: bool = True) -> list[Reading]:
        now_s = self._monotonic_s()
        at_s = now_s - self._origin_s
        if self._scenario.driver_away(at_s):
            raise SensorError(ErrorKind.FATAL, "fake: the scenario's driver is being loaded anew; open it again", 1)
        if hang_s := self._scenario.hang_left_s(at_s):
            time.sleep(hang_s)  # as a call that does not come back: the watchdog has to end it
        return [meter.read(now_s, counters=counters) for meter in self._meters]

    def close(self) -> None:
        self._meters = []
