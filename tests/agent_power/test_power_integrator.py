"""Joules from readings: properties of the arithmetic, and the steady grid of the sampler."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heliotrope.agent.power.integrator import MAX_BRIDGE_S, Integrator
from heliotrope.agent.power.reading import Channel, ErrorKind, ProcessUse, Reading, Scope, SensorError, failed
from heliotrope.agent.power.sampler import Sampler, run
from heliotrope.agent.power.window import Seed, SensorWindow

WRAP_J = 1000.0
COUNTER = Channel(device="d", source="rapl", scope=Scope.PACKAGE, has_counter=True, wrap_j=WRAP_J, counter_step_s=0.001)
GPU = Channel(device="d", source="nvml", scope=Scope.GPU, has_counter=True, counter_step_s=0.1)
POWER = Channel(device="d", source="hwmon", scope=Scope.NODE)


def reading(
    channel: Channel, taken_s: float, *, energy_j: float | None = None, power_w: float | None = None
) -> Reading:
    return Reading(
        device="d", source=channel.source, scope=channel.scope, taken_s=taken_s, energy_j=energy_j, power_w=power_w
    )


@given(st.lists(st.tuples(st.floats(0.02, 0.4), st.floats(0, 1500)), min_size=1, max_size=60), st.floats(0, 999))
def test_a_wrapping_counter_gives_exactly_what_was_drawn(steps: list[tuple[float, float]], start_j: float) -> None:
    """Over any run of reads, with windows closed anywhere, the joules are the truth's."""
    integrator = Integrator(COUNTER, gap_s=0.5)
    now_s, truth_j, booked_j, covered_s = 0.0, 0.0, 0.0, 0.0
    integrator.add(reading(COUNTER, now_s, energy_j=start_j))
    for index, (span_s, power_w) in enumerate(steps):
        now_s += span_s
        truth_j += span_s * power_w
        integrator.add(reading(COUNTER, now_s, energy_j=(start_j + truth_j) % WRAP_J))
        if index % 7 == 3:
            window = integrator.close()
            booked_j, covered_s = booked_j + window.energy_j, covered_s + window.covered_s
    window = integrator.close()
    assert booked_j + window.energy_j == pytest.approx(truth_j, abs=1e-6)
    assert covered_s + window.covered_s == pytest.approx(now_s)


@given(st.lists(st.one_of(st.none(), st.tuples(st.floats(0, 1e6), st.floats(0, 2000))), min_size=2, max_size=40))
def test_whatever_a_counter_does_energy_is_never_negative_nor_absurd(values: list[tuple[float, float] | None]) -> None:
    integrator = Integrator(GPU, gap_s=0.5)
    for index, value in enumerate(values):
        if value is None:
            integrator.add(failed(GPU, index * 0.1, SensorError(ErrorKind.RETRY, "cannot read")))
        else:
            integrator.add(reading(GPU, index * 0.1, energy_j=value[0], power_w=value[1]))
    window = integrator.close()
    assert 0 <= window.energy_j <= 20_000 * (window.covered_s + 0.1 * len(values))
    assert window.covered_s <= len(values) * 0.1


def test_power_alone_is_integrated_by_trapezoids() -> None:
    integrator = Integrator(POWER, gap_s=0.5)
    for index in range(11):
        integrator.add(reading(POWER, index * 0.1, power_w=100 + 10 * index))
    window = integrator.close()
    assert window.energy_j == pytest.approx(150.0)
    assert (window.min_w, window.max_w, window.latest_w) == (100, 200, 200)


def test_a_silence_without_a_counter_is_a_gap_and_not_a_guess() -> None:
    integrator = Integrator(POWER, gap_s=0.5)
    for taken_s in (0.0, 0.1, 5.1, 5.2):
        integrator.add(reading(POWER, taken_s, power_w=100))
    window = integrator.close()
    assert window.energy_j == pytest.approx(20.0)
    assert window.covered_s == pytest.approx(0.2)
    assert window.gap_reason == "no readings for 5.0 s, not measured"


def test_a_counter_bridges_a_silence_and_says_so() -> None:
    integrator = Integrator(GPU, gap_s=0.5)
    for taken_s in (0.0, 0.1, 5.1, 5.2):
        integrator.add(reading(GPU, taken_s, energy_j=100 * taken_s))
    window = integrator.close()
    assert [window.energy_j, window.covered_s] == pytest.approx([520.0, 5.2])
    assert "bridged" in window.gap_reason


