"""Real public traces, where HELIOTROPE_DATA names a folder that holds them; figures from their own notes."""

from __future__ import annotations

import csv
import gzip
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from heliotrope.coordinator.forecasts import csvtrace
from heliotrope.coordinator.forecasts.windows import WindowRule, find

FOLDER = os.environ.get("HELIOTROPE_DATA", "")


def data(name: str) -> Path:
    if not FOLDER:
        pytest.skip("HELIOTROPE_DATA names no folder with traces")
    path = Path(FOLDER) / name
    if not path.exists():
        pytest.skip(f"HELIOTROPE_DATA has no {name}")
    return path


def test_electricity_maps_hours() -> None:
    path = data("electricitymaps/lca.csv.gz")
    series = csvtrace.read(path, "DE", "g_per_kwh", scope="life-cycle")
    with gzip.open(path, "rt") as file:
        rows = list(csv.DictReader(file))
    assert series.values.size == len(rows) == 26_280
    assert series.at(datetime(2021, 1, 1, 1, 30, tzinfo=UTC)) == float(rows[1]["DE"])
    mean = sum(float(row["DE"]) for row in rows) / len(rows)
    assert series.mean(datetime(2021, 1, 1, tzinfo=UTC), datetime(2024, 1, 1, tzinfo=UTC)) == pytest.approx(mean)
    assert np.isnan(series.at(datetime(2024, 1, 1, tzinfo=UTC)))


def test_every_zone_reads_as_intensity_and_share() -> None:
    for name, unit in (("lca.csv.gz", "g_per_kwh"), ("renewable_pct.csv.gz", "percent")):
        path = data(f"electricitymaps/{name}")
        for zone in csvtrace.zones(path):
            series = csvtrace.read(path, zone, "g_per_kwh" if unit == "g_per_kwh" else "percent")
            assert not np.any(np.isnan(series.values))


def test_price_windows_of_victoria_are_as_published() -> None:
    # The data set's note: 15.8 % of the hours at or below zero, 1,147 windows, median 5 h, longest 44 h.
    series = csvtrace.read(data("electricity-prices/price_usd_per_mwh.csv.gz"), "AU-VIC", "price_per_mwh")
    windows = find(series, WindowRule(rule="price_below", threshold=0.0))
    found = windows.between(datetime(2020, 1, 1, tzinfo=UTC), datetime(2025, 1, 1, tzinfo=UTC))
    hours = [window.length_s / 3600 for window in found]
    assert windows.count == len(found) == 1147
    assert sum(hours) / series.values.size == pytest.approx(0.158, abs=0.0005)
    assert float(np.median(hours)) == 5.0
    assert windows.length_quantile_s(1.0) == timedelta(hours=44).total_seconds()
