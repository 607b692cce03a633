"""A fleet of two nodes for one measurement: identities that nobody keeps, and a ticket between them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from heliotrope.foundation import authority, identity, tickets
from heliotrope.foundation.identity import Role
from heliotrope.foundation.tickets import Ticket, TicketVerifier

FLEET, COORDINATOR, SOURCE, DESTINATION = "benchmark", "control", "source", "destination"


def issue(folder: Path) -> None:
    """Write the identities into ``folder``, one folder each."""
    ca = authority.create(folder / "ca", FLEET)
    ca.issue(Role.COORDINATOR, COORDINATOR).save(folder / COORDINATOR)
    for node in (SOURCE, DESTINATION):
        ca.issue(Role.AGENT, node).save(folder / node)


def verifier(folder: Path) -> TicketVerifier:
    coordinator = identity.load(folder / COORDINATOR)
    return TicketVerifier(coordinator.ca_pem, coordinator.certificate_pem)


def ticket(folder: Path) -> bytes:
    """Leave for the destination to fetch anything of the source for a day."""
    leave = Ticket(
        fleet=FLEET,
        job_id="job",
        migration_id="move",
        epoch=1,
        source_node=SOURCE,
        destination_node=DESTINATION,
        byte_limit=1 << 40,
        expires_utc=datetime.now(UTC) + timedelta(days=1),
    )
    return tickets.sign(leave, identity.load(folder / COORDINATOR))
