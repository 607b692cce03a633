"""Rounds of pre-copy with real processes: what the standstill sends, and that a round under way survives a crash."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from fleet_driver import Operator, Runners, Truth, tiny_spec, two_nodes

from heliotrope.cli.demo.fleet import COORDINATOR, LocalFleet
from heliotrope.coordinator.decisions.precopy import ROUNDS_LIMIT
from heliotrope.v1 import common_pb2
from heliotrope.v1 import operator_pb2 as pb

SMALL = ("--steps", "120", "--step-s", "0.05")
FROZEN_BASE = (*SMALL, "--state-kb", "32", "--frozen-kb", "4096")  # a LoRA: most of it never changes
ALL_CHANGES = (*SMALL, "--state-kb", "256")  # as full AdamW training: every byte changes in each step
# Its newest checkpoint is several seconds old when it is to move, and another one costs it nothing.
OLD_CHECKPOINT = ("--steps", "500", "--step-s", "0.05", "--state-kb", "64", "--checkpoint-every", "130")
EAGER = {"assumed_save_s": 0.0, "default_bandwidth_bytes_per_s": 1e5, "default_energy_j_per_byte": 0.0}


def fleet_of(folder: Path, **planner: float) -> LocalFleet:
    return two_nodes(folder, planner=planner)


def show(fleet: LocalFleet, migration_id: str) -> str:
    """What a person sees of a migration."""
    program = Path(sys.executable).with_name("heliotrope")
    target = ["--coordinator", fleet.address, "--identity", str(fleet.folder / "identities" / "operator")]
    line = [str(program), "migration", "show", migration_id, *target]
    done = subprocess.run(line, check=True, capture_output=True, text=True)
    print(done.stdout)  # pytest shows it where the test fails
    return done.stdout


def moved(operator: Operator, arguments: tuple[str, ...], truth: Truth) -> pb.Migration:
    """The job's one move from a to b, after it ended bit-exact."""
    job_id = operator.submit(tiny_spec(*arguments))
    with Runners(job_id) as runners:
        operator.reached(10)
        migration_id = operator.move("b")
        assert operator.migration_ended(migration_id) == "COMMITTED", operator.story()
        assert operator.ended().state == common_pb2.JobState.JOB_STATE_FINISHED, operator.story()
    assert runners.most == 1
    assert operator.digest() == truth(arguments)
    return operator.migration(migration_id)


def test_a_frozen_base_travels_before_the_standstill(folder: Path, truth: Truth) -> None:
    with fleet_of(folder) as fleet:
        fleet.start_all()
        operator = Operator(fleet)
        operator.nodes_connected()
        migration = moved(operator, FROZEN_BASE, truth)
        shown = show(fleet, migration.migration_id)
    assert migration.standstill_wire_bytes < 0.05 * migration.state_bytes
    assert migration.wire_bytes > 0.95 * migration.state_bytes, "the base had to travel once"
    (only,) = migration.rounds
    assert only.wire_bytes == migration.wire_bytes - migration.standstill_wire_bytes
    assert not only.HasField("base_age") and "no further round" in only.verdict
    assert not migration.HasField("expected"), "it had no checkpoint before: nothing was known of its size"
    assert only.verdict in shown and "AND THEN" in shown


@pytest.mark.slow
def test_the_second_move_is_expected_as_the_first_one_went(folder: Path, truth: Truth) -> None:
    arguments = ("--steps", "300", *FROZEN_BASE[2:])
    with fleet_of(folder, default_bandwidth_bytes_per_s=1e7) as fleet:
        fleet.start_all()
        operator = Operator(fleet)
        operator.nodes_connected()
        operator.submit(tiny_spec(*arguments))
        operator.reached(5)
        assert operator.migration_ended(operator.move("b")) == "COMMITTED", operator.story()
        migration_id = operator.move("a")
        assert operator.migration_ended(migration_id) == "COMMITTED", operator.story()
        shown = show(fleet, migration_id)
        operator.ended()
        assert operator.digest() == truth(arguments)
        migration = operator.migration(migration_id)
    expected = migration.expected
    assert 0.5 < expected.standstill_wire_bytes / migration.standstill_wire_bytes < 2, migration
    assert expected.wire_bytes < 0.1 * migration.state_bytes, "the frozen base is there still"
    assert expected.standstill.ToTimedelta().total_seconds() > 0
    assert "in a standstill of" in shown


def test_what_changes_everywhere_takes_no_useless_second_round(folder: Path, truth: Truth) -> None:
    with fleet_of(folder, default_bandwidth_bytes_per_s=1e5) as fleet:
        fleet.start_all()
        operator = Operator(fleet)
        operator.nodes_connected()
        migration = moved(operator, ALL_CHANGES, truth)
        printed = operator.story()
    (only,) = migration.rounds
    assert "no further round: it would save" in only.verdict, printed
    assert migration.standstill_wire_bytes > 0.9 * migration.state_bytes, "there was nothing to save"
    # Nothing was known of it but its size: the expectation is the prior's, for training in fp32.
    assert abs(only.left_bytes / migration.standstill_wire_bytes - 1) < 0.25


@pytest.mark.parametrize(
    ("member", "point"),
    [
        (COORDINATOR, "saga.staging.persisted=kill@2"),  # the second round's request is in the outbox
        # Its checkpoint is whole; the pull was not persisted.
        pytest.param(COORDINATOR, "saga.staging.persist=kill@3", marks=pytest.mark.slow),
        # The source, the checkpoint made and not yet reported.
        ("a", "agent.request_checkpoint.applied=kill"),
        # The destination, in the middle.
        pytest.param("b", "agent.pull.transferring=kill@3", marks=pytest.mark.slow),
    ],
)
def test_a_round_under_way_survives_a_crash(folder: Path, truth: Truth, member: str, point: str) -> None:
    with fleet_of(folder, **EAGER) as fleet:
        for name in fleet.members:
            fleet.start(name, failpoint=point if name == member else "")
        operator = Operator(fleet)
        operator.nodes_connected()
        job_id = operator.submit(tiny_spec(*OLD_CHECKPOINT, alpha=0.01))
        with Runners(job_id) as runners:
            operator.reached(180)
            migration_id = operator.move("b")
            operator.until(lambda: None if fleet.running(member) else True, f"the death of {member} at {point}")
            fleet.start(member)
            operator.nodes_connected()
            assert operator.migration_ended(migration_id) == "COMMITTED", operator.story()
            job = operator.ended()
        assert job.state == common_pb2.JobState.JOB_STATE_FINISHED, operator.story()
        assert operator.digest() == truth(OLD_CHECKPOINT), operator.story()
        assert runners.most == 1, operator.story()
        rounds = operator.migration(migration_id).rounds
    assert 2 <= len(rounds) <= ROUNDS_LIMIT
    keys = [(one.epoch, one.sequence) for one in rounds]
    assert keys == sorted(set(keys)), "each round brings a newer checkpoint"
    assert all("another round: it saves" in one.verdict for one in rounds[:-1])
    assert "no further round" in rounds[-1].verdict
