"""How fast this node may send and receive, by the local time of day.

The wall clock decides: "08:00" is what a clock on the wall shows, also on the days on which it is put forward or back.
A wall time that a day skips begins its window at once after the gap; one that comes twice holds both times.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from heliotrope.foundation.clock import Clock
from heliotrope.foundation.errors import InvalidInput

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_DAY_MINUTES = 24 * 60
_WEEK_MINUTES = 7 * _DAY_MINUTES
_TIME = re.compile(r"([01]\d|2[0-3]):([0-5]\d)|24:00")


class Window(Protocol):
    """An entry of the configuration: times "HH:MM", days of :data:`DAYS` (none: all), bytes per second (0: any)."""

    @property
    def begin(self) -> str: ...
    @property
    def end(self) -> str: ...
    @property
    def days(self) -> tuple[str, ...]: ...
    @property
    def rate_limit_bytes_per_s(self) -> int: ...


@dataclass(frozen=True)
class RateSchedule:
    """``minutes``: for each minute of the week from Monday 00:00 the entry's limit, None outside of all entries."""

    zone: ZoneInfo
    base_bytes_per_s: int
    minutes: tuple[int | None, ...]

    def limit(self, now_utc: datetime) -> float | None:
        """Bytes per second at that moment, None for no limit."""
        local = now_utc.astimezone(self.zone)
        found = self.minutes[local.weekday() * _DAY_MINUTES + local.hour * 60 + local.minute]
        return (self.base_bytes_per_s if found is None else found) or None

    def rate(self, clock: Clock) -> Callable[[], float | None]:
        """For a Limiter, which asks each time."""
        return lambda: self.limit(clock.utc())


def rate_schedule(field: str, base_bytes_per_s: int, time_zone: str, windows: Sequence[Window]) -> RateSchedule:
    """Check and expand a configuration. Raises InvalidInput naming the entry; two that overlap are refused."""
    try:
        zone = ZoneInfo(time_zone)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise InvalidInput(
            f"field {field}.time_zone: {time_zone!r} is no time zone known here; write one like Europe/Berlin, or "
            "install the system's tzdata"
        ) from error
    owners: list[int | None] = [None] * _WEEK_MINUTES
    for number, window in enumerate(windows):
        for minute in _minutes(f"{field}.schedule[{number}]", window):
            other = owners[minute]
            if other is not None:
                raise InvalidInput(
                    f"field {field}.schedule[{number}]: it overlaps schedule[{other}] on "
                    f"{DAYS[minute // _DAY_MINUTES]} at {minute // 60 % 24:02}:{minute % 60:02}; keep them apart"
                )
            owners[minute] = number
    limits = tuple(None if owner is None else windows[owner].rate_limit_bytes_per_s for owner in owners)
    return RateSchedule(zone, base_bytes_per_s, limits)


def _minutes(where: str, window: Window) -> list[int]:
    """Minutes of the week; a window over midnight belongs to the days on which it begins."""
    begin, end = _minute(f"{where}.from", window.begin), _minute(f"{where}.to", window.end)
    if begin in (end, _DAY_MINUTES):
        raise InvalidInput(
            f"field {where}: {window.begin} to {window.end} is no time; write 00:00 to 24:00 for all day"
        )
    for day in window.days:
        if day not in DAYS:
            raise InvalidInput(f"field {where}.days: {day!r} is no day; use {', '.join(DAYS)}")
    days = {DAYS.index(day) for day in window.days} or set(range(7))
    length = (end - begin) if end > begin else end + _DAY_MINUTES - begin
    return [(day * _DAY_MINUTES + begin + offset) % _WEEK_MINUTES for day in sorted(days) for offset in range(length)]


def _minute(field: str, text: str) -> int:
    if not _TIME.fullmatch(text):
        raise InvalidInput(f"field {field}: {text!r} is no time of day; write 08:00 (24:00 is the end of a day)")
    return int(text[:2]) * 60 + int(text[3:])
