"""Durations as people type them: ``90``, ``90s``, ``30m``, ``1h30m``, ``2d``."""

from __future__ import annotations

import re
from typing import Any

import click

UNITS_S = {"d": 86_400.0, "h": 3_600.0, "m": 60.0, "s": 1.0}
LONGEST_S = 10 * 365 * 86_400.0  # a longer one is a slip, and no calendar holds its end

_PART = re.compile(r"(\d+(?:\.\d+)?)([dhms])")


class Duration(click.ParamType[float]):
    """An option's value in seconds, more than 0; a bare number is seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, float):
            return value
        duration_s = parse(str(value))
        if duration_s is None or not 0 < duration_s <= LONGEST_S:
            self.fail(f"{value!r} is no duration; write 90s, 30m, 1h30m or 2d", param, ctx)
        return duration_s


def parse(text: str) -> float | None:
    """Seconds; None for a text that is no duration."""
    if re.fullmatch(r"\d+(?:\.\d+)?", text):
        return float(text)
    parts = _PART.findall(text)
    units = [unit for _, unit in parts]
    in_order = units == sorted(set(units), key=list(UNITS_S).index)
    if not parts or not in_order or "".join(number + unit for number, unit in parts) != text:
        return None
    return sum(float(number) * UNITS_S[unit] for number, unit in parts)


DURATION = Duration()
