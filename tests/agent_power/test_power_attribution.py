"""Who owes which joules: the books close to the microjoule, and every rule does what its name says."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heliotrope.agent.power.accumulator import Accumulator, GpuUses
from heliotrope.agent.power.attribution import Use, attribute
from heliotrope.agent.power.batch import EnergyShare
from heliotrope.agent.power.reading import Channel, ProcessUse, Scope
from heliotrope.agent.power.window import DeviceWindow, SensorWindow

weights = st.dictionaries(st.sampled_from(["a", "b", "c", "?"]), st.floats(0, 1e300), max_size=4)


def joules(shares: list[EnergyShare]) -> dict[tuple[str, str], float]:
    return {(share.job_id, share.rule): share.energy_j for share in shares}


@given(
    energy_j=st.floats(0, 1e7),
    weights=weights,
    holders=st.lists(st.sampled_from(["a", "b", "d"]), unique=True),
    full_weight=st.sampled_from([0.0, 1.0, 1e6]),
    idle_j=st.floats(0, 1e7),
    idle_rule=st.sampled_from(["holder", "usage", "unowned"]),
    is_known=st.booleans(),
)
def test_the_books_close_to_the_microjoule(
    energy_j: float,
    weights: dict[str, float],
    holders: list[str],
    full_weight: float,
    idle_j: float,
    idle_rule: str,
    is_known: bool,
) -> None:
    use = Use(rule="sm", weights=weights, full_weight=full_weight, holders=tuple(holders), is_known=is_known)
    shares = attribute("d", energy_j, use, idle_j=idle_j, idle_rule=idle_rule)
    assert sum(round(share.energy_j * 1e6) for share in shares) == round(energy_j * 1e6)
    assert all(share.energy_j > 0 for share in shares)


@given(st.floats(1, 1e6), st.lists(st.floats(0.001, 1), min_size=1, max_size=8))
def test_shares_are_proportional_to_use(energy_j: float, ratios: list[float]) -> None:
    use = Use(rule="cpu", weights={str(index): ratio for index, ratio in enumerate(ratios)})
    for share in attribute("d", energy_j, use, idle_rule="holder"):
        expected_j = energy_j * ratios[int(share.job_id)] / math.fsum(ratios)
        assert share.energy_j == pytest.approx(expected_j, abs=2e-6)


def test_idle_energy_goes_to_the_holders_and_the_rest_by_use() -> None:
    use = Use(rule="cpu", weights={"a": 3.0, "?": 1.0}, holders=("a", "b"))
    found = joules(attribute("d", 100.0, use, idle_j=20.0, idle_rule="holder"))
    assert found == {("a", "holder"): 10.0, ("b", "holder"): 10.0, ("a", "cpu"): 60.0, ("?", "cpu"): 20.0}


@pytest.mark.parametrize(
    ("use", "idle_rule", "expected"),
    [
        (Use(rule="sm", holders=("a",)), "holder", {("a", "holder"): 10.0}),
        (Use(rule="sm", holders=("a",)), "unowned", {("", "idle"): 10.0}),
        (Use(rule="sm"), "holder", {("", "idle"): 10.0}),
        (Use(rule="sm", is_known=False), "holder", {("?", "unknown"): 10.0}),
        (Use(rule="sm", weights={"a": 0.0}), "holder", {("", "idle"): 10.0}),
        (Use(rule="mig", weights={"a": 2.0}, full_weight=5.0), "holder", {("a", "mig"): 4.0, ("", "idle"): 6.0}),
    ],
)
def test_what_nobody_used(use: Use, idle_rule: str, expected: dict[tuple[str, str], float]) -> None:
    assert joules(attribute("d", 10.0, use, idle_rule=idle_rule)) == expected


@pytest.mark.parametrize("energy_j", [-1.0, float("nan"), float("inf")])
def test_no_books_are_kept_over_an_impossible_energy(energy_j: float) -> None:
    with pytest.raises(ValueError, match="never negative"):
        attribute("d", energy_j, Use(rule="cpu"), idle_rule="holder")


def gpu_use(*uses: ProcessUse | None, holders: tuple[str, ...] = ()) -> dict[tuple[str, str], float]:
    """100 J of a GPU split by what the driver said in one window; the owner of pid N is job N."""
    gpu = GpuUses()
    known = [use for use in uses if use is not None]
    gpu.add(None if None in uses else known, 1.0, lambda pid: str(pid) if pid else "?")
    return joules(attribute("d", 100.0, gpu.use(holders), idle_rule="holder"))


def process(pid: int, **values: object) -> ProcessUse:
    return ProcessUse(device="d", pid=pid, **values)  # type: ignore[arg-type]


def test_a_gpu_is_split_by_sm_time() -> None:
    found = gpu_use(process(1, sm_ratio=0.6, memory_bytes=1), process(2, sm_ratio=0.2, memory_bytes=999))
    assert found == {("1", "sm"): 75.0, ("2", "sm"): 25.0}


def test_without_sm_time_by_memory_and_without_memory_equally() -> None:
    assert gpu_use(process(1, memory_bytes=300), process(2, memory_bytes=100)) == {
        ("1", "memory"): 75.0,
        ("2", "memory"): 25.0,
    }
    assert gpu_use(process(1), process(2)) == {("1", "equal"): 50.0, ("2", "equal"): 50.0}


def test_a_held_but_idle_gpu_is_charged_to_its_holder() -> None:
    assert gpu_use(process(1, sm_ratio=0.0, memory_bytes=5)) == {("1", "holder"): 100.0}
    assert gpu_use(holders=("7",)) == {("7", "holder"): 100.0}


def test_a_free_gpu_is_idle_and_a_silent_driver_is_unknown() -> None:
    assert gpu_use() == {("", "idle"): 100.0}
    assert gpu_use(None) == {("?", "unknown"): 100.0}
    assert gpu_use(process(0, sm_ratio=0.5)) == {("?", "sm"): 100.0}


def test_mig_is_split_by_slices_and_the_free_ones_are_idle() -> None:
    found = gpu_use(
        process(1, slice_ratio=0.5, instance="A"),
        process(2, slice_ratio=0.5, instance="A"),
        process(3, slice_ratio=0.25, instance="B"),
    )
    assert found == {("1", "mig"): 25.0, ("2", "mig"): 25.0, ("3", "mig"): 25.0, ("", "idle"): 25.0}


PACKAGE = Channel(device="p", source="rapl", scope=Scope.PACKAGE)


def batch(energy_j: float, covered_s: float, cpu_s: dict[str, float], jobs: tuple[str, ...]) -> Accumulator:
    accumulator = Accumulator(0.0, 10.0)
    window = DeviceWindow(
        device="p",
        source="rapl",
        scope=Scope.PACKAGE,
        estimated=False,
        energy_j=energy_j,
        covered_s=covered_s,
        min_w=1.0,
    )
    if covered_s:
        accumulator.add_window(SensorWindow(start_s=0.0, end_s=10.0, devices=(window,)), str)
    accumulator.add_cpu(cpu_s, jobs)
    return accumulator


def close(accumulator: Accumulator) -> tuple[object, dict[tuple[str, str], float]]:
    devices, shares = accumulator.close(
        {"p": PACKAGE}, idle_w={}, idle_rule="holder", holders={}, missing_reason="the sensor was killed"
    )
    return devices[0], joules(list(shares))


def test_a_cpu_is_split_by_the_time_of_process_trees() -> None:
    device, shares = close(batch(100.0, 10.0, {"a": 6.0, "?": 2.0}, ("a",)))
    assert shares == {("a", "cpu"): 75.0, ("?", "cpu"): 25.0}
    assert (device.mean_w, device.coverage_ratio, device.gap_reason) == (10.0, 1.0, "")  # type: ignore[attr-defined]


def test_a_machine_without_jobs_is_idle() -> None:
    _, shares = close(batch(100.0, 10.0, {"?": 2.0}, ()))
    assert shares == {("", "idle"): 100.0}


def test_a_device_that_was_not_measured_shows_as_a_gap() -> None:
    device, shares = close(batch(0.0, 0.0, {"a": 1.0}, ("a",)))
    assert shares == {}
    assert (device.coverage_ratio, device.mean_w, device.min_w) == (0.0, None, None)  # type: ignore[attr-defined]
    assert device.gap_reason == "the sensor was killed"  # type: ignore[attr-defined]
