"""Read a trace from a wide CSV file (plain or gzip): a time column, then one column per zone.

Whatever is wrong is refused with file, line and column, because a trace that is silently shifted by a time zone or a
gap turns every later decision into nonsense. The time column is the first one. If its name ends in ``_utc``, stamps
without an offset are UTC by that declaration; in any other column they are refused.
"""

from __future__ import annotations

import csv
import difflib
import gzip
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, Literal, TypeAlias

import numpy as np

from heliotrope.foundation.errors import InvalidInput

from .series import Kind, Scope, Series, Unit, unix_s

FileUnit: TypeAlias = Literal["g_per_kwh", "percent", "ratio", "w", "kw", "mw", "price_per_mwh"]
Gaps: TypeAlias = Literal["refuse", "unknown"]

ROW_LIMIT = 5_000_000  # nine years of minutes
UNKNOWN = ("", "nan", "null", "none", "na", "n/a")


@dataclass(frozen=True)
class Range:
    """What a file's unit becomes, and the values beyond which a figure must be a mistake."""

    unit: Unit
    factor: float
    lowest: float
    highest: float


# Intensity: the dirtiest zones are near 1,000 g/kWh life-cycle; 3,000 leaves room for marginal series.
# Price: exchanges cap hourly prices around -500 .. 20,000 per MWh.
RANGES: dict[FileUnit, Range] = {
    "g_per_kwh": Range("g_per_kwh", 1.0, 0.0, 3000.0),
    "percent": Range("ratio", 0.01, 0.0, 100.0),
    "ratio": Range("ratio", 1.0, 0.0, 1.0),
    "w": Range("w", 1.0, 0.0, 1e12),
    "kw": Range("w", 1e3, 0.0, 1e9),
    "mw": Range("w", 1e6, 0.0, 1e6),
    "price_per_mwh": Range("price_per_mwh", 1.0, -5000.0, 50000.0),
}


def zones(path: Path) -> list[str]:
    """The zone columns of a file. Raises InvalidInput."""
    for _, row in _rows(path):
        return _header(path, row)[1:]
    raise InvalidInput(f"cannot read {path}: the file is empty; give a CSV file with a header line")


def read(
    path: Path,
    zone: str,
    unit: FileUnit,
    *,
    kind: Kind = "average",
    scope: Scope = "none",
    gaps: Gaps = "refuse",
    repeat: bool = False,
) -> Series:
    """One zone's series. Empty cells are unknown (NaN); with ``gaps="unknown"`` missing time stamps are, too.

    Raises InvalidInput naming file, line and column: missing or unreadable file, missing zone, a gap, a repeated or
    unsorted stamp, a stamp without zone or not in UTC, a value that is no number, negative or absurd for its unit.
    """
    rows = _rows(path)
    head = next(rows, None)
    if head is None:
        raise InvalidInput(f"cannot read {path}: the file is empty; give a CSV file with a header line")
    columns = _header(path, head[1])
    place = _find(path, columns, zone)
    reader = _Reader(path, columns[0], zone, RANGES[unit])
    lines: list[int] = []
    times: list[float] = []
    values: list[float] = []
    for line, row in rows:
        if len(row) != len(columns):
            raise InvalidInput(
                f"cannot read {path}: line {line} has {len(row)} columns, the header has {len(columns)}; "
                "repair the line"
            )
        lines.append(line)
        times.append(reader.time_s(line, row[0]))
        values.append(reader.value(line, row[place]))
        reader.check_order(line, times)
    if len(times) < 2:
        raise InvalidInput(f"cannot read {path}: {len(times)} rows of data; a trace needs at least two")
    return _series(reader, lines, times, values, gaps, kind=kind, scope=scope, repeat=repeat)


def _rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """(line number from 1, fields) of every line that is not blank."""
    try:
        with _open(path) as file:
            reader = csv.reader(file)
            for row in reader:
                if reader.line_num > ROW_LIMIT:
                    raise InvalidInput(f"cannot read {path}: more than {ROW_LIMIT} lines; cut it to the years needed")
                if row:
                    yield reader.line_num, row
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise InvalidInput(f"cannot read {path}: broken gzip data ({error}); fetch or compress it again") from error
    except OSError as error:
        raise InvalidInput(f"cannot read {path}: {error.strerror}; check the path and its permissions") from error
    except UnicodeDecodeError as error:
        raise InvalidInput(f"cannot read {path}: not UTF-8 at byte {error.start}; save it as UTF-8") from error
    except csv.Error as error:
        raise InvalidInput(f"cannot read {path}: not a CSV file ({error}); save it as comma-separated text") from error


