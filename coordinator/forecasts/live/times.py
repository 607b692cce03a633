"""Points in time and durations as the services write them: ISO 8601, and a zone is demanded."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

from .trouble import Kind, Trouble

FIRST = datetime(2000, 1, 1, tzinfo=UTC)
LAST = datetime(2200, 1, 1, tzinfo=UTC)
DAY_S = 86_400.0
RETRY_LIMIT_S = DAY_S

_DURATION = re.compile(
    r"(?P<sign>[+-]?)P(?:(?P<weeks>\d+(?:\.\d+)?)W)?(?:(?P<years>\d+(?:\.\d+)?)Y)?(?:(?P<months>\d+(?:\.\d+)?)M)?"
    r"(?:(?P<days>\d+(?:\.\d+)?)D)?(?:T(?:(?P<hours>\d+(?:\.\d+)?)H)?(?:(?P<minutes>\d+(?:\.\d+)?)M)?"
    r"(?:(?P<seconds>\d+(?:\.\d+)?)S)?)?"
)
# A year and a month have no length of their own; contracts of demand response count them as 365 and 30 days.
_SECONDS = {"weeks": 604_800.0, "years": 31_536_000.0, "months": 2_592_000.0, "days": DAY_S}
_SECONDS |= {"hours": 3600.0, "minutes": 60.0, "seconds": 1.0}


def utc_s(text: str, field: str) -> float:
    """Unix seconds of an ISO 8601 time with a zone. Raises Trouble: unreadable, no zone, another age."""
    try:
        stamp = datetime.fromisoformat(text)
    except ValueError as error:
        raise Trouble(Kind.TIME, f"field {field}: {text[:40]!r} is not an ISO 8601 time") from error
    if stamp.tzinfo is None:
        raise Trouble(
            Kind.TIME,
            f"field {field}: {text[:40]!r} has no time zone; a guess could shift it by hours, so it is not used",
        )
    try:
        known = FIRST <= stamp < LAST
    except OverflowError:
        known = False
    if not known:
        raise Trouble(Kind.TIME, f"field {field}: {text[:40]!r} lies outside {FIRST.year} .. {LAST.year}")
    return stamp.timestamp()


def duration_s(text: str, field: str) -> float:
    """Seconds of an ISO 8601 duration such as PT1H or P0Y0M0DT1H0M0S. Raises Trouble."""
    found = _DURATION.fullmatch(text)
    parts = {} if found is None else {key: value for key, value in found.groupdict().items() if value and key != "sign"}
    if found is None or not parts or text.endswith("T"):
        raise Trouble(Kind.TIME, f"field {field}: {text[:40]!r} is not an ISO 8601 duration such as PT1H")
    total_s = sum(float(value) * _SECONDS[key] for key, value in parts.items())
    return -total_s if found["sign"] == "-" else total_s


def retry_after_s(text: str | None, now: datetime) -> float | None:
    """What a Retry-After header asks for [s], at most a day; None where it says nothing readable (RFC 9110, 10.2.3)."""
    if text is None:
        return None
    if text.strip().isdecimal():
        return min(float(text), RETRY_LIMIT_S)
    try:
        moment = parsedate_to_datetime(text)
        wait = moment.replace(tzinfo=moment.tzinfo or UTC) - now
    except (TypeError, ValueError, OverflowError):
        return None
    return min(max(wait / timedelta(seconds=1), 0.0), RETRY_LIMIT_S)
