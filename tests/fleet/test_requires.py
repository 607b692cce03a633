"""What a job requires of a node is proved there before anything starts or stops, and its absence is told."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import msgspec
from fleet_driver import TINY_JOB, Operator, tiny_spec, two_nodes

from heliotrope.foundation.jobspec import Requirement
from heliotrope.v1 import common_pb2
from heliotrope.v1 import operator_pb2 as pb

RUNNING = common_pb2.JobState.JOB_STATE_RUNNING


def test_a_node_without_what_is_required_is_left_alone(folder: Path) -> None:
    data = folder / "data set"
    requires = (Requirement(path=str(data), kind="folder"), Requirement(path="/proc", kind="mount"))
    spec = msgspec.structs.replace(tiny_spec("--steps", "100000", "--step-s", "0.05"), requires=requires)
    fleet = two_nodes(folder)
    config = json.loads((fleet.folder / "b.json").read_text())
    config["jobs"]["mounts"] = [str(folder), "/proc"]
    (fleet.folder / "b.json").write_text(json.dumps(config))
    with fleet:
        fleet.start_all()
        operator = Operator(fleet)
        operator.nodes_connected()
        operator.submit(spec, {"tiny_job.py": TINY_JOB.read_bytes()})
        # Nowhere is it there: both sites are tried, and the job waits and says why.
        told = operator.until(lambda: _tried(operator), "the refusals of both nodes")
        assert all(f"requires {data}: absent at node {node}" in told for node in "ab"), told
        data.mkdir()
        operator.reached(3)
        migrated = "a" if operator.job().node_id == "b" else "b"
        data.rename(folder / "elsewhere")
        # The agents have seen it lately, and take it for granted for a while; a new agent looks for itself.
        fleet.kill(migrated)
        fleet.start(migrated)
        operator.nodes_connected()
        migration_id = operator.move(migrated)
        assert operator.migration_ended(migration_id) == "ABORTED"
        assert operator.migration(migration_id).message == f"requires {data}: absent at node {migrated}"
        assert operator.job().state == RUNNING
        operator.reached(operator.job().progress.step + 3)


def _tried(operator: Operator) -> str | None:
    found = operator.stub.ListMigrations(pb.ListMigrationsRequest(job="tiny"), timeout=5).migrations
    message = operator.job().message
    nodes = {one.destination_node for one in found if "requires" in one.message}
    return message if nodes == {"a", "b"} and message.count("requires") == 2 else None


def test_a_path_that_the_node_does_not_declare_is_not_tried(folder: Path) -> None:
    spec = msgspec.structs.replace(
        tiny_spec(sites_allowed=("west",)), command=(sys.executable, "-c", ""), requires=(Requirement(path="/proc"),)
    )
    with two_nodes(folder, jobs={"mounts": ["/process"]}) as fleet:
        fleet.start_all()
        operator = Operator(fleet)
        operator.nodes_connected()
        operator.submit(spec)
        text = "requires /proc: not among the mounts that node a declares"
        operator.until(lambda: operator.job().message if text in operator.job().message else None, "the reason")
        assert not operator.stub.ListMigrations(pb.ListMigrationsRequest(job="tiny"), timeout=5).migrations
        explained = operator.stub.GetDecision(pb.GetDecisionRequest(decision_id="tiny"), timeout=5)
        assert explained.binding == "refused" and text in explained.text
