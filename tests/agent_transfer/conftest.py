"""A fleet of two nodes with real certificates, a signed ticket, and a server on loopback."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from heliotrope.agent.checkpoints.reader import CheckpointReader
from heliotrope.agent.checkpoints.scan import build
from heliotrope.agent.transfer.client import pull
from heliotrope.agent.transfer.result import PullOptions, PullResult
from heliotrope.agent.transfer.server import ServerOptions, TransferServer
from heliotrope.agent.transfer.source import Source
from heliotrope.foundation import authority, identity, tickets, tls
from heliotrope.foundation.identity import Identity, Role
from heliotrope.foundation.tickets import Ticket, TicketVerifier


@dataclass(frozen=True)
class Fleet:
    """Identities and contexts of a coordinator, a source and a destination."""

    coordinator: Identity
    source: Identity
    destination: Identity
    other: Identity
    server_context: ssl.SSLContext
    client_context: ssl.SSLContext
    verify: TicketVerifier

    def ticket(self, **changes: Any) -> bytes:
        """A ticket for source -> destination, an hour long, 1 TB, unless changed."""
        fields: dict[str, Any] = {
            "fleet": "test",
            "job_id": "job-1",
            "migration_id": "move-1",
            "epoch": 1,
            "source_node": "node-a",
            "destination_node": "node-b",
            "byte_limit": 1 << 40,
            "expires_utc": datetime.now(UTC) + timedelta(hours=1),
        }
        return tickets.sign(Ticket(**(fields | changes)), self.coordinator)


@pytest.fixture(scope="session")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    folder = tmp_path_factory.mktemp("fleet")
    ca = authority.create(folder / "ca", "test")

    def issue(role: Role, name: str) -> Identity:
        ca.issue(role, name).save(folder / name)
        return identity.load(folder / name)

    coordinator = issue(Role.COORDINATOR, "control")
    source, destination = issue(Role.AGENT, "node-a"), issue(Role.AGENT, "node-b")
    return Fleet(
        coordinator,
        source,
        destination,
        issue(Role.AGENT, "node-c"),
        tls.server_context(source),
        tls.client_context(destination),
        TicketVerifier(ca.ca_pem, coordinator.certificate_pem),
    )


class Site:
    """A running sender and the way to pull from it. ``sources``: reference -> checkpoint."""

    def __init__(self, fleet: Fleet, options: ServerOptions | None = None) -> None:
        self.fleet = fleet
        self.sources: dict[str, CheckpointReader] = {}
        self.bases: dict[bytes, CheckpointReader] = {}
        self.seen: list[tuple[int, int]] = []
        self.server = TransferServer(
            fleet.server_context,
            ("127.0.0.1", 0),
            name=fleet.source.name,
            verify_ticket=fleet.verify,
            open_source=self._open,
            open_base=lambda _, digest: self.bases.get(digest),
            on_progress=lambda _, done, total: self.seen.append((done, total)),
            options=options,
        )
        self.server.start()

    def _open(self, _: Ticket, reference: str) -> Source:
        return self.sources[reference]

    def offer(self, path: Path, reference: str = "newest") -> CheckpointReader:
        """Make a checkpoint available."""
        self.sources[reference] = CheckpointReader(path, build(path))
        return self.sources[reference]

    def pull(self, destination: Path, reference: str = "newest", **changes: Any) -> PullResult:
        """Pull with defaults that fail fast."""
        fields: dict[str, Any] = {
            "name": self.fleet.destination.name,
            "ticket": self.fleet.ticket(),
            "verify_ticket": self.fleet.verify,
            "options": PullOptions(give_up_s=20, idle_s=20),
        }
        address = changes.pop("address", self.server.address)
        context = changes.pop("context", self.fleet.client_context)
        return pull(address, context, reference=reference, destination=destination, **(fields | changes))


@pytest.fixture
def site(fleet: Fleet) -> Iterator[Site]:
    running = Site(fleet)
    yield running
    running.server.stop()


@pytest.fixture
def site_with(fleet: Fleet) -> Iterator[Callable[[ServerOptions], Site]]:
    """Makes sites with options; all are stopped afterwards."""
    running: list[Site] = []

    def start(options: ServerOptions) -> Site:
        running.append(Site(fleet, options))
        return running[-1]

    yield start
    for each in running:
        each.server.stop()
