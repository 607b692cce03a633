"""Nobody gets a byte without a ticket for exactly this move."""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from heliotrope.agent.transfer import wire
from heliotrope.agent.transfer.result import PullOptions
from heliotrope.foundation import tls
from heliotrope.foundation.clock import SystemClock
from heliotrope.foundation.errors import Denied, HeliotropeError, Incompatible
from heliotrope.foundation.tickets import Ticket

from .conftest import Fleet, Site


@pytest.fixture
def out(site: Site, tmp_path: Path) -> Path:
    (tmp_path / "ck").write_bytes(np.random.default_rng(2).bytes(9_000_000))
    site.offer(tmp_path / "ck")
    return tmp_path / "out"


def trusting(fleet: Fleet) -> Callable[[bytes], Ticket]:
    """A receiver that does not check tickets itself: what the sender refuses is then the sender's doing."""
    return lambda blob: fleet.verify(fleet.ticket())


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"source_node": "node-c"}, "source_node"),
        ({"destination_node": "node-c"}, "destination_node"),
        ({"byte_limit": 1_000_000}, "1000000 bytes"),
    ],
)
@pytest.mark.parametrize("lenient", [False, True])
def test_a_ticket_for_something_else_is_refused(
    fleet: Fleet, site: Site, out: Path, changes: dict[str, Any], text: str, lenient: bool
) -> None:
    verify = trusting(fleet) if lenient else fleet.verify
    with pytest.raises(Denied, match=text):
        site.pull(out, ticket=fleet.ticket(**changes), verify_ticket=verify)
    assert not out.exists()


@pytest.mark.parametrize("damage", [lambda blob: blob[:-1], lambda blob: blob[:80] + bytes([blob[80] ^ 1]) + blob[81:]])
def test_a_tampered_ticket_is_refused_by_the_sender(
    fleet: Fleet, site: Site, out: Path, damage: Callable[[bytes], bytes]
) -> None:
    with pytest.raises(Denied, match="ticket"):
        site.pull(out, ticket=damage(fleet.ticket()), verify_ticket=trusting(fleet))


def test_an_expired_ticket_is_refused(fleet: Fleet, site: Site, out: Path) -> None:
    late = fleet.ticket(expires_utc=datetime.now(UTC) - timedelta(seconds=1))
    with pytest.raises(Denied, match="expired"):
        site.pull(out, ticket=late, verify_ticket=trusting(fleet))


def test_a_stolen_ticket_is_of_no_use_to_another_node(fleet: Fleet, site: Site, out: Path) -> None:
    with pytest.raises(Denied, match="destination_node"):
        site.pull(
            out,
            context=tls.client_context(fleet.other),
            name=fleet.destination.name,
        )


def test_an_operator_or_stranger_cannot_pull(fleet: Fleet, site: Site, out: Path) -> None:
    with pytest.raises(Denied, match="destination_node"):
        site.pull(out, context=tls.client_context(fleet.coordinator), name=fleet.destination.name)


@dataclass
class _Shifted(SystemClock):
    """A clock whose hour can be moved by hand."""

    ahead: timedelta = timedelta()

    def utc(self) -> datetime:
        return super().utc() + self.ahead


def test_a_ticket_that_runs_out_on_the_way_stops_it_unless_renewed(fleet: Fleet, site: Site, out: Path) -> None:
    clock = _Shifted()
    site.server._host.clock = clock
    blobs = [fleet.ticket()]
    rate = PullOptions(rate=3e6, connections=1, give_up_s=5)

    def expire(_: object) -> None:
        clock.ahead = timedelta(hours=2)

    with pytest.raises(Denied, match="expired"):
        site.pull(out, ticket=lambda: blobs[-1], options=rate, on_progress=expire)
    clock.ahead = timedelta()

    def renew(_: object) -> None:
        blobs.append(fleet.ticket(expires_utc=datetime.now(UTC) + timedelta(hours=9)))

    result = site.pull(out, ticket=lambda: blobs[-1], options=rate, on_progress=renew)
    assert result.cuts == 0 and len(blobs) > 1


def test_versions_without_overlap_are_named(
    fleet: Fleet, site: Site, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("heliotrope.agent.transfer.dialler.hello", _hello_from_the_future)
    with pytest.raises(Incompatible, match="frame versions"):
        site.pull(out)


def _hello_from_the_future(role: Any, ticket: bytes) -> Any:
    return wire.Hello((wire.PROTOCOL_VERSION,), (99,), (99,), role, ticket)


def test_garbage_after_tls_hurts_nobody(fleet: Fleet, site: Site, out: Path) -> None:
    for junk in (b"GET / HTTP/1.1\r\n\r\n", b"\x01\xff\xff\xff\xff\0\0\0\0", b"\x07" * 50):
        plain = socket.create_connection(site.server.address, timeout=10)
        with fleet.client_context.wrap_socket(plain) as stream:
            stream.sendall(junk)
            stream.settimeout(10)
            stream.recv(4096)
    site.pull(out)


def test_an_error_of_the_source_arrives_as_its_class(site: Site, out: Path) -> None:
    def refuse(ticket: Ticket, reference: str) -> Any:
        raise Denied(f"cannot open {reference}: the job was fenced; ask again")

    site.server._host.open_source = refuse
    with pytest.raises(Denied, match="fenced"):
        site.pull(out)
    site.server._host.open_source = lambda ticket, reference: 1 / 0  # type: ignore[assignment,return-value]
    with pytest.raises(HeliotropeError, match="ZeroDivisionError"):
        site.pull(out)
