"""Learnt error quantiles and the baseline forecast: properties, and what they are worth on made-up and real hours."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from heliotrope.coordinator.forecasts import baseline, csvtrace, learning
from heliotrope.coordinator.forecasts.learning import Claim, ErrorModel, LeadErrors

HOUR_S = 3600.0
errors = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=200)
ratios = st.floats(0.01, 0.99)


@given(errors, ratios, ratios)
def test_quantiles_are_of_what_was_seen_and_rise(seen: list[float], one: float, other: float) -> None:
    low, high = sorted((one, other))
    assert learning.conformal(seen, low) in seen
    assert learning.conformal(seen, low) <= learning.conformal(seen, high)


@given(errors, ratios)
def test_tails_are_mirror_images(seen: list[float], ratio: float) -> None:
    if abs(ratio - 0.5) > 1e-6:
        mirrored = [-one for one in seen]
        assert learning.conformal(mirrored, ratio) == -learning.conformal(seen, 1.0 - ratio)


@given(st.lists(st.integers(-1000, 1000), min_size=30, max_size=60, unique=True), st.sampled_from([0.1, 0.9]))
def test_the_next_of_exchangeable_errors_lies_beyond_as_seldom_as_stated(seen: list[int], ratio: float) -> None:
    """Leave each one out in turn: the promise of split conformal prediction, exactly."""
    missed = 0
    for place, value in enumerate(seen):
        quantile = learning.conformal([float(x) for x in seen[:place] + seen[place + 1 :]], ratio)
        missed += value < quantile if ratio < 0.5 else value > quantile
    assert missed / len(seen) <= 0.1 + 1e-9
    assert missed / len(seen) >= 0.1 - 2.0 / len(seen)


@given(st.lists(st.tuples(st.integers(0, 100), st.floats(-50, 50)), max_size=30), st.integers(0, 150))
def test_a_claim_is_settled_once_and_only_when_its_hour_is_known(made: list[tuple[int, float]], until_h: int) -> None:
    claims = tuple(Claim(hour * HOUR_S, HOUR_S, value) for hour, value in made)
    model = learning.settle(ErrorModel(claims=claims), until_h * HOUR_S, lambda _: 7.0)
    due = [value for hour, value in made if hour <= until_h]
    assert sorted(model.leads[0].errors if model.leads else ()) == sorted(7.0 - value for value in due)
    assert len(model.claims) == len(made) - len(due)
    assert learning.settle(model, until_h * HOUR_S, lambda _: 9.0) == model


def test_an_unknown_outcome_teaches_nothing() -> None:
    model = ErrorModel(claims=(Claim(HOUR_S, HOUR_S, 1.0),))
    assert learning.settle(model, 2 * HOUR_S, lambda _: float("nan")) == ErrorModel()


def test_claims_are_made_once_an_hour_at_every_lead_that_the_forecast_reaches() -> None:
    model = learning.claim(ErrorModel(), 1e6, lambda s: float("nan") if s > 1e6 + 20 * HOUR_S else s)
    assert [one.lead_s / HOUR_S for one in model.claims] == [1, 2, 3, 6, 12, 18]
    assert learning.claim(model, 1e6 + 1800, lambda s: s) == model
    assert len(learning.claim(model, 1e6 + HOUR_S, lambda s: s).claims) == 6 + len(learning.LEADS_S)


def test_memory_is_bounded() -> None:
    model = ErrorModel()
    for hour in range(1000):
        model = learning.settle(model, hour * HOUR_S, lambda _: 0.0)
        model = learning.claim(model, hour * HOUR_S, lambda _: 1.0)
    assert max(len(one.errors) for one in model.leads) == learning.ERRORS_KEPT
    assert len(model.claims) <= sum(lead_s / HOUR_S + 1 for lead_s in learning.LEADS_S)


def test_between_leads_errors_grow_linearly_and_few_say_nothing() -> None:
    many = tuple(float(k) for k in range(-50, 51))
    model = ErrorModel(leads=(LeadErrors(HOUR_S, many), LeadErrors(3 * HOUR_S, tuple(2 * one for one in many))))
    at_one = learning.error_quantile(model, HOUR_S, 0.9)
    assert at_one is not None
    assert learning.error_quantile(model, HOUR_S / 2, 0.9) == pytest.approx(at_one / 2)
    assert learning.error_quantile(model, 2 * HOUR_S, 0.9) == pytest.approx(1.5 * at_one)
    assert learning.error_quantile(model, 99 * HOUR_S, 0.9) == pytest.approx(2 * at_one)
    assert learning.error_quantile(ErrorModel(leads=(LeadErrors(HOUR_S, many[:19]),)), HOUR_S, 0.9) is None


@given(st.floats(-100, 100), ratios, st.floats(-100, 100))
def test_pinball_is_least_at_the_truth(realised: float, ratio: float, forecast: float) -> None:
    assert learning.pinball(realised, forecast, ratio) >= 0.0 == learning.pinball(realised, realised, ratio)


def _days(count: int, noise: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    hours = np.arange(count * 24)
    walk = np.zeros(hours.size)
    for k in range(1, hours.size):
        walk[k] = 0.95 * walk[k - 1] + noise * rng.standard_normal()
    return 1.7e9 // 86400 * 86400 + hours * HOUR_S, 300 + 100 * np.cos(2 * np.pi * hours / 24) + walk


@given(st.integers(0, 191), st.integers(1, 48))
def test_a_day_that_repeats_is_forecast_exactly(now: int, lead: int) -> None:
    times_s, values = _days(12, 0.0, 0)
    last = 48 + now
    found = baseline.predict(times_s[: last + 1], values[: last + 1], np.array([times_s[last] + lead * HOUR_S]))
    assert found[0] == pytest.approx(300 + 100 * np.cos(2 * np.pi * (last + lead) / 24))


@given(st.lists(st.none() | st.floats(0, 1000), min_size=1, max_size=240), st.integers(1, 72))
def test_a_forecast_stays_within_what_was_seen_and_is_known_if_anything_is(past: list[float | None], lead: int) -> None:
    values = np.array([np.nan if one is None else one for one in past])
    times_s = 1.7e9 + HOUR_S * np.arange(values.size, dtype=np.float64)
    found = baseline.predict(times_s, values, times_s[-1] + HOUR_S * np.arange(1, lead + 1))
    if np.isnan(values).all():
        assert np.isnan(found).all()
    else:
        assert np.all((found >= np.nanmin(values)) & (found <= np.nanmax(values)))


def _loss(times_s: np.ndarray, values: np.ndarray, lead: int, every: int) -> tuple[float, float, float]:
    """(pinball of baseline + learnt, of plain persistence, share of p10 missed) at one lead."""
    model, ours, plain, missed, count = ErrorModel(), 0.0, 0.0, 0, 0
    for at in range(8 * 24, values.size - lead, every):
        past = slice(at - 8 * 24, at + 1)
        ahead = float(baseline.predict(times_s[past], values[past], times_s[at] + np.array([lead * HOUR_S]))[0])
        model = learning.settle(model, times_s[at], lambda s: float(values[round((s - times_s[0]) / HOUR_S)]))
        realised = float(values[at + lead])
        quantiles = [learning.error_quantile(model, lead * HOUR_S, ratio) for ratio in (0.1, 0.5, 0.9)]
        for ratio, error in zip((0.1, 0.5, 0.9), quantiles, strict=True):
            if error is not None:
                ours += learning.pinball(realised, ahead + error, ratio)
                plain += learning.pinball(realised, float(values[at]), ratio)
        if quantiles[0] is not None:
            missed, count = missed + (realised < ahead + quantiles[0]), count + 1
        only = {times_s[at] + lead * HOUR_S: ahead}
        model = learning.claim(model, float(times_s[at]), lambda s, only=only: only.get(s, float("nan")))  # type: ignore[misc]
    return ours, plain, missed / count


@pytest.mark.parametrize("lead", [3, 12, 24])
def test_it_beats_plain_persistence_and_its_p10_is_missed_as_often_as_said(lead: int) -> None:
    times_s, values = _days(150, 10.0, 1)
    ours, plain, missed = _loss(times_s, values, lead, 3)
    assert ours < 0.8 * plain
    assert 0.05 <= missed <= 0.15


def test_on_real_hours() -> None:
    folder = os.environ.get("HELIOTROPE_DATA", "")
    path = Path(folder) / "electricitymaps" / "lca.csv.gz"
    if not folder or not path.exists():
        pytest.skip("HELIOTROPE_DATA names no folder with electricitymaps/lca.csv.gz")
    series = csvtrace.read(path, "DE", "g_per_kwh")
    for lead in (6, 24):
        ours, plain, missed = _loss(series.times_s[:6000], series.values[:6000], lead, 6)
        assert ours < 0.8 * plain
        assert 0.05 <= missed <= 0.15
