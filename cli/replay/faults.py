"""What a real service does to its clients now and then, to order: ``KIND[@PART][*COUNT]``.

``429@forecast*3``: the next three requests whose path has "forecast" in it are answered 429. Without ``@`` all
requests, without ``*`` for as long as the server runs (or until DELETE /replay/faults).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from heliotrope.foundation.errors import InvalidInput

from .traces import Row

STATUSES = ("401", "403", "404", "429", "500", "503")
TRANSPORT = ("hang", "drip", "garbage", "html", "redirect")
DATA = (
    "gaps",
    "duplicates",
    "conflicts",
    "naive-times",
    "negative",
    "absurd",
    "wrong-unit",
    "wrong-zone",
    "nulls",
    "shuffled",
)
KINDS = (*STATUSES, *TRANSPORT, *DATA)

_SPEC = re.compile(r"(?P<kind>[\w-]+)(?:@(?P<part>[^*]+))?(?:\*(?P<count>\d+))?")
_EVERY = 7  # one value in so many is faulty: few enough that the rest is worth having
WRONG_UNIT_FACTOR = 1e-3  # kg for g, kW for W


@dataclass
class Fault:
    """One order. ``left`` None: for ever."""

    kind: str
    part: str = ""
    left: int | None = None


def parse(text: str) -> Fault:
    """Raises InvalidInput naming the kinds."""
    found = _SPEC.fullmatch(text)
    if found is None or found["kind"] not in KINDS:
        raise InvalidInput(f"field fault: {text!r} is no KIND[@PART][*COUNT]; kinds are {', '.join(KINDS)}")
    return Fault(found["kind"], found["part"] or "", int(found["count"]) if found["count"] else None)


class Orders:
    """The faults in force."""

    def __init__(self, faults: Sequence[Fault] = ()) -> None:
        self._faults = list(faults)

    def add(self, faults: Sequence[Fault]) -> None:
        self._faults += faults

    def clear(self) -> None:
        self._faults.clear()

    def for_request(self, path: str) -> frozenset[str]:
        """The kinds that this request meets; each counts as used."""
        met = [one for one in self._faults if one.part in path and one.left != 0]
        for one in met:
            one.left = None if one.left is None else one.left - 1
        return frozenset(one.kind for one in met)


def spoil(rows: Sequence[Row], kinds: frozenset[str]) -> list[Row]:
    """The rows with the data faults done to them."""
    result = list(rows)
    for kind, change in _CHANGES.items():
        if kind in kinds:
            result = change(result)
    return result


def spoil_stamp(stamp: Callable[[float], str], kinds: frozenset[str]) -> Callable[[float], str]:
    """A writer of times; with ``naive-times`` it forgets the zone."""
    if "naive-times" not in kinds:
        return stamp
    return lambda seconds: re.sub(r"(Z|[+-]\d\d:\d\d)$", "", stamp(seconds))


def _each(change: Callable[[float], float | None]) -> Callable[[list[Row]], list[Row]]:
    """Every fifth value changed."""

    def changed(rows: list[Row]) -> list[Row]:
        return [
            Row(row.time_s, change(row.value) if place % _EVERY == 2 and row.value is not None else row.value)
            for place, row in enumerate(rows)
        ]

    return changed


def _repeated(rows: list[Row]) -> list[Row]:
    return [one for place, row in enumerate(rows) for one in ([row, row] if place % _EVERY == 0 else [row])]


def _contradicted(rows: list[Row]) -> list[Row]:
    found: list[Row] = []
    for place, row in enumerate(rows):
        found.append(row)
        if place % _EVERY == 0 and row.value is not None:
            found.append(Row(row.time_s, row.value * 1.1 + 1.0))
    return found


_CHANGES: dict[str, Callable[[list[Row]], list[Row]]] = {
    "gaps": lambda rows: [row for place, row in enumerate(rows) if place % _EVERY not in (2, 3)],
    "duplicates": _repeated,
    "conflicts": _contradicted,
    "negative": _each(lambda value: -abs(value) - 1.0),
    "absurd": _each(lambda value: 9e15),
    "nulls": _each(lambda value: None),
    "wrong-unit": lambda rows: [
        Row(row.time_s, None if row.value is None else row.value * WRONG_UNIT_FACTOR) for row in rows
    ],
    "shuffled": lambda rows: rows[::-1],
}
