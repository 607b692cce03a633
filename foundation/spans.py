"""Spans of time as people write them: ``90s``, ``30m``, ``1.5h``, ``1h30m``, ``2d``; with their units, always."""

from __future__ import annotations

import re

UNITS_S = {"d": 86_400.0, "h": 3_600.0, "m": 60.0, "s": 1.0}
SHORTEST_S = 0.001
LONGEST_S = 10 * 365 * 86_400.0  # a longer one is a slip, and no calendar holds its end

_PART = re.compile(r"(\d+(?:\.\d+)?)([dhms])")


def parse_s(text: str) -> float:
    """Seconds, more than 0; the larger unit first, each once. Raises ValueError with an example of what is allowed."""
    parts = _PART.findall(text)
    units = [unit for _, unit in parts]
    in_order = units == sorted(set(units), key=list(UNITS_S).index)
    span_s = sum(float(number) * UNITS_S[unit] for number, unit in parts)
    if "".join(number + unit for number, unit in parts) != text or not in_order or not 0 < span_s <= LONGEST_S:
        raise ValueError(f"{text!r} is not a span; write numbers with their units: 90s, 10m, 1.5h, 1h30m or 2d")
    return span_s
