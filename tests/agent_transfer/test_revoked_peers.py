"""A revoked node neither fetches nor is fetched from, and a transfer under way is broken off."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from heliotrope.agent.transfer.handshake import anyone
from heliotrope.agent.transfer.result import PullOptions
from heliotrope.agent.trust import Trust
from heliotrope.foundation import certificates
from heliotrope.foundation.clock import SystemClock
from heliotrope.foundation.errors import Denied
from heliotrope.foundation.identity import Identity
from heliotrope.foundation.peer import Peer
from heliotrope.foundation.revocation import Revocation

from .conftest import Fleet, Site

SLOW = PullOptions(rate=3e6, connections=1, give_up_s=5)


@pytest.fixture
def out(site: Site, tmp_path: Path) -> Path:
    (tmp_path / "ck").write_bytes(np.random.default_rng(2).bytes(9_000_000))
    site.offer(tmp_path / "ck")
    return tmp_path / "out"


@pytest.fixture
def trust(fleet: Fleet, tmp_path: Path) -> Trust:
    return Trust(tmp_path / "revocations.json", fleet.source, SystemClock())


def revoke(trust: Trust, who: Identity) -> None:
    trust.learn_revocations([Revocation(subject=str(who.name), revoked_utc=datetime.now(UTC), reason="stolen")])


def test_the_source_refuses_a_revoked_receiver(fleet: Fleet, site: Site, out: Path, trust: Trust) -> None:
    site.server._host.admit = trust.admit
    revoke(trust, fleet.destination)
    with pytest.raises(Denied, match=r"node-b: its certificate .* was revoked .*stolen"):
        site.pull(out)
    assert not out.exists()
    trust.learn_revocations([])
    site.pull(out)


def test_the_receiver_refuses_a_revoked_source(fleet: Fleet, site: Site, out: Path, trust: Trust) -> None:
    revoke(trust, fleet.source)
    with pytest.raises(Denied, match=r"node-a: its certificate .* was revoked"):
        site.pull(out, admit=trust.admit)
    assert not out.exists()


@pytest.mark.parametrize("end", ["source", "receiver"])
def test_a_transfer_under_way_is_broken_off(fleet: Fleet, site: Site, out: Path, trust: Trust, end: str) -> None:
    other = fleet.destination if end == "source" else fleet.source
    if end == "source":
        site.server._host.admit = trust.admit
    admit = anyone if end == "source" else trust.admit
    with pytest.raises(Denied, match="was revoked"):
        site.pull(out, options=SLOW, on_progress=lambda _: revoke(trust, other), admit=admit)
    assert not out.exists()


def test_the_list_outlives_the_agent_and_damage_does_not_stop_it(fleet: Fleet, trust: Trust, tmp_path: Path) -> None:
    path = tmp_path / "revocations.json"
    revoke(trust, fleet.destination)
    peer_of = Peer.of(certificates.parse(fleet.destination.certificate_pem, "it"))
    with pytest.raises(Denied, match="was revoked"):
        Trust(path, fleet.source, SystemClock()).admit(peer_of)
    path.write_text("[{")
    Trust(path, fleet.source, SystemClock()).admit(peer_of)


def test_tickets_of_a_renewed_coordinator_and_of_the_one_before(fleet: Fleet, trust: Trust) -> None:
    trust.learn_signers([fleet.coordinator.certificate_pem])
    assert trust.verify_ticket(fleet.ticket()).job_id == "job-1"
    with pytest.raises(Denied, match="no coordinator"):
        trust.learn_signers([fleet.other.certificate_pem])
    assert trust.verify_ticket(fleet.ticket()).job_id == "job-1"
