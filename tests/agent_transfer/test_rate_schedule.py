"""Limits by the time of day: the wall clock's, also on the days on which it is changed; and for real, on a link."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from heliotrope.agent.config import RateWindow, TransferConfig
from heliotrope.agent.transfer.schedule import DAYS
from heliotrope.agent.transfer.server import ServerOptions
from heliotrope.foundation.errors import InvalidInput

from .conftest import Site


def config(*windows: tuple[str, str, int, tuple[str, ...]], time_zone: str = "Europe/Berlin") -> TransferConfig:
    entries = tuple(RateWindow(begin=b, end=e, rate_limit_bytes_per_s=r, days=d) for b, e, r, d in windows)
    return TransferConfig(rate_limit_bytes_per_s=900, time_zone=time_zone, schedule=entries)


def test_the_wall_clock_decides_in_summer_and_winter() -> None:
    rates = config(("08:00", "18:00", 100, DAYS[:5])).rates()
    berlin = ZoneInfo("Europe/Berlin")
    for month in (1, 7):  # in both, the 13th to the 19th of a year is one whole week
        for day in range(13, 20):
            for hour, minute in ((7, 59), (8, 0), (17, 59), (18, 0)):
                local = datetime(2026, month, day, hour, minute, tzinfo=berlin)
                inside = local.weekday() < 5 and 8 <= hour < 18
                assert rates.limit(local.astimezone(UTC)) == (100 if inside else 900)


def test_the_hour_that_is_skipped_and_the_hour_that_comes_twice() -> None:
    rates = config(("02:15", "03:30", 100, ())).rates()
    # 29 March 2026, 01:00 UTC: the clock goes from 02:00 to 03:00, in the middle of the window.
    spring = [
        rates.limit(datetime(2026, 3, 29, hour, minute, tzinfo=UTC)) for hour, minute in ((0, 59), (1, 0), (1, 30))
    ]
    assert spring == [900, 100, 900]
    # 25 October 2026, 01:00 UTC: from 03:00 back to 02:00; 02:30 comes twice, and both are inside.
    autumn = [rates.limit(datetime(2026, 10, 25, hour, 30, tzinfo=UTC)) for hour in (0, 1, 2)]
    assert autumn == [100, 100, 900]


def test_a_window_over_midnight_belongs_to_the_day_it_begins_on() -> None:
    rates = config(("22:00", "06:00", 0, ("sun",)), time_zone="UTC").rates()
    moments = [(18, 21), (18, 22), (19, 5), (19, 6), (19, 22)]  # 18 January 2026 is a Sunday
    assert [rates.limit(datetime(2026, 1, day, hour, tzinfo=UTC)) for day, hour in moments] == [
        900,
        None,
        None,
        900,
        900,
    ]


@pytest.mark.parametrize(
    ("windows", "zone", "said"),
    [
        ([("8:00", "18:00", 1, ())], "UTC", r"schedule\[0\].from"),
        ([("08:00", "25:00", 1, ())], "UTC", r"schedule\[0\].to"),
        ([("08:00", "08:00", 1, ())], "UTC", r"schedule\[0\]: .* is no time"),
        ([("08:00", "18:00", 1, ("monday",))], "UTC", r"schedule\[0\].days: 'monday'"),
        ([("08:00", "18:00", 1, ()), ("22:00", "09:00", 1, ("fri",))], "UTC", r"schedule\[1\]: .* sat at 08:00"),
        ([], "Mars/Olympus", r"time_zone: 'Mars/Olympus'"),
        ([], "../etc/passwd", r"time_zone"),
    ],
)
def test_a_wrong_entry_is_named(windows: list[tuple[str, str, int, tuple[str, ...]]], zone: str, said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        config(*windows, time_zone=zone)


@pytest.mark.parametrize("exempt", [False, True])
def test_a_limit_holds_but_for_a_job_that_stands(
    site_with: Callable[[ServerOptions], Site], tmp_path: Path, exempt: bool
) -> None:
    """The limiter's own sleeps are counted: how long they took is the machine's affair."""
    asked: list[None] = []

    def rate() -> float:
        asked.append(None)
        return 1e9

    path = tmp_path / "noise.npy"
    np.save(path, np.random.default_rng(5).integers(0, 1 << 62, 500_000))
    site = site_with(ServerOptions(rate=rate, standstill_exempt=exempt))
    source = site.offer(path)
    result = site.pull(tmp_path / "staged")
    assert result.manifest_digest == source.digest and asked
    asked.clear()
    site.pull(tmp_path / "out", ticket=site.fleet.ticket(standstill=True))
    assert bool(asked) is not exempt
