"""Power caps through a whole fleet: operator, coordinator, agent, driver; each of them killed on the way."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest
from fleet_driver import Operator, two_nodes

from heliotrope.cli.demo.fleet import COORDINATOR, LocalFleet
from heliotrope.v1 import common_pb2
from heliotrope.v1 import operator_pb2 as pb

PREVIOUS_W, CAPPED_W = 600.0, 300.0


@pytest.fixture
def fleet(scenario: Any) -> Iterator[LocalFleet]:
    """Its node ``a`` caps the GPU; a short path, because unix sockets live below it."""
    scenario.gpu(0, power_w=100, limit_range_mw="100000 700000").set_limit_w(0, PREVIOUS_W)
    with tempfile.TemporaryDirectory(prefix="ht-", ignore_cleanup_errors=True) as name, two_nodes(Path(name)) as made:
        yield made


@pytest.fixture
def operator(fleet: LocalFleet) -> Operator:
    fleet.start(COORDINATOR)
    fleet.start("a")
    found = Operator(fleet)
    present(found)
    return found


def present(operator: Operator) -> pb.Node:
    """Node a, once it has a session."""

    def look() -> pb.Node | None:
        nodes = operator.stub.GetFleet(pb.GetFleetRequest(), timeout=5).nodes
        return next((node for node in nodes if node.node_id == "a" and node.connected), None)

    return operator.until(look, "the node's session")


def order(lifetime_s: int = 1000, limit_w: float = CAPPED_W, request_id: str = "r-1") -> pb.CapNodeRequest:
    request = pb.CapNodeRequest(request_id=request_id, node_id="a", limit_w=limit_w, message="hot day")
    request.lifetime.FromSeconds(lifetime_s)
    return request


def history(operator: Operator, kind: str) -> common_pb2.PowerCapEvent:
    """The newest event of the node, once it is of that kind."""

    def look() -> common_pb2.PowerCapEvent | None:
        events = operator.stub.ListPowerCapEvents(pb.ListPowerCapEventsRequest(node_id="a"), timeout=5).events
        newest = events[0] if events else None
        is_it = newest is not None and common_pb2.PowerCapEventKind.Name(newest.kind).endswith(f"KIND_{kind}")
        return newest if is_it else None

    return operator.until(look, f"event {kind}")


def test_order_crash_and_stop(fleet: LocalFleet, operator: Operator, scenario: Any) -> None:
    (event,) = operator.stub.CapNode(order()).events
    assert (event.device, event.found_w, event.limit_w, event.operator) == ("GPU-0", PREVIOUS_W, CAPPED_W, "operator")
    assert scenario.limit_w(0) == CAPPED_W
    assert operator.stub.CapNode(order()).events[0] == event  # the same request: the same answer
    with pytest.raises(grpc.RpcError, match=r"choose from 100 to 700 W"):
        operator.stub.CapNode(order(limit_w=50.0, request_id="r-2"))
    with pytest.raises(grpc.RpcError, match=r"field lifetime"):
        operator.stub.CapNode(order(lifetime_s=8 * 86_400, request_id="r-3"))
    (cap,) = operator.until(lambda: present(operator).power_caps or None, "the cap in the node's heartbeat")
    assert (cap.cap_id, cap.requested_w, cap.message) == (event.cap_id, CAPPED_W, "hot day")

    fleet.kill("a")
    assert scenario.limit_w(0) == CAPPED_W  # as on real hardware; no stop step runs here
    fleet.start("a")
    assert history(operator, "REAPPLIED").cap_id == event.cap_id and scenario.limit_w(0) == CAPPED_W
    shown = heliotrope(fleet, "node", "show", "a")
    assert "GPU-0 300 W, enforced 300 W until" in shown and "by operator: hot day" in shown
    (told,) = json.loads(heliotrope(fleet, "node", "caps", "a", "--json"))
    assert (told["node_id"], told["requested_w"], told["previous_w"]) == ("a", CAPPED_W, PREVIOUS_W)

    process = fleet.members["a"].process
    assert process is not None
    process.send_signal(signal.SIGTERM)
    process.wait(30)
    assert scenario.limit_w(0) == PREVIOUS_W
    with pytest.raises(grpc.RpcError, match="not connected"):
        operator.stub.CapNode(order(request_id="r-4"))
    fleet.start("a")
    assert "stopped" in history(operator, "RESTORED").message
    assert not present(operator).power_caps
    table = heliotrope(fleet, "node", "caps", "a", "--history")
    for word in ("ORDERED", "SET", "REFUSED", "REAPPLIED", "RESTORED", "hot day"):
        assert word in table


def test_it_ends_without_its_coordinator(fleet: LocalFleet, operator: Operator, scenario: Any) -> None:
    operator.stub.CapNode(order(lifetime_s=3))
    assert scenario.limit_w(0) == CAPPED_W
    fleet.kill(COORDINATOR)
    operator.until(lambda: True if scenario.limit_w(0) == PREVIOUS_W else None, "the end of the cap")
    fleet.start(COORDINATOR)
    assert "its time was over" in history(operator, "RESTORED").message


def test_an_agent_that_dies_over_the_order_does_it_again(fleet: LocalFleet, operator: Operator, scenario: Any) -> None:
    fleet.kill("a")
    fleet.start("a", failpoint="agent.cap_power.applied=kill")
    present(operator)
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(operator.stub.CapNode, order())
        operator.until(lambda: None if fleet.running("a") else True, "the agent's death")
        fleet.start("a")
        (event,) = answer.result(60).events
    assert (event.limit_w, scenario.limit_w(0)) == (CAPPED_W, CAPPED_W)
    release = operator.stub.UncapNode(pb.UncapNodeRequest(request_id="r-2", node_id="a"))
    assert [one.limit_w for one in release.events] == [PREVIOUS_W] and scenario.limit_w(0) == PREVIOUS_W
    again = operator.stub.UncapNode(pb.UncapNodeRequest(request_id="r-3", node_id="a"))
    assert [one.message for one in again.events] == ["there was no cap to end"]


def heliotrope(fleet: LocalFleet, *words: str) -> str:
    options = ("--coordinator", fleet.address, "--identity", str(fleet.folder / "identities" / "operator"))
    command = [sys.executable, "-m", "heliotrope.cli", *words, *options]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout
