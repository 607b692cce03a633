"""Traces: what is read, and that every mistake is named with file, line and column."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from heliotrope.coordinator.forecasts import csvtrace
from heliotrope.coordinator.forecasts.csvtrace import FileUnit
from heliotrope.foundation.errors import InvalidInput

GOOD = """datetime_utc,DE,US-CAL-CISO
2023-01-01 00:00:00,400.5,300
2023-01-01 01:00:00,,310
2023-01-01 02:00:00,380,320
"""


def write(folder: Path, text: str, name: str = "trace.csv") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_reads_a_zone_with_unknown_cells(tmp_path: Path) -> None:
    series = csvtrace.read(write(tmp_path, GOOD), "DE", "g_per_kwh", kind="average", scope="life-cycle")
    assert series.unit == "g_per_kwh"
    assert series.scope == "life-cycle"
    np.testing.assert_array_equal(series.values, [400.5, np.nan, 380.0])
    assert series.end_s - series.start_s == 3 * 3600
    assert csvtrace.zones(tmp_path / "trace.csv") == ["DE", "US-CAL-CISO"]


def test_gzip_reads_the_same(tmp_path: Path) -> None:
    path = tmp_path / "trace.csv.gz"
    path.write_bytes(gzip.compress(GOOD.encode()))
    plain = csvtrace.read(write(tmp_path, GOOD), "US-CAL-CISO", "g_per_kwh")
    packed = csvtrace.read(path, "US-CAL-CISO", "g_per_kwh")
    np.testing.assert_array_equal(plain.values, packed.values)
    np.testing.assert_array_equal(plain.times_s, packed.times_s)


@pytest.mark.parametrize(("unit", "expected"), [("percent", 0.25), ("kw", 25000.0), ("price_per_mwh", 25.0)])
def test_units_become_base_units(tmp_path: Path, unit: FileUnit, expected: float) -> None:
    path = write(tmp_path, "datetime_utc,X\n2023-01-01T00:00Z,25\n2023-01-01T01:00Z,25\n")
    assert csvtrace.read(path, "X", unit).values[0] == pytest.approx(expected)


def test_a_gap_may_be_unknown(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "datetime_utc,X\n2023-01-01 00:00:00,1\n2023-01-01 01:00:00,2\n2023-01-01 04:00:00,3\n2023-01-01 05:00:00,4\n",
    )
    series = csvtrace.read(path, "X", "g_per_kwh", gaps="unknown")
    stamps = series.start_s + 3600.0 * np.arange(6, dtype=np.float64)
    np.testing.assert_array_equal(series.at_s(stamps), [1, 2, np.nan, np.nan, 3, 4])


BAD = {
    "gap": (
        "datetime_utc,X\n2023-01-01 00:00,1\n2023-01-01 01:00,2\n2023-01-01 03:00,3\n2023-01-01 04:00,3\n",
        "X",
        r"trace\.csv: line 4, column datetime_utc: 7200 s after the line above where the step is 3600 s",
    ),
    "repeated": ("datetime_utc,X\n2023-01-01 00:00,1\n2023-01-01 00:00,2\n", "X", r"line 3.*repeats"),
    "unsorted": ("datetime_utc,X\n2023-01-01 01:00,1\n2023-01-01 00:00,2\n", "X", r"line 3.*before the line above"),
    "no zone": ("time,X\n2023-01-01 00:00,1\n2023-01-01 01:00,2\n", "X", r"line 2, column time.*no time zone"),
    "other zone": ("datetime_utc,X\n2023-01-01T00:00+01:00,1\n2023-01-01T01:00Z,2\n", "X", r"line 2.*not in UTC"),
    "no time": ("datetime_utc,X\nyesterday,1\n2023-01-01 01:00,2\n", "X", r"line 2.*'yesterday' is not a time"),
    "negative": ("datetime_utc,X\n2023-01-01 00:00,1\n2023-01-01 01:00,-2\n", "X", r"line 3, column X: -2 is outside"),
    "absurd": ("datetime_utc,X\n2023-01-01 00:00,1\n2023-01-01 01:00,99999\n", "X", r"line 3, column X: 99999 is outs"),
    "infinite": (
        "datetime_utc,X\n2023-01-01 00:00,1\n2023-01-01 01:00,inf\n",
        "X",
        r"line 3, column X: inf is outside",
    ),
    "no number": ("datetime_utc,X\n2023-01-01 00:00,1\n2023-01-01 01:00,12 g\n", "X", r"line 3, column X: '12 g'"),
    "short line": ("datetime_utc,X,Y\n2023-01-01 00:00,1,1\n2023-01-01 01:00,2\n", "X", r"line 3 has 2 columns"),
    "near zone": (GOOD, "US-CAL-CIS", r"zone 'US-CAL-CIS'.*near it: US-CAL-CISO"),
    "far zone": (GOOD, "Q", r"zone 'Q'.*it has: DE, US-CAL-CISO"),
    "time as zone": (GOOD, "datetime_utc", r"no such column"),
    "twice": ("datetime_utc,X,X\n2023-01-01 00:00,1,1\n", "X", r"column 'X' occurs twice"),
    "semicolons": ("datetime_utc;X\n2023-01-01 00:00;1\n", "X", r"line 1 has one column"),
    "one row": ("datetime_utc,X\n2023-01-01 00:00,1\n", "X", r"1 rows of data"),
    "empty": ("", "X", r"the file is empty"),
}


@pytest.mark.parametrize("case", sorted(BAD))
def test_mistakes_are_named(tmp_path: Path, case: str) -> None:
    text, zone, message = BAD[case]
    with pytest.raises(InvalidInput, match=message):
        csvtrace.read(write(tmp_path, text), zone, "g_per_kwh")


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"missing\.csv: No such file"):
        csvtrace.read(tmp_path / "missing.csv", "X", "g_per_kwh")
    broken = tmp_path / "broken.csv.gz"
    broken.write_bytes(gzip.compress(GOOD.encode())[:-12])
    with pytest.raises(InvalidInput, match="broken gzip"):
        csvtrace.read(broken, "DE", "g_per_kwh")
    plain = write(tmp_path, GOOD, "plain.csv.gz")
    with pytest.raises(InvalidInput, match="broken gzip"):
        csvtrace.zones(plain)
    latin = tmp_path / "latin.csv"
    latin.write_bytes("datetime_utc,Köln\n".encode("latin-1"))
    with pytest.raises(InvalidInput, match="not UTF-8"):
        csvtrace.zones(latin)
