"""The number of connections: grows where each stream is bounded, stops where the link is, whatever the noise."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from proxy import Proxy

from heliotrope.agent.transfer.growth import SPAN_S, Growth
from heliotrope.agent.transfer.result import PullOptions

from .conftest import Site

LIMIT = 16


def settled(stream_bytes_per_s: float, link_bytes_per_s: float, *, first: int = 2, noise: float = 0.0) -> Growth:
    """A minute on a link on which each stream has a bound of its own and all have one together."""
    dice = random.Random(7)
    growth, sent_bytes = Growth(first, LIMIT, 0.0), 0.0
    for tick in range(1, 241):
        rate = min(growth.count * stream_bytes_per_s, link_bytes_per_s) * dice.uniform(1 - noise, 1 + noise)
        sent_bytes += rate * SPAN_S / 2
        growth.observe(tick * SPAN_S / 2, int(sent_bytes))
    return growth


@pytest.mark.parametrize("noise", [0.0, 0.05])
def test_it_grows_to_the_width_of_the_link(noise: float) -> None:
    for streams_that_fill_it in (3, 5, 8):
        growth = settled(10e6, streams_that_fill_it * 10e6, noise=noise)
        # One step too many is how it learns, and a step is half of what there was; noise may cost it a stream.
        slack = 0 if noise == 0 else 1
        assert growth.over and streams_that_fill_it - slack <= growth.count <= 2 * streams_that_fill_it + slack


def test_a_link_that_two_streams_fill_gets_one_more_and_that_is_all() -> None:
    assert settled(1e9, 100e6).count == 3


def test_never_above_the_limit() -> None:
    growth = settled(1e6, 1e12)
    assert growth.over and growth.count == LIMIT
    assert Growth(LIMIT, LIMIT, 0.0).over


def test_a_standing_link_says_nothing() -> None:
    growth = Growth(2, LIMIT, 0.0)
    judgements = [growth.observe(tick * SPAN_S, 1000) for tick in range(50)]
    assert growth.count == 2 and not growth.over and not any(one.more for one in judgements)


class Narrow:
    """Bounds each connection of a proxy by a pace of its own: the event's wait is the wire."""

    def __init__(self, bytes_per_s: float) -> None:
        self._bytes_per_s = bytes_per_s
        self._never = threading.Event()

    def __call__(self, _number: int, _passed: int, data: bytes) -> bytes:
        self._never.wait(len(data) / self._bytes_per_s)
        return data


@pytest.fixture
def narrow(site: Site) -> Iterator[Proxy]:
    proxy = Proxy(site.server.address, tamper=Narrow(1.5e6))
    yield proxy
    proxy.stop()


def test_streams_that_are_each_slow_become_more(
    site: Site, narrow: Proxy, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "noise.npy"
    np.save(path, np.random.default_rng(5).integers(0, 1 << 62, 16_000_000 // 8))
    source = site.offer(path)
    with caplog.at_level("INFO", "heliotrope.agent.transfer"):
        result = site.pull(
            tmp_path / "out",
            address=narrow.address,
            options=PullOptions(give_up_s=20, connection_limit=6, memory_bytes=64 << 20),
        )
    assert result.manifest_digest == source.digest
    assert result.connections > 2 and "more" in caplog.text
