"""A scenario from a file of real series: which three zones, which day, and what counts as a window there.

The file is wide CSV, carbon intensity in g/kWh: ``datetime_utc``, then one column per zone, as Electricity Maps'
yearly files pivoted. Nobody's own rule is known from it, so a window is declared: below the zone's own median of the
days shown. Renewable shares are not in it either; the planner, which weighs non-renewable joules, is given the
intensity between the lowest and the highest hour of the three zones for them, and so weighs grams.
"""

from __future__ import annotations

import csv
import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from heliotrope.coordinator.forecasts import csvtrace
from heliotrope.foundation.errors import InvalidInput

from .scenario import NODE_MAX_W, Scenario
from .training import ALPHA_RATIO
from .verdict import MOVES_NEEDED

Floats: TypeAlias = NDArray[np.float64]

ZONE_COUNT = 3
HOUR_S = 3600.0
DAYS_BEFORE, DAYS_AFTER = 2, 4  # of the start: what the medians are taken over
# Without --zones: three places far apart that Electricity Maps' files have, else the best of a few columns.
USUAL_ZONES = ("US-CAL-CISO", "ES", "AU-NSW")
CANDIDATE_ZONES = 6
REHEARSALS = 400
GAIN_LEAST_RATIO = 0.1  # twice the planner's own least gain: a choice on the edge would not move in every run
# What the planner takes a save and a load to last: its own guess before the first move, then what was measured.
FIRST_SAVE_S, SAVE_S, LOAD_S = 5.0, 2.0, 2.0
_COORDINATES = (0.0, 0.0)  # a zone is no place; nothing is computed from where it is


@dataclass(frozen=True)
class Pace:
    """Real seconds of the demonstration: an hour of trace, the whole run, the fleet's start, the first checkpoint."""

    hour_s: float
    run_s: float
    placed_s: float
    ready_s: float
    dwell_s: float


@dataclass(frozen=True)
class _Hours:
    """Hourly intensities (n, zones) from ``first_s`` on; NaN is unknown."""

    zones: tuple[str, ...]
    first_s: float
    values: Floats


def from_file(path: Path, zones: Sequence[str], pace: Pace, folder: Path) -> Scenario:
    """The scenario; its cut of the series is written below ``folder``.

    Raises InvalidInput naming file and line, the zone and those near it, or that nothing would make a job move.
    """
    known = csvtrace.zones(path)
    if zones and (len(zones) != ZONE_COUNT or len(set(zones)) != ZONE_COUNT):
        raise InvalidInput(f"field --zones: {','.join(zones)!r} are not three different zones; write A,B,C")
    if len(known) < ZONE_COUNT:
        raise InvalidInput(f"cannot use {path}: it has {len(known)} zones, the demonstration needs {ZONE_COUNT}")
    for candidates in [tuple(zones)] if zones else _candidates(known):
        hours = _read(path, candidates)
        chosen, start, moves = _search(hours, pace)
        if moves >= MOVES_NEEDED:
            return _scenario(hours, chosen, start, pace, path, folder)
    raise InvalidInput(
        f"cannot show a job that follows the green power with {', '.join(chosen)}: on no day of {path} would it pay to "
        f"move {MOVES_NEEDED} times ({moves} at most); choose other --zones, or a longer --day-s and --target-s"
    )


