"""How a pull begins and shares its work: what is asked for, over which connection, and what is said ahead."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from proxy import Proxy

from heliotrope.agent.transfer.ahead import Ahead
from heliotrope.agent.transfer.connection import Connection, SocketOptions
from heliotrope.agent.transfer.dialler import Dialler
from heliotrope.agent.transfer.result import PullOptions
from heliotrope.agent.transfer.window import LEAST_BYTES, Window
from heliotrope.foundation.clock import SystemClock
from heliotrope.foundation.errors import Denied, InvalidInput, Unreachable

from .conftest import Site

RNG = np.random.default_rng(11)
EXPIRED_UTC = datetime.now(UTC) - timedelta(hours=1)
SHARE_BYTES = 64 << 20


@given(st.floats(0.0, 0.3), st.floats(1e5, 1e9))
def test_a_window_covers_the_time_of_an_answer_and_little_more(rtt_s: float, rate_bytes_per_s: float) -> None:
    window = Window(rtt_s, 0.0)
    assert window.size_bytes(SHARE_BYTES) == LEAST_BYTES
    for tick in range(1, 20):
        window.observe(tick * 0.31, int(tick * 0.31 * rate_bytes_per_s))
    size_bytes = window.size_bytes(1 << 40)
    assert size_bytes >= rate_bytes_per_s * rtt_s - 1
    assert size_bytes <= max(LEAST_BYTES, rate_bytes_per_s * (2 * rtt_s + 0.2) + 1)
    assert window.size_bytes(SHARE_BYTES) <= SHARE_BYTES


def test_a_short_stall_does_not_narrow_it() -> None:
    window = Window(0.05, 0.0)
    for tick in range(1, 11):
        window.observe(tick * 0.125, tick * 10_000_000)
    before_bytes = window.size_bytes(SHARE_BYTES)
    window.observe(1.375, 100_000_000)
    assert window.size_bytes(SHARE_BYTES) == before_bytes
    window.observe(1.5, 100_000_000)
    assert window.size_bytes(SHARE_BYTES) == LEAST_BYTES


def test_all_connections_share_the_work(site: Site, tmp_path: Path) -> None:
    """Each answer waits in the proxy, as on a long link: no connection may take what the others could carry."""
    held = threading.Event()

    def slow(_number: int, _passed: int, data: bytes) -> bytes:
        held.wait(len(data) / 8e6)
        return data

    path = tmp_path / "noise.npy"
    np.save(path, RNG.integers(0, 1 << 62, 48_000_000 // 8))
    source = site.offer(path)
    proxy = Proxy(site.server.address, tamper=slow)
    try:
        options = PullOptions(give_up_s=20, connections=6, memory_bytes=256 << 20)
        result = site.pull(tmp_path / "out", address=proxy.address, options=options)
    finally:
        proxy.stop()
    assert result.manifest_digest == source.digest and result.connections == 6 and result.cuts == 0


def test_a_base_that_went_away_is_done_without(site: Site, tmp_path: Path) -> None:
    """The first connection heard that the source has the base; the others ask for deltas before they hear that it has
    not any more.
    """
    old = (RNG.standard_normal(3_000_000) * 0.02).astype(np.float32)
    np.save(tmp_path / "old.npy", old)
    np.save(tmp_path / "new.npy", old + np.float32(1e-6))
    base, source = site.offer(tmp_path / "old.npy", "old"), site.offer(tmp_path / "new.npy")

    class Once(dict[bytes, object]):
        def get(self, key: bytes, default: object = None) -> object:
            return self.pop(key, default)

    site.bases = Once({base.digest: base})  # type: ignore[assignment]
    result = site.pull(tmp_path / "out", base=base, options=PullOptions(give_up_s=20, connections=4))
    assert result.manifest_digest == source.digest and result.cuts == 0
    assert result.delta_bytes < result.fetched_bytes


def dialler(site: Site) -> Dialler:
    fleet = site.fleet
    return Dialler(
        site.server.address,
        fleet.client_context,
        name=fleet.destination.name,
        ticket=fleet.ticket,
        verify_ticket=fleet.verify,
        options=PullOptions(),
        cancel=threading.Event(),
        clock=SystemClock(),
    )


def test_connections_made_ahead_are_greeted_later(site: Site) -> None:
    dial = dialler(site)
    ahead = Ahead(dial.connect, SystemClock())
    ahead.start(2)
    ahead.start(5)  # once is enough
    for _ in range(2):
        dial(connection=ahead.take()).close()
    assert ahead.take() is None
    ahead.close()


def test_those_made_ahead_start_no_more_of_them(site: Site) -> None:
    """Each new connection tells the round trip time, which is what starts the others: that must not go on and on."""
    dial, made = dialler(site), []

    def connect() -> Connection:
        made.append(dial.connect())
        return made[-1]

    ahead = Ahead(connect, SystemClock())
    dial.on_rtt = lambda _rtt_s: ahead.start(3)
    dial.connect().close()
    ahead.close()
    assert len(made) == 3


def test_connections_made_ahead_are_closed_when_nobody_takes_them(site: Site) -> None:
    made: list[Connection] = []

    def connect() -> Connection:
        made.append(dialler(site).connect())
        return made[-1]

    ahead = Ahead(connect, SystemClock())
    ahead.start(3)
    ahead.close()
    assert len(made) == 3 and all(connection.stream.fileno() == -1 for connection in made)


def test_a_source_that_cannot_be_reached_leaves_none_ahead(site: Site) -> None:
    dial = dialler(site)
    site.server.stop()
    ahead = Ahead(dial.connect, SystemClock())
    ahead.start(1)
    assert ahead.take() is None
    ahead.close()


def test_a_congestion_control_that_is_not_there() -> None:
    SocketOptions().check()
    SocketOptions(congestion="reno").check()  # Linux always has it
    with pytest.raises(InvalidInput, match=r"field transfer\.congestion.*tcp_allowed_congestion_control"):
        SocketOptions(congestion="nosuch").check()


def test_one_that_failed_does_not_keep_the_others_open(site: Site) -> None:
    made: list[Connection] = []
    turns = iter([False, True, True, True])

    def connect() -> Connection:
        if not next(turns):
            raise Unreachable("cannot connect: as asked")
        made.append(dialler(site).connect())
        return made[-1]

    ahead = Ahead(connect, SystemClock())
    ahead.start(4)
    ahead.close()
    assert len(made) == 3 and all(connection.stream.fileno() == -1 for connection in made)


def test_a_refusal_is_heard_although_more_was_said_ahead(site: Site, tmp_path: Path) -> None:
    """The server refuses the ticket with what followed the greeting unread: that must not become a mere reset."""
    np.save(tmp_path / "one.npy", RNG.integers(0, 1 << 62, 1000))
    site.offer(tmp_path / "one.npy")
    foreign = site.fleet.ticket(source_node="node-a", destination_node="node-b", expires_utc=EXPIRED_UTC)
    good = site.fleet.verify
    for _ in range(20):
        with pytest.raises(Denied):
            site.pull(tmp_path / "out", ticket=foreign, verify_ticket=lambda _: good(site.fleet.ticket()))
