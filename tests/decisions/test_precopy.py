"""Pre-copy: what a job's wire bytes are expected to be, and when another round is worth it."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heliotrope.coordinator.decisions import expectation, precopy, wire_model
from heliotrope.coordinator.decisions.expectation import Errors, Way
from heliotrope.coordinator.decisions.precopy import ROUNDS_LIMIT, Standing
from heliotrope.coordinator.decisions.wire_model import WireModel, WireSample

GB = 1e9
ADAMW = wire_model.fit([])
LORA = WireModel(full_ratio=0.9, delta_ratio=0.01, exponent=0.0)
SPREADING = WireModel(full_ratio=1.0, delta_ratio=1e-4, exponent=1.0)  # a 10,000th of the state changes per second

positive = st.floats(1e-3, 1e4)
models = st.builds(
    WireModel, full_ratio=st.floats(0.1, 1.0), delta_ratio=st.floats(1e-6, 1.0), exponent=st.floats(0, 1)
)
standings = st.builds(
    Standing,
    model=models,
    state_bytes=st.floats(1.0, 1e12),
    rounds_count=st.integers(1, ROUNDS_LIMIT + 1),
    staged_age_s=positive,
    newest_age_s=st.one_of(st.none(), positive),
    bandwidth_bytes_per_s=st.one_of(st.just(0.0), st.floats(1e3, 1e10)),
    latency_s=st.floats(0, 1),
    save_s=st.floats(0, 100),
    load_s=st.floats(0, 100),
    alpha=st.floats(0.01, 1),
    window_s=st.one_of(st.none(), positive),
    sending_s_per_byte=st.floats(0, 1e-6),
)


def standing(model: WireModel, **more: float | None) -> Standing:
    """10 GB over 1 Gbit/s, one round done."""
    values: dict[str, float | None] = {
        "state_bytes": 10 * GB,
        "rounds_count": 1,
        "staged_age_s": 70.0,
        "newest_age_s": None,
        "bandwidth_bytes_per_s": GB / 8,
        "latency_s": 0.02,
        "save_s": 2.0,
        "load_s": 3.0,
        "alpha": 0.1,
    }
    return Standing(model=model, **{**values, **more})  # type: ignore[arg-type]


def test_full_training_and_a_frozen_base_take_no_useless_second_round() -> None:
    assert not precopy.decide(standing(ADAMW)).again
    found = precopy.decide(standing(LORA))
    assert not found.again and "it would save 0.0 s of standstill" in found.reason
    assert found.left_bytes == pytest.approx(0.1 * GB)


def test_rounds_follow_where_changes_grow_with_time_until_they_no_longer_pay() -> None:
    """As a virtual machine's pages: each round is shorter than the one before it."""
    age_s, rounds, left = 5000.0, 1, []
    while (found := precopy.decide(standing(SPREADING, staged_age_s=age_s, rounds_count=rounds, save_s=0.01))).again:
        assert found.fresh
        left.append(found.left_bytes)
        age_s, rounds = found.left_bytes / (GB / 8), rounds + 1
    assert 2 <= len(left) < ROUNDS_LIMIT and left == sorted(left, reverse=True)


def test_a_stale_first_round_is_made_good_by_what_the_source_holds_already() -> None:
    old = standing(WireModel(0.83, 0.5, 0.05), staged_age_s=40_000.0, alpha=0.01, save_s=30.0)
    assert not precopy.decide(old).again, "a fresh one costs its save"
    found = precopy.decide(replace(old, newest_age_s=60.0))
    assert found.again and not found.fresh


def test_the_window_and_the_price_of_sending_end_it() -> None:
    grows = standing(SPREADING, staged_age_s=5000.0)
    assert precopy.decide(grows).again
    assert "the window ends in 10.0 s" in precopy.decide(replace(grows, window_s=10.0)).reason
    assert not precopy.decide(replace(grows, sending_s_per_byte=1e-6)).again
    assert f"{ROUNDS_LIMIT} are the limit" in precopy.decide(replace(grows, rounds_count=ROUNDS_LIMIT)).reason


@given(standings)
def test_another_round_always_saves_something_and_never_goes_on_for_ever(one: Standing) -> None:
    found = precopy.decide(one)
    assert 0 <= found.left_bytes <= one.state_bytes * one.model.full_ratio
    if found.again:
        assert one.rounds_count < ROUNDS_LIMIT and one.bandwidth_bytes_per_s > 0
        assert found.fresh or one.newest_age_s is not None
        assert one.model.exponent > 0, "what does not grow with age does not shrink with youth"


@given(standings, st.floats(1.0, 10.0))
def test_what_costs_more_is_not_done_rather(one: Standing, factor: float) -> None:
    if not precopy.decide(one).again:
        dearer = replace(one, sending_s_per_byte=one.sending_s_per_byte * factor)
        assert not precopy.decide(dearer).again
        assert not precopy.decide(replace(one, alpha=min(one.alpha * factor, 1.0))).again
        assert not precopy.decide(replace(one, rounds_count=one.rounds_count + 1)).again


