"""The plots of a report: energy, carbon, renewable share over time, and jobs as bars; unknown is drawn as unknown."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from .demo.drawing import Scale, Svg, ticks
from .messages import Record
from .output import format_carbon, format_energy, format_ratio, printable

WIDTH, HEIGHT = 1000.0, 230.0
LEFT, RIGHT, TOP, BOTTOM = 86.0, 10.0, 12.0, 34.0
BARS_LIMIT = 20
_ENERGY_UNITS = (1.0, 3.6e3, 3.6e6, 3.6e9, 3.6e12)
_CARBON_UNITS = (1e-3, 1.0, 1e3, 1e6)


@dataclass(frozen=True)
class Bucket:
    """One stretch of time, all sites together."""

    start: datetime
    energy_j: float
    renewable_j: float
    unknown_renewable_j: float
    carbon_g: float
    unknown_carbon_j: float
    embodied_g: float

    @property
    def other_j(self) -> float:
        return max(self.energy_j - self.renewable_j - self.unknown_renewable_j, 0.0)

    @property
    def renewable_ratio(self) -> float | None:
        """Of the energy whose share is known."""
        known_j = self.energy_j - self.unknown_renewable_j
        return self.renewable_j / known_j if known_j > 0 else None


def buckets(points: Sequence[Record]) -> list[Bucket]:
    """Points of sites, added up by time."""
    keys = (
        "energy_j",
        "renewable_energy_j",
        "unknown_renewable_energy_j",
        "carbon_g",
        "unknown_energy_j",
        "embodied_g",
    )
    totals: defaultdict[datetime, list[float]] = defaultdict(lambda: [0.0] * len(keys))
    for point in points:
        total = totals[point["start_utc"]]
        for index, key in enumerate(keys):
            total[index] += point[key]
    return [Bucket(start, *total) for start, total in sorted(totals.items())]


def draw_energy(found: Sequence[Bucket], length_s: float) -> str:
    """Stacked bars: renewable, other, of unknown source."""
    parts: list[tuple[str, str, Callable[[Bucket], float]]] = [
        ("renewable", "renewable", lambda one: one.renewable_j),
        ("other", "not renewable", lambda one: one.other_j),
        ("unknown", "unknown", lambda one: one.unknown_renewable_j),
    ]
    return _stacked("Energy by source over time", found, length_s, parts, format_energy, _ENERGY_UNITS)


def draw_carbon(found: Sequence[Bucket], length_s: float) -> str:
    """Stacked bars: operational, embodied. Energy of unknown intensity is marked below the axis."""
    parts: list[tuple[str, str, Callable[[Bucket], float]]] = [
        ("carbon", "operational", lambda one: one.carbon_g),
        ("embodied", "embodied", lambda one: one.embodied_g),
    ]
    return _stacked(
        "Carbon over time", found, length_s, parts, format_carbon, _CARBON_UNITS, lambda one: one.unknown_carbon_j > 0
    )


def draw_share(found: Sequence[Bucket], length_s: float) -> str:
    """A step per bucket; no line where the share is unknown."""
    if not found:
        return ""
    picture, across = _frame("Renewable share over time", found, length_s)
    up = Scale(0.0, 1.0, HEIGHT - BOTTOM, TOP)
    _rows(picture, up, [0.0, 0.25, 0.5, 0.75, 1.0], format_ratio)
    for one in found:
        begin = _seconds(one, found)
        x, width = across(begin), across(begin + length_s) - across(begin)
        ratio = one.renewable_ratio
        if ratio is None:
            picture.rect(x, TOP, width, HEIGHT - BOTTOM - TOP, "unknown", f"{_when(one)}: unknown")
        else:
            picture.line(x, up(ratio), x + max(width, 1.0), up(ratio), "share", f"{_when(one)}: {format_ratio(ratio)}")
    return picture.render()


def draw_jobs(rows: Sequence[Record], names: Mapping[str, str]) -> str:
    """Energy per job, the largest first, split by source."""
    largest = sorted((row for row in rows if row["energy_j"] > 0), key=lambda row: -row["energy_j"])[:BARS_LIMIT]
    if not largest:
        return ""
    height = 26.0 * len(largest) + 8
    picture = Svg(WIDTH, height, "Energy per job, split into renewable, not renewable and unknown")
    across = Scale(0.0, largest[0]["energy_j"], 230.0, WIDTH - 220.0)
    for index, row in enumerate(largest):
        y = 6 + 26.0 * index
        label = printable(names.get(row["name"], row["name"]))
        picture.text(222.0, y + 13, label if len(label) <= 30 else label[:29] + "\u2026", anchor="end")
        done = 0.0
        unknown = row["unknown_renewable_energy_j"]
        other = max(row["energy_j"] - row["renewable_energy_j"] - unknown, 0.0)
        split = (("renewable", row["renewable_energy_j"]), ("other", other), ("unknown", unknown))
        for css, part in split:
            words = {"other": "not renewable"}.get(css, css)
            width = across(done + part) - across(done)
            if part > 0:
                picture.rect(across(done), y, width, 18, css, f"{label}: {format_energy(part)} {words}")
            done += part
        carbon = "unknown" if row["unknown_energy_j"] >= row["energy_j"] else format_carbon(row["carbon_g"])
        picture.text(across(row["energy_j"]) + 8, y + 13, f"{format_energy(row['energy_j'])}, {carbon}")
    return picture.render()


def _stacked(
    label: str,
    found: Sequence[Bucket],
    length_s: float,
    parts: Sequence[tuple[str, str, Callable[[Bucket], float]]],
    words: Callable[[float | None], str],
    units: Sequence[float],
    is_partial: Callable[[Bucket], bool] = lambda _: False,
) -> str:
    if not found:
        return ""
    picture, across = _frame(label, found, length_s)
    top = max((sum(value(one) for _, _, value in parts) for one in found), default=0.0)
    up = Scale(0.0, top or 1.0, HEIGHT - BOTTOM, TOP)
    # Round in the unit in which it is written: 1.5 kWh, not 5 MJ.
    unit = max((size for size in units if size <= top), default=1.0)
    _rows(picture, up, [value * unit for value in ticks(0.0, top / unit, 4)] if top else [0.0], words)
    for one in found:
        begin, done = _seconds(one, found), 0.0
        x, width = across(begin), max(across(begin + length_s) - across(begin) - 0.4, 0.6)
        for css, name, value in parts:
            part = value(one)
            if part > 0:
                title = f"{_when(one)}: {words(part)} {name}"
                picture.rect(x, up(done + part), width, up(done) - up(done + part), css, title)
            done += part
        if is_partial(one):
            picture.rect(x, HEIGHT - BOTTOM + 1, width, 4, "unknown", f"{_when(one)}: more, of unknown intensity")
    return picture.render()


def _frame(label: str, found: Sequence[Bucket], length_s: float) -> tuple[Svg, Scale]:
    """The picture with its time axis."""
    picture = Svg(WIDTH, HEIGHT, f"{label}, from {_when(found[0])} to {_when(found[-1])}")
    across = Scale(0.0, _seconds(found[-1], found) + length_s, LEFT, WIDTH - RIGHT)
    every = max(len(found) // 6, 1)
    for one in found[::every]:
        x = across(_seconds(one, found))
        if x < WIDTH - 90:
            picture.text(x, HEIGHT - 12, one.start.strftime("%m-%d %H:%M"), "tick")
            picture.line(x, HEIGHT - BOTTOM, x, HEIGHT - BOTTOM + 6, "grid")
    return picture, across


def _rows(picture: Svg, up: Scale, values: Sequence[float], words: Callable[[float | None], str]) -> None:
    for value in values:
        picture.line(LEFT, up(value), WIDTH - RIGHT, up(value), "grid")
        picture.text(LEFT - 8, up(value) + 4, words(value), "tick", "end")


def _seconds(one: Bucket, found: Sequence[Bucket]) -> float:
    return (one.start - found[0].start).total_seconds()


def _when(one: Bucket) -> str:
    return one.start.strftime("%Y-%m-%d %H:%MZ")
