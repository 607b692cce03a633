"""Joining, renewing, revoking and cloning, with real processes, real TLS and the real commands."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from fleet_driver import Operator, Runners, Truth, tiny_spec, two_nodes

from heliotrope.agent import joining
from heliotrope.cli.demo.fleet import LocalFleet, Member
from heliotrope.foundation import authority, identity, jointoken, signing_request, tls
from heliotrope.foundation.clock import SystemClock
from heliotrope.foundation.errors import Conflict, Denied
from heliotrope.v1 import fleet_pb2, fleet_pb2_grpc, identity_pb2, identity_pb2_grpc, operator_pb2

CERTIFICATE_S = 20.0
ARGUMENTS = ("--steps", "160", "--step-s", "0.2", "--state-kb", "64")


@pytest.fixture
def fleet(folder: Path) -> Iterator[LocalFleet]:
    """Two nodes and a coordinator that holds the authority."""
    with two_nodes(folder) as made:
        path = made.members["coordinator"].config
        fields = json.loads(path.read_text())
        path.write_text(json.dumps({**fields, "enrolment": {"authority": "ca"}}))
        yield made


def heliotrope(fleet: LocalFleet, *arguments: str | Path, code: int = 0, text: str = "") -> str:
    """Run one command as the fleet's operator; its stdout, or its stderr where it is to fail."""
    environment = {
        **os.environ,
        "HELIOTROPE_COORDINATOR": fleet.address,
        "HELIOTROPE_IDENTITY": str(fleet.folder / "identities" / "operator"),
    }
    command = [sys.executable, "-m", "heliotrope.cli", *map(str, arguments)]
    done = subprocess.run(command, input=text, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == code, done.stderr
    return done.stderr if code else done.stdout


def token_for(fleet: LocalFleet, node: str, **options: Any) -> Path:
    path = fleet.folder / f"{node}.token"
    ca = authority.open(fleet.folder / "ca")
    path.write_text(jointoken.pack(ca.issue_joiner(node, **options), "east") + "\n")
    path.chmod(0o600)
    return path


def connected(operator: Operator) -> set[str]:
    nodes = operator.stub.GetFleet(operator_pb2.GetFleetRequest(), timeout=5).nodes
    return {node.node_id for node in nodes if node.connected}


def logs(fleet: LocalFleet) -> str:
    return "".join(path.read_text(errors="replace") for path in fleet.folder.glob("*.log"))


def test_a_node_joins_once_and_its_agent_runs(fleet: LocalFleet) -> None:
    fleet.start("coordinator")
    token = fleet.folder / "c.token"
    shown = heliotrope(
        fleet, "ca", "join-token", "--ca", fleet.folder / "ca", "--node", "c", "--site", "east", "--out", token
    )
    secret = token.read_text().strip()
    assert stat.S_IMODE(token.stat().st_mode) == 0o600 and secret not in shown
    config = fleet.folder / "node-c" / "agent.toml"
    join = ("agent", "join", token, fleet.address, "--config", config)
    made = json.loads(heliotrope(fleet, *join, "--json"))
    assert made["name"] == "heliotrope://demo/node/c"
    assert stat.S_IMODE((config.parent / "identity").stat().st_mode) == 0o700
    key = config.parent / "identity" / "identity.key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert 'site = "east"' in config.read_text() and f'coordinator = "{fleet.address}"' in config.read_text()
    # Again: nothing changes. Elsewhere: the token is used up.
    assert json.loads(heliotrope(fleet, *join, "--json"))["serial"] == made["serial"]
    refused = heliotrope(fleet, "agent", "join", "-", fleet.address, "--out", fleet.folder / "d", code=6, text=secret)
    assert "this token was used at" in refused and not (fleet.folder / "d").exists()
    assert "the token itself is on the command line" in heliotrope(
        fleet, "agent", "join", secret, fleet.address, "--out", fleet.folder / "d", code=2
    )

    config.write_text(
        config.read_text() + '[transfer]\nlisten = "127.0.0.1:0"\n[power.model]\nidle_w = 1.0\nmax_w = 10.0\n'
    )
    fleet.nodes = {"c": "east"}
    fleet.members["c"] = Member("c", "agent", config)
    fleet.start("c")
    Operator(fleet).nodes_connected()
    written = logs(fleet)
    assert "enrolled from host" in written
    assert secret not in written and "PRIVATE KEY" not in written
    assert [line for line in key.read_text().splitlines() if len(line) > 40 and line in written] == []


def test_a_lost_answer_is_given_again_and_another_key_is_not(fleet: LocalFleet) -> None:
    fleet.start("coordinator")
    token = jointoken.unpack(token_for(fleet, "c").read_text(), now_utc=SystemClock().utc())
    out = fleet.folder / "c-identity"
    key_path = fleet.folder / "c-identity.joining" / "identity.key"
    with tls.grpc_channel(fleet.address, token.identity) as channel:
        stub = identity_pb2_grpc.IdentityServiceStub(channel)
        # What a join that is cut off before its answer leaves behind: the key on disk, and a token that is used up.
        key_path.parent.mkdir(mode=0o700)
        key = signing_request.new_key()
        key_path.write_bytes(signing_request.key_pem(key))
        key_path.chmod(0o600)
        first = stub.Enrol(identity_pb2.EnrolRequest(csr_pem=signing_request.make(key, "c")), timeout=30)
        # A joiner may do nothing else.
        sessions = fleet_pb2_grpc.FleetServiceStub(channel)
        with pytest.raises(grpc.RpcError) as refused:
            next(sessions.Session(iter([fleet_pb2.AgentMessage(hello=fleet_pb2.Hello(site="east"))]), timeout=30))
        assert "as joiner c" in str(refused.value.details())
        with pytest.raises(grpc.RpcError) as refused:
            stub.Renew(identity_pb2.RenewRequest(csr_pem=signing_request.make(key, "c")), timeout=30)
        assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED
        # A request that its sender cannot have signed is none.
        with pytest.raises(grpc.RpcError) as refused:
            stub.Enrol(identity_pb2.EnrolRequest(csr_pem=b"-----BEGIN"), timeout=30)
        assert "field csr_pem" in str(refused.value.details())
    joined = joining.join(token, fleet.address, out)
    assert joined.certificate_pem == first.certificate_pem
    assert not key_path.parent.exists()
    with pytest.raises(Denied, match="this token was used at"):
        joining.join(token, fleet.address, fleet.folder / "elsewhere")
    with pytest.raises(Conflict, match="identity of heliotrope://demo/node/a"):
        joining.join(token, fleet.address, fleet.folder / "identities" / "a")


@pytest.mark.slow
def test_a_certificate_of_seconds_is_renewed_under_a_running_job(fleet: LocalFleet, truth: Truth) -> None:
    """Longer than the first certificate lives; neither the job nor a move notices."""
    ca = authority.open(fleet.folder / "ca")
    path = fleet.members["coordinator"].config
    enrolment = {"authority": "ca", "certificate_s": CERTIFICATE_S}
    path.write_text(json.dumps({**json.loads(path.read_text()), "enrolment": enrolment}))
    shutil.rmtree(fleet.folder / "identities" / "b")
    fleet.start("coordinator")
    heliotrope(fleet, "agent", "join", token_for(fleet, "b"), fleet.address, "--out", fleet.folder / "identities" / "b")
    first = identity.load(fleet.folder / "identities" / "b")
    fleet.start("a")
    fleet.start("b")
    operator = Operator(fleet)
    operator.nodes_connected()
    job_id = operator.submit(tiny_spec(*ARGUMENTS, sites_preferred=("east",)))
    with Runners(job_id) as runners:
        operator.reached(5)

        def lived_on() -> bool | None:
            return True if SystemClock().utc() > first.expires_utc else None

        operator.until(lived_on, "the end of the first certificate")
        assert operator.job().node_id == "b"
        # The renewed certificate serves in transfers too, in both directions.
        assert operator.migration_ended(operator.move("a")) == "COMMITTED"
        job = operator.ended()
    assert runners.most == 1 and runners.samples
    assert job.node_id == "a" and operator.digest() == truth(ARGUMENTS)
    assert job.restart_count == 0
    now = identity.load(fleet.folder / "identities" / "b")
    assert now.expires_utc > first.expires_utc and now.key_pem != first.key_pem
    assert stat.S_IMODE((fleet.folder / "identities" / "b" / "identity.key").stat().st_mode) == 0o600
    assert sum(record.name == str(first.name) for record in ca.issued()) >= 3, "the first and at least two renewals"


def test_a_revoked_node_is_out_at_once_until_it_joins_again(fleet: LocalFleet) -> None:
    fleet.start_all()
    operator = Operator(fleet)
    operator.nodes_connected()
    assert "without --yes" in heliotrope(fleet, "identity", "revoke", "node/b", code=2)
    stolen = token_for(fleet, "b")  # made before the revocation: void with it
    heliotrope(fleet, "identity", "revoke", "node/b", "--reason", "lost laptop", "--yes")

    def out() -> str | None:
        text = fleet.tail("b", 100)
        return text if "was revoked at" in text and "lost laptop" in text else None

    operator.until(out, "the refusal by name", 30)
    assert {
        node.node_id
        for node in operator.stub.GetFleet(operator_pb2.GetFleetRequest(), timeout=5).nodes
        if node.connected
    } == {"a"}
    # The other agent was told, and keeps it over its own restart without a coordinator.
    kept = fleet.folder / "a" / "revocations.json"
    operator.until(lambda: kept.exists() or None, "the list at the other agent", 30)
    assert "node/b" in kept.read_text()
    # Over a restart of the coordinator too.
    fleet.kill("coordinator")
    fleet.start("coordinator")
    shown = json.loads(heliotrope(fleet, "identity", "list", "--json"))
    assert [entry["subject"] for entry in shown["revocations"]] == ["heliotrope://demo/node/b"]
    assert {one["name"] for one in shown["identities"] if one["revoked_utc"]} == {
        "heliotrope://demo/node/b",
        "heliotrope://demo/joiner/b",
    }
    folder = fleet.folder / "identities" / "b"
    rejoin = ("agent", "join", stolen, fleet.address, "--out", folder, "--replace")
    assert "was revoked at" in heliotrope(fleet, *rejoin, code=6)
    # A new token, into the folder of the running agent: it takes it up without a restart.
    token_for(fleet, "b")
    heliotrope(fleet, *rejoin)
    operator.nodes_connected()


def test_a_clone_is_refused_and_names_both_hosts(fleet: LocalFleet) -> None:
    fleet.start_all()
    operator = Operator(fleet)
    operator.nodes_connected()
    member = fleet.members["a"]
    fields = json.loads(member.config.read_text())
    fields["state_dir"] = "copy-of-a"
    fields["transfer"] = {"listen": "127.0.0.1:0", "advertise": ["127.0.0.1:1"]}
    copy = fleet.folder / "copy.json"
    copy.write_text(json.dumps(fields))
    fleet.members["copy"] = Member("copy", "agent", copy)
    fleet.start("copy")

    def refused() -> str | None:
        text = fleet.tail("copy", 50)
        return text if "cannot accept node a from host" in text else None

    text = operator.until(refused, "the refusal of the clone", 30)
    assert "is connected as this node and answers" in text
    assert connected(operator) == {"a", "b"}
    assert "node a disconnected" not in fleet.log("coordinator").read_text()
    # The machine that it was copied from is switched off: the copy takes over. A killed agent comes back by itself.
    fleet.kill("a")
    operator.until(lambda: "session with" in fleet.tail("copy", 50) or None, "the copy's session", 30)
    fleet.kill("copy")
    fleet.start("a")
    operator.nodes_connected()


def test_without_an_authority_joining_is_refused_with_the_remedy(folder: Path) -> None:
    with two_nodes(folder) as fleet:
        fleet.start("coordinator")
        refused = heliotrope(
            fleet, "agent", "join", token_for(fleet, "c"), fleet.address, "--out", folder / "c", code=4
        )
        assert "enrolment.authority" in refused and "heliotrope ca issue" in refused
        assert "enrolment.authority" in heliotrope(fleet, "identity", "renew", code=4)
        ca = authority.create(folder / "other", "demo")
        foreign = jointoken.pack(ca.issue_joiner("c"))
        refused = heliotrope(fleet, "agent", "join", "-", fleet.address, "--out", folder / "c", code=6, text=foreign)
        assert "TLS handshake failed" in refused and "this machine's says" in refused
