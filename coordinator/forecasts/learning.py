"""How wrong forecasts were, by lead time, and so how wrong they may be: quantiles learnt from realised errors.

Pure: a model in, a model out. A forecast becomes *claims* (the value it gave for a lead time); when the value itself is
known, realised minus claimed is an error of that lead. The quantile of an error is the split-conformal one (Vovk,
Gammerman, Shafer, Algorithmic Learning in a Random World, 2005): the ceil((n + 1) q)-th of n, so that without drift a
stated p10 is missed at most, and nearly, 10 % of the time also for small n. Only past errors enter.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

import msgspec

HOUR_S = 3600.0
LEADS_S = tuple(hours * HOUR_S for hours in (1, 2, 3, 6, 12, 18, 24, 36, 48))
ERRORS_KEPT = 720  # per lead: a month of hours
ERRORS_NEEDED = 20  # below that a 5 % quantile would lie beyond all that was seen
CLAIM_EVERY_S = HOUR_S


class Claim(msgspec.Struct, frozen=True, array_like=True):
    """A value forecast for ``target_s`` [Unix s], ``lead_s`` before it."""

    target_s: float
    lead_s: float
    value: float


class LeadErrors(msgspec.Struct, frozen=True, array_like=True):
    """Realised minus claimed, oldest first."""

    lead_s: float
    errors: tuple[float, ...] = ()


class ErrorModel(msgspec.Struct, frozen=True):
    """What one series' forecasts have been worth. ``claimed_s``: when the last claims were made [Unix s]."""

    claims: tuple[Claim, ...] = ()
    leads: tuple[LeadErrors, ...] = ()
    claimed_s: float = 0.0


def claim(model: ErrorModel, issued_s: float, value_at: Callable[[float], float]) -> ErrorModel:
    """With the claims of a forecast issued at ``issued_s``; ``value_at`` gives NaN beyond it.

    At most one set an hour.
    """
    if issued_s < model.claimed_s + CLAIM_EVERY_S:
        return model
    made = [Claim(issued_s + lead_s, lead_s, value_at(issued_s + lead_s)) for lead_s in LEADS_S]
    known = tuple(one for one in made if math.isfinite(one.value))
    return msgspec.structs.replace(model, claims=model.claims + known, claimed_s=issued_s)


def settle(model: ErrorModel, until_s: float, value_at: Callable[[float], float]) -> ErrorModel:
    """With the errors of all claims up to ``until_s``, where values are known by now; NaN drops a claim unsettled."""
    due = [one for one in model.claims if one.target_s <= until_s]
    if not due:
        return model
    found: dict[float, list[float]] = {}
    for one in due:
        realised = value_at(one.target_s)
        if math.isfinite(realised):
            found.setdefault(one.lead_s, []).append(realised - one.value)
    return msgspec.structs.replace(
        model,
        claims=tuple(one for one in model.claims if one.target_s > until_s),
        leads=_with(model.leads, found),
    )


def _with(leads: Sequence[LeadErrors], found: Mapping[float, list[float]]) -> tuple[LeadErrors, ...]:
    known = {one.lead_s: one.errors for one in leads}
    for lead_s, errors in found.items():
        known[lead_s] = (*known.get(lead_s, ()), *errors)[-ERRORS_KEPT:]
    return tuple(LeadErrors(lead_s, known[lead_s]) for lead_s in sorted(known))


def conformal(errors: Sequence[float], ratio: float) -> float:
    """The ``ratio`` quantile (0..1) of the next error, given n past ones: the ceil((n + 1) ratio)-th smallest.

    For a lower tail its mirror image, so that both tails are as careful. At the ends the extremes seen.
    """
    ordered = sorted(errors)
    count = len(ordered)
    exact = (count + 1) * ratio
    rank = math.ceil(exact - 1e-9) if ratio >= 0.5 else math.floor(exact + 1e-9)
    return ordered[min(max(rank, 1), count) - 1]


def error_quantile(model: ErrorModel, lead_s: float, ratio: float) -> float | None:
    """The error's quantile at any lead: between learnt leads linear, from 0 at lead 0, beyond the last one the last.

    None until a lead at or beyond it, or the last learnt one, has :data:`ERRORS_NEEDED` errors.
    """
    known = [(one.lead_s, conformal(one.errors, ratio)) for one in model.leads if len(one.errors) >= ERRORS_NEEDED]
    if not known:
        return None
    if known[0][0] > LEADS_S[0] and lead_s < known[0][0]:
        return known[0][1]  # the short leads are not learnt yet: the longer one's errors are the careful choice
    knots = [(0.0, 0.0), *known]
    for (left_s, left), (right_s, right) in pairwise(knots):
        if lead_s <= right_s:
            return left + (right - left) * (max(lead_s, 0.0) - left_s) / (right_s - left_s)
    return knots[-1][1]


def count(model: ErrorModel, lead_s: float) -> int:
    """How many errors of exactly that lead are known."""
    return next((len(one.errors) for one in model.leads if one.lead_s == lead_s), 0)


def pinball(realised: float, forecast: float, ratio: float) -> float:
    """The quantile loss, in the value's unit (Koenker and Bassett, Econometrica 46:33, 1978)."""
    difference = realised - forecast
    return max(ratio * difference, (ratio - 1.0) * difference)