def test_too_long_a_silence_is_not_bridged() -> None:
    integrator = Integrator(GPU, gap_s=0.5, seed=Seed(0.0, 0.0))
    integrator.add(reading(GPU, MAX_BRIDGE_S + 1, energy_j=5000.0))
    window = integrator.close()
    assert (window.energy_j, window.covered_s) == (0.0, 0.0)
    assert "not measured" in window.gap_reason


def test_a_silence_in_which_the_counter_may_have_lapped_is_not_bridged() -> None:
    integrator = Integrator(COUNTER, gap_s=0.5)
    integrator.add(reading(COUNTER, 0.0, energy_j=10.0))
    integrator.add(reading(COUNTER, 30.0, energy_j=20.0))
    assert integrator.close().energy_j == 0.0


def test_a_reset_counts_by_power_where_there_is_power() -> None:
    integrator = Integrator(GPU, gap_s=0.5)
    for taken_s, energy_j in ((0.0, 500.0), (0.1, 510.0), (0.2, 1.0), (0.3, 11.0)):
        integrator.add(reading(GPU, taken_s, energy_j=energy_j, power_w=100))
    window = integrator.close()
    assert window.energy_j == pytest.approx(10 + 10 + 10)
    assert window.gap_reason == "energy counter was reset"


def test_a_counter_that_stands_still_under_power_is_stale() -> None:
    """Its joules come from power meanwhile, and are not counted again when it catches up."""
    integrator = Integrator(GPU, gap_s=0.5)
    for tick in range(41):
        integrator.add(reading(GPU, tick * 0.1, energy_j=70.0, power_w=100))
    window = integrator.close()
    assert window.energy_j == pytest.approx(400.0)
    assert "stands still" in window.gap_reason
    integrator.add(reading(GPU, 4.1, energy_j=70.0 + 410.0, power_w=100))
    assert integrator.close().energy_j == pytest.approx(10.0)


def test_a_failed_reading_ends_the_latest_power() -> None:
    integrator = Integrator(POWER, gap_s=0.5)
    integrator.add(reading(POWER, 0.0, power_w=100))
    integrator.add(failed(POWER, 0.1, SensorError(ErrorKind.RETRY, "cannot read it")))
    window = integrator.close()
    assert (window.latest_w, window.gap_reason) == (None, "cannot read it")


class Meter:
    """A source with one channel at constant power, read by the test's own clock."""

    name = "hwmon"
    channels = (POWER,)

    def __init__(self) -> None:
        self.now_s = 100.0
        self.read_at_s: list[float] = []

    def keep(self, devices: frozenset[str]) -> None:
        raise AssertionError("not asked for")

    def read(self, *, counters: bool = True) -> list[Reading]:
        self.read_at_s.append(self.now_s)
        return [reading(POWER, self.now_s, power_w=50)]

    def uses(self) -> dict[str, list[ProcessUse] | None]:
        return {"d": None}

    def close(self) -> None:
        raise AssertionError("not asked for")


@pytest.mark.parametrize("rate_hz", [1.0, 10.0, 50.0])
def test_ticks_stay_on_the_grid_whatever_each_takes(rate_hz: float) -> None:
    meter = Meter()
    sampler = Sampler([meter], rate_hz=rate_hz, flush_s=1.0, origin_s=100.0)
    found: list[SensorWindow] = []
    delays = iter([0.3, 0.0, 2.7, 0.1] * 60)

    def wait(seconds: float) -> bool:
        # Every wake-up is a little late, and now and then by several periods.
        meter.now_s += seconds + next(delays) / rate_hz / 4
        return meter.now_s > 100.0 + 200 / rate_hz

    run(sampler, monotonic_s=lambda: meter.now_s, wait=wait, emit=found.append)
    lateness = [((taken_s - 100.0) * rate_hz + 1e-9) % 1 for taken_s in meter.read_at_s]
    assert max(lateness) <= 0.7
    assert len(meter.read_at_s) in (199, 200)  # none lost; the last may fall to the stop
    ends = [window.end_s for window in found]
    assert [window.start_s for window in found[1:]] == ends[:-1]
    assert sum(w.devices[0].energy_j for w in found) == pytest.approx(50 * (ends[-1] - found[0].start_s))


def test_missed_ticks_are_skipped_and_not_caught_up() -> None:
    sampler = Sampler([Meter()], rate_hz=10.0, flush_s=1.0, origin_s=100.0)
    assert sampler.wait_s(100.0) == pytest.approx(0.1)
    assert sampler.wait_s(107.33) == pytest.approx(0.07)