@given(
    st.floats(0.01, 0.8), st.floats(0.0, 1.0), st.lists(st.floats(2.0, 1000.0), min_size=6, max_size=12, unique=True)
)
def test_a_job_s_law_is_found_from_its_transfers(at_1_s: float, exponent: float, ages_s: list[float]) -> None:
    true = [at_1_s * age_s**exponent for age_s in ages_s]
    samples = [
        WireSample(state_bytes=10**12, wire_bytes=round(ratio * 1e12), age_s=age_s)
        for ratio, age_s in zip(true, ages_s, strict=True)
    ]
    found = wire_model.fit([WireSample(state_bytes=10**12, wire_bytes=2 * 10**15), *samples])
    spread = sum((math.log(age_s) - sum(map(math.log, ages_s)) / len(ages_s)) ** 2 for age_s in ages_s)
    # The prior pulls by 1 against the spread of the ages seen, towards a slope between 0 and 1.
    assert abs(found.exponent - exponent) <= 1 / (1 + spread) + 1e-6
    middle_s = math.exp(sum(map(math.log, ages_s)) / len(ages_s))
    assert found.delta_bytes(1.0, middle_s) == pytest.approx(at_1_s * middle_s**exponent, rel=1e-3)


@given(models, st.floats(0, 1e12), positive, positive)
def test_an_older_base_never_makes_a_smaller_delta(
    model: WireModel, state_bytes: float, a_s: float, b_s: float
) -> None:
    young, old = sorted((a_s, b_s))
    assert model.delta_bytes(state_bytes, young) <= model.delta_bytes(state_bytes, old) <= model.full_bytes(state_bytes)


@given(st.lists(st.booleans(), max_size=60))
def test_replicas_do_not_drive_out_what_moves_taught(kinds: list[bool]) -> None:
    samples: tuple[WireSample, ...] = ()
    for number, is_replica in enumerate(kinds):
        samples = wire_model.kept(samples, WireSample(state_bytes=number + 1, wire_bytes=1, replica=is_replica))
    assert len(samples) <= wire_model.SAMPLES_KEPT
    assert [one.state_bytes for one in samples] == sorted(one.state_bytes for one in samples)
    assert sum(one.replica for one in samples) <= wire_model.REPLICA_SAMPLES_KEPT
    moves = kinds.count(False)
    least = wire_model.SAMPLES_KEPT - wire_model.REPLICA_SAMPLES_KEPT
    assert sum(not one.replica for one in samples) >= min(moves, least)
    if kinds:
        assert samples[-1].state_bytes == len(kinds)


def test_the_frozen_share_counts_until_a_delta_was_sent() -> None:
    assert wire_model.fit([], 0.99).delta_bytes(GB, 60.0) == pytest.approx(0.01 * ADAMW.delta_bytes(GB, 60.0))
    sent = [WireSample(state_bytes=1000, wire_bytes=500, age_s=60.0)]
    assert wire_model.fit(sent, 0.99).delta_bytes(GB, 60.0) == pytest.approx(GB / 2)


def test_the_expected_standstill_is_save_last_delta_and_load() -> None:
    way = Way(bandwidth_bytes_per_s=GB / 8, latency_s=0.0, save_s=2.0, load_s=3.0)
    fresh = expectation.expect(LORA, way, 10 * GB, 100.0, None)
    assert fresh is not None
    assert (fresh.wire_bytes, fresh.standstill_wire_bytes) == (9_100_000_000, 100_000_000)
    assert fresh.standstill_s == pytest.approx(2.0 + 0.8 + 3.0) and fresh.staging_s == pytest.approx(72.0)
    there = expectation.expect(LORA, way, 10 * GB, 100.0, 0.0)
    assert there is not None and there.wire_bytes == there.standstill_wire_bytes, "the newest is there already"
    assert expectation.expect(LORA, way, 0.0, 0.0, None) is None


@given(st.lists(st.floats(0.1, 10.0), min_size=2, max_size=20))
def test_errors_are_the_mean_and_spread_of_the_logarithms(ratios: list[float]) -> None:
    errors = Errors()
    for ratio in ratios:
        errors = expectation.learn(errors, 4.0, 4.0 * ratio)
    logs = [math.log(ratio) for ratio in ratios]
    mean = sum(logs) / len(logs)
    assert errors.count == len(logs) and errors.mean == pytest.approx(mean, abs=1e-9)
    squares = sum((one - mean) ** 2 for one in logs)
    assert errors.spread == pytest.approx(math.sqrt(squares / (len(logs) - 1)), abs=1e-6)
    assert expectation.learn(errors, 0.0, 1.0) == errors, "nothing was expected"