def _open(path: Path) -> IO[str]:
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8-sig", newline="")
    return path.open("r", encoding="utf-8-sig", newline="")


def _header(path: Path, row: list[str]) -> list[str]:
    columns = [name.strip() for name in row]
    if len(columns) < 2:
        raise InvalidInput(
            f"cannot read {path}: line 1 has one column; the first is the time, each further one a zone, commas between"
        )
    twice = sorted({name for name in columns if columns.count(name) > 1})
    if twice:
        raise InvalidInput(f"cannot read {path}: column {twice[0]!r} occurs twice in line 1; rename one")
    return columns


def _find(path: Path, columns: list[str], zone: str) -> int:
    if zone in columns[1:]:
        return columns.index(zone)
    folded = {name.casefold(): name for name in columns[1:]}
    near = [folded[key] for key in difflib.get_close_matches(zone.casefold(), folded, n=5, cutoff=0.4)]
    hint = f"near it: {', '.join(near)}" if near else f"it has: {', '.join(columns[1:40])}"
    raise InvalidInput(f"cannot find zone {zone!r} in {path}: no such column; {hint}")


@dataclass(frozen=True)
class _Reader:
    """Turns cells into numbers, and says where a bad one stands."""

    path: Path
    time_column: str
    zone: str
    range: Range

    def refuse(self, line: int, column: str, cause: str) -> InvalidInput:
        return InvalidInput(f"cannot read {self.path}: line {line}, column {column}: {cause}")

    def time_s(self, line: int, cell: str) -> float:
        text = cell.strip()
        try:
            stamp = datetime.fromisoformat(text)
        except ValueError as error:
            cause = f"{text!r} is not a time; write 2024-05-01 13:00:00 or 2024-05-01T13:00:00Z"
            raise self.refuse(line, self.time_column, cause) from error
        if stamp.tzinfo is None:
            if not self.time_column.lower().endswith("_utc"):
                cause = f"{text!r} has no time zone; add Z if it is UTC, or name the column datetime_utc"
                raise self.refuse(line, self.time_column, cause)
            stamp = stamp.replace(tzinfo=UTC)
        if stamp.utcoffset() != timedelta(0):
            raise self.refuse(line, self.time_column, f"{text!r} is not in UTC; convert the column to UTC")
        return unix_s(stamp)

    def value(self, line: int, cell: str) -> float:
        text = cell.strip()
        if text.lower() in UNKNOWN:
            return float("nan")
        try:
            number = float(text)
        except ValueError as error:
            cause = f"{text!r} is not a number; leave the cell empty if it is unknown"
            raise self.refuse(line, self.zone, cause) from error
        if not self.range.lowest <= number <= self.range.highest:
            cause = f"{text} is outside {self.range.lowest:g} .. {self.range.highest:g}; check the file's unit"
            raise self.refuse(line, self.zone, cause)
        return number * self.range.factor

    def check_order(self, line: int, times: list[float]) -> None:
        if len(times) < 2 or times[-1] > times[-2]:
            return
        cause = "repeats the time before it" if times[-1] == times[-2] else "lies before the line above"
        raise self.refuse(line, self.time_column, f"the time {cause}; sort the file and remove repeated times")


def _series(
    reader: _Reader,
    lines: list[int],
    times: list[float],
    values: list[float],
    gaps: Gaps,
    *,
    kind: Kind,
    scope: Scope,
    repeat: bool,
) -> Series:
    """Check the step (the most frequent one) and put unknown values where stamps are missing."""
    times_s = np.array(times)
    numbers = np.array(values)
    steps_s = np.diff(times_s)
    distances, counts = np.unique(steps_s, return_counts=True)
    step_s = float(distances[np.argmax(counts)])
    odd = np.flatnonzero(steps_s != step_s)
    if odd.size and gaps == "refuse":
        at = int(odd[0])
        raise reader.refuse(
            lines[at + 1],
            reader.time_column,
            f"{steps_s[at]:g} s after the line above where the step is {step_s:g} s; fill the gap with empty cells, "
            'or set gaps = "unknown"',
        )
    wide = np.flatnonzero(steps_s > step_s)
    times_s = np.insert(times_s, wide + 1, times_s[wide] + step_s)
    numbers = np.insert(numbers, wide + 1, np.nan)
    name = f"{reader.path.name}:{reader.zone}"
    return Series(
        name, reader.range.unit, times_s, numbers, float(times_s[-1]) + step_s, kind=kind, scope=scope, repeat=repeat
    )