def _candidates(known: Sequence[str]) -> list[tuple[str, ...]]:
    """Sets of zones to search, in order."""
    some = tuple(known[:: max(1, len(known) // CANDIDATE_ZONES)][:CANDIDATE_ZONES])
    return [USUAL_ZONES, some] if set(USUAL_ZONES) <= set(known) else [some]


def _read(path: Path, zones: tuple[str, ...]) -> _Hours:
    """All zones on one grid of hours: a zone whose stamps differ is refused by csvtrace's own checks."""
    columns = []
    first_s = 0.0
    for zone in zones:
        series = csvtrace.read(path, zone, "g_per_kwh", gaps="unknown", scope="life-cycle")
        first_s = float(series.start_s)
        count = int((series.end_s - series.start_s) // HOUR_S)
        columns.append(series.at_s(first_s + np.arange(count, dtype=np.float64) * HOUR_S))
    return _Hours(zones, first_s, np.stack(columns, axis=1))


def _search(hours: _Hours, pace: Pace) -> tuple[tuple[str, ...], int, int]:
    """(zones, hour to start at, moves to expect): most moves, then the largest gain from them."""
    span = int(np.ceil(pace.run_s / pace.hour_s))
    if len(hours.values) < 24 * (DAYS_BEFORE + DAYS_AFTER + 1):
        days = DAYS_BEFORE + DAYS_AFTER + 1
        raise InvalidInput(f"cannot use the series: {len(hours.values)} hours of it; give at least {days} days")
    triples = itertools.combinations(range(len(hours.zones)), ZONE_COUNT)
    candidates = sorted(itertools.chain.from_iterable(_promising(hours, triple, span) for triple in triples))
    best: tuple[int, float, tuple[int, ...], int] = (-1, 0.0, (0, 1, 2), DAYS_BEFORE * 24)
    for _, triple, start in candidates[-REHEARSALS:]:
        cut = hours.values[start - DAYS_BEFORE * 24 : start + DAYS_AFTER * 24, list(triple)]
        moves, gain = _rehearse(cut, DAYS_BEFORE * 24, pace)
        if (moves, gain) > best[:2]:
            best = (moves, gain, triple, start)
    moves, _, triple, start = best
    return tuple(hours.zones[index] for index in triple), start, max(moves, 0)


def _promising(hours: _Hours, triple: tuple[int, ...], span: int) -> list[tuple[int, tuple[int, ...], int]]:
    """(how often the greenest zone changes in the span, zones, start), every third hour; days with gaps left out."""
    values = hours.values[:, list(triple)]
    unknown: NDArray[np.bool_] = np.any(np.isnan(values), axis=1)
    greenest = np.argmin(np.where(unknown[:, None], 0.0, values), axis=1)
    changed = np.concatenate(([0], np.cumsum(greenest[1:] != greenest[:-1])))
    missing = np.concatenate(([0], np.cumsum(unknown)))
    starts = np.arange(DAYS_BEFORE * 24, len(values) - DAYS_AFTER * 24, 3)
    span = min(span, DAYS_AFTER * 24)
    whole = missing[starts + DAYS_AFTER * 24] == missing[starts - DAYS_BEFORE * 24]
    counts = changed[starts + span] - changed[starts]
    return [(int(count), triple, int(start)) for count, start in zip(counts[whole], starts[whole], strict=True)]


def _rehearse(cut: Floats, start: int, pace: Pace) -> tuple[int, float]:
    """The planner's rules by the hour: (moves, net gain of all) of a job that starts in the greenest zone.

    A move needs an open window there that is long enough, and a mean over it that repays the move and the next one.
    """
    weights = _weights(cut)
    is_open = cut < np.median(cut, axis=0)
    here, moved_s, moves, gained = int(np.argmin(cut[start])), -pace.run_s, 0, 0.0
    for hour in range(start, min(start + int(pace.run_s / pace.hour_s), len(cut) - 24)):
        at_s = (hour - start) * pace.hour_s
        if at_s < pace.placed_s:
            here = int(np.argmin(cut[hour]))
        if at_s < pace.ready_s or at_s - moved_s < pace.dwell_s:
            continue
        save_s = FIRST_SAVE_S if moves == 0 else SAVE_S
        nets = [_net(weights, is_open, hour, (here, zone), save_s, pace.hour_s) for zone in range(cut.shape[1])]
        best = int(np.argmax(nets))
        if nets[best] > 0:
            here, moved_s, moves, gained = best, at_s, moves + 1, gained + nets[best]
    return moves, gained


def _net(
    weights: Floats, is_open: NDArray[np.bool_], hour: int, path: tuple[int, int], save_s: float, hour_s: float
) -> float:
    """What a move gains after its costs, in seconds of the dirtiest hour's power; 0 where the planner would not."""
    here, there = path
    closed = np.flatnonzero(~is_open[hour : hour + 24, there])
    length = int(closed[0]) if closed.size else 24
    disruption_s = save_s + LOAD_S
    if here == there or disruption_s >= ALPHA_RATIO * length * hour_s:
        return 0.0
    source, target = weights[hour : hour + length, here].mean(), weights[hour : hour + length, there].mean()
    if source - target < GAIN_LEAST_RATIO:
        return 0.0
    cost = save_s * weights[hour, here] + LOAD_S * weights[hour, there]
    return max(0.0, float((source - target) * (length * hour_s - disruption_s) - 2 * cost))


def _weights(cut: Floats) -> Floats:
    """0 in the greenest hour of the three zones, 1 in the dirtiest: what moving can save, as a share."""
    low, high = float(cut.min()), float(cut.max())
    weights: Floats = (cut - low) / (high - low) if high > low else np.zeros_like(cut)
    return weights


def _scenario(hours: _Hours, chosen: tuple[str, ...], start: int, pace: Pace, path: Path, folder: Path) -> Scenario:
    columns = [hours.zones.index(zone) for zone in chosen]
    first, last = start - DAYS_BEFORE * 24, start + DAYS_AFTER * 24
    cut = hours.values[first:last, columns]
    stamps = [datetime.fromtimestamp(hours.first_s + hour * HOUR_S, UTC) for hour in range(first, last)]
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder / "intensity.csv", stamps, chosen, cut)
    _write(folder / "weight.csv", stamps, chosen, 1.0 - _weights(cut))
    medians = np.median(cut, axis=0)
    return Scenario(
        sites=[_site(zone, float(median)) for zone, median in zip(chosen, medians, strict=True)],
        start_utc=stamps[DAYS_BEFORE * 24],
        scale=HOUR_S / pace.hour_s,
        title=f"three zones of {path.name}",
        source=(
            f"Carbon intensity as recorded in {path.name} from {stamps[DAYS_BEFORE * 24]:%Y-%m-%d %H:%M} UTC on. A "
            f"window is the time below the zone's own median of {stamps[0]:%d %b} to {stamps[-1]:%d %b %Y}: "
            + ", ".join(f"{zone} {median:.0f} g/kWh" for zone, median in zip(chosen, medians, strict=True))
            + "."
        ),
        weighting=(
            "The file holds no renewable shares. In their place the planner was given the intensity between "
            f"the lowest ({cut.min():.0f} g/kWh, as 0 %) and the highest ({cut.max():.0f} g/kWh, as 100 %) of the "
            "days shown, and so weighed grams where its texts speak of non-renewable energy."
        ),
        folder=folder,
    )


def _site(zone: str, median_g_per_kwh: float) -> dict[str, Any]:
    name = re.sub(r"[^A-Za-z0-9._-]", "-", zone)[:60]
    trace = {"zone": zone, "repeat": True}
    return {
        "name": name,
        "latitude": _COORDINATES[0],
        "longitude": _COORDINATES[1],
        "load_w": NODE_MAX_W,
        "intensity": {**trace, "file": "intensity.csv", "unit": "g_per_kwh"},
        "renewable": {**trace, "file": "weight.csv", "unit": "ratio"},
        "window": {"rule": "intensity_below", "threshold": median_g_per_kwh},
    }


def _write(path: Path, stamps: Sequence[datetime], zones: Sequence[str], values: Floats) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["datetime_utc", *zones])
        for stamp, row in zip(stamps, values.tolist(), strict=True):
            writer.writerow([f"{stamp:%Y-%m-%d %H:%M:%S}", *(f"{value:.6g}" for value in row)])
