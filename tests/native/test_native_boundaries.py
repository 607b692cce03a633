"""Content-defined boundaries: within their limits, found again after an insertion, about the asked average."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heliotrope.native import boundaries


@given(st.integers(0, 60_000), st.integers(64, 700), st.integers(1, 900), st.integers(1, 3000), st.integers())
def test_chunks_cover_the_data_within_their_limits(
    length: int, minimum: int, to_average: int, to_maximum: int, seed: int
) -> None:
    average, maximum = minimum + to_average, minimum + to_average + to_maximum
    data = random.Random(seed).randbytes(length)
    ends = boundaries(data, minimum_bytes=minimum, average_bytes=average, maximum_bytes=maximum)
    lengths = [end - begin for begin, end in zip([0, *ends], ends, strict=False)]
    assert sum(lengths) == length
    assert all(minimum <= size <= maximum for size in lengths[:-1])
    assert all(0 < size <= maximum for size in lengths[-1:])


def test_an_insertion_moves_only_the_cuts_near_it() -> None:
    data = random.Random(1).randbytes(2_000_000)
    changed = data[:700_000] + b"something new" + data[700_000:]
    limits = {"minimum_bytes": 2048, "average_bytes": 8192, "maximum_bytes": 65_536}
    before = set(boundaries(data, **limits))
    after = boundaries(changed, **limits)
    again = [end for end in after if (end if end <= 700_000 else end - 13) in before]
    assert len(after) - len(again) <= 10
    assert len(after) > 150


def test_lengths_average_what_was_asked() -> None:
    data = random.Random(2).randbytes(4_000_000)
    ends = boundaries(data, minimum_bytes=2048, average_bytes=8192, maximum_bytes=65_536)
    assert 0.8 * 8192 < len(data) / len(ends) < 1.25 * 8192


def test_content_without_boundaries_is_cut_at_the_maximum() -> None:
    ends = boundaries(bytes(10_000), minimum_bytes=100, average_bytes=1000, maximum_bytes=4000)
    assert ends == [4000, 8000, 10_000]


@pytest.mark.parametrize("limits", [(63, 100, 200), (100, 100, 200), (100, 200, 200)])
def test_lengths_out_of_order_are_refused(limits: tuple[int, int, int]) -> None:
    minimum, average, maximum = limits
    with pytest.raises(ValueError, match="give 64 <= minimum_bytes < average_bytes < maximum_bytes"):
        boundaries(b"", minimum_bytes=minimum, average_bytes=average, maximum_bytes=maximum)
