"""Durations as people type them."""

from __future__ import annotations

import pytest

from heliotrope.cli import durations


@pytest.mark.parametrize(
    ("text", "duration_s"),
    [
        ("90", 90.0),
        ("90s", 90.0),
        ("0.5", 0.5),
        ("30m", 1800.0),
        ("1h30m", 5400.0),
        ("1.5h", 5400.0),
        ("2d", 172_800.0),
    ],
)
def test_a_duration(text: str, duration_s: float) -> None:
    assert durations.DURATION.convert(text, None, None) == duration_s


@pytest.mark.parametrize("text", ["", "m", "30 m", "30x", "30m1h", "1h1h", "-5m", "0", "0s", "1e3", "nan", "99999d"])
def test_no_duration(text: str) -> None:
    with pytest.raises(Exception, match="is no duration"):
        durations.DURATION.convert(text, None, None)
