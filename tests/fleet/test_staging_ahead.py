"""A base staged ahead, with real processes: there when the job has to leave, or wasted, and booked as what it was."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from fleet_driver import SAGA, Operator, Runners, tiny_spec

from heliotrope.cli.demo.fleet import COORDINATOR, LocalFleet
from heliotrope.v1 import common_pb2
from heliotrope.v1 import operator_pb2 as pb

FROZEN_KB, CHANGING_KB = 6144, 1024
STATE_BYTES = (FROZEN_KB + CHANGING_KB) * 1024
RATE_BYTES_PER_S = (
    2_000_000  # of each node: a full copy takes nearly four seconds, in which all that changes has changed
)
ARGUMENTS = (
    *("--steps", "100000", "--step-s", "0.05", "--checkpoint-every", "20"),
    *("--state-kb", str(CHANGING_KB), "--per-step-kb", "16", "--parts", "32", "--frozen-kb", str(FROZEN_KB)),
)
NODES = {"a": "west", "b": "east", "c": "north"}
TRACE_STEP_S = 5


def site(name: str) -> dict[str, Any]:
    return {
        "name": name,
        "latitude": 37.0,
        "longitude": 10.0,
        "grid_intensity_g_per_kwh": 300.0,
        "renewable": {"file": "green.csv", "zone": name, "unit": "ratio"},
        "window": {"rule": "renewable_above", "threshold": 0.5},
    }


def write_trace(folder: Path, west_until_s: float) -> None:
    """West is green until then, from now, and east from then on; north never. Two hours."""
    now = datetime.now(UTC).replace(microsecond=0) - timedelta(seconds=TRACE_STEP_S)
    sunset = now + timedelta(seconds=TRACE_STEP_S + west_until_s)
    lines = ["datetime_utc,west,east,north"]
    for index in range(7200 // TRACE_STEP_S):
        stamp = now + timedelta(seconds=index * TRACE_STEP_S)
        west, east = ("0.9", "0.1") if stamp < sunset else ("0.1", "0.9")
        lines.append(f"{stamp:%Y-%m-%dT%H:%M:%S},{west},{east},0.1")
    (folder / "green.csv").write_text("\n".join(lines) + "\n")


def fleet_of(folder: Path, nodes: str, **stage_ahead: Any) -> LocalFleet:
    fleet = LocalFleet(
        folder,
        sites=[site(name) for name in NODES.values()],
        nodes={name: NODES[name] for name in nodes},
        coordinator={
            # Bytes cost nothing here, so that what a test's job draws, a watt or so, is worth a move.
            "planner": {"interval_s": 0.5, "dwell_s": 0.0, "default_energy_j_per_byte": 1e-9},
            "saga": SAGA,
            "stage_ahead": {"interval_s": 0.5, **stage_ahead},
        },
        agent={
            "power": {"batch_s": 2.0, "model": {"idle_w": 1.0, "max_w": 10.0, "scope": "tree"}},
            "transfer": {"rate_limit_bytes_per_s": RATE_BYTES_PER_S},
        },
    )
    fleet.prepare()
    return fleet


def forecast(fleet: LocalFleet, west_until_s: float, failpoint: str = "") -> None:
    """A coordinator that is (re)started with this forecast."""
    if fleet.running(COORDINATOR):
        fleet.kill(COORDINATOR)
    write_trace(fleet.folder, west_until_s)
    fleet.start(COORDINATOR, failpoint=failpoint)


def submitted(operator: Operator, stage_ahead: str) -> str:
    operator.nodes_connected()
    return operator.submit(tiny_spec(*ARGUMENTS, stage_ahead=stage_ahead))


def begun(operator: Operator, stage_ahead: str) -> str:
    """The job runs at a, with two checkpoints, so that what is frozen in it is known."""
    job_id = submitted(operator, stage_ahead)

    def frozen_is_known() -> bool | None:
        job = operator.job()
        return True if job.node_id == "a" and job.checkpoint.unchanged_bytes and job.power_w else None

    operator.until(frozen_is_known, "its second checkpoint, and its power")
    return job_id


def staged(operator: Operator) -> pb.StagedAhead:
    """Wait until the base is whole at its node."""

    def whole() -> pb.StagedAhead | None:
        return next((one for one in operator.job().staged_ahead if one.HasField("verified")), None)

    return operator.until(whole, "a base staged ahead")


def moved(fleet: LocalFleet, operator: Operator) -> pb.Migration:
    """Wait for the end of the planner's move; the job has gone on from it."""

    def found() -> str | None:
        listed = operator.stub.ListMigrations(pb.ListMigrationsRequest(), timeout=5).migrations
        kind = common_pb2.MigrationKind.MIGRATION_KIND_MOVE
        return next((one.migration_id for one in listed if one.kind == kind), None)

    migration_id = operator.until(found, "the planner's move")
    assert operator.migration_ended(migration_id) == "COMMITTED", operator.story()
    migration = operator.migration(migration_id)
    assert (migration.source_node, migration.destination_node, migration.cause) == ("a", "b", "planner")
    # It checks the digest of what it resumes from, and would have been restarted.
    said(fleet, "migration", "show", migration_id)
    at_move = operator.job().progress.step
    assert operator.reached(at_move + 5).restart_count == 0
    return migration


def said(fleet: LocalFleet, *words: str) -> str:
    """What a person reads."""
    target = ["--coordinator", fleet.address, "--identity", str(fleet.folder / "identities" / "operator")]
    program = Path(sys.executable).with_name("heliotrope")
    done = subprocess.run([str(program), *words, *target], check=True, capture_output=True, text=True)
    print(done.stdout)  # pytest shows it where the test fails
    return done.stdout


def report_row(operator: Operator) -> pb.ReportRow:
    found: pb.Report = operator.stub.GetReport(pb.GetReportRequest(job="tiny"), timeout=5)
    return next(row for row in found.rows if row.kind == "job")


def held_at(fleet: LocalFleet, node: str, job_id: str) -> bool:
    return (fleet.folder / node / "jobs" / job_id / "record.json").exists()


def test_a_base_staged_ahead_leaves_little_to_the_move_and_to_its_standstill(folder: Path) -> None:
    """The coordinator is killed in between, and its next life learns that the window ends sooner."""
    with fleet_of(folder, "ab") as fleet:
        forecast(fleet, west_until_s=1200.0)
        for node in fleet.nodes:
            fleet.start(node)
        operator = Operator(fleet)
        job_id = begun(operator, "on")
        with Runners(job_id) as runners:
            before = staged(operator)
            assert (before.node_id, before.outcome) == ("b", "open")
            assert 0.8 * STATE_BYTES < before.wire_bytes < 1.1 * STATE_BYTES
            assert "a move until" in said(fleet, "job", "show", "tiny")
            forecast(fleet, west_until_s=2.0)
            migration = moved(fleet, operator)
            (after,) = operator.job().staged_ahead
            explained = said(fleet, "decision", "explain", migration.decision_id)
            row = report_row(operator)
            assert "1 served a move, 0 wasted" in said(fleet, "report")
        assert runners.most == 1
    assert (after.ahead_id, after.outcome, after.migration_id) == (before.ahead_id, "hit", migration.migration_id)
    assert after.wire_bytes == before.wire_bytes, "booked once, over the coordinator's death"
    assert migration.rounds[0].HasField("base_age"), "the first round was a delta"
    # Sent without it: the whole state in the move, and in the standstill all that ever changes (the test below).
    assert migration.wire_bytes < 0.4 * STATE_BYTES
    assert migration.standstill_wire_bytes < 0.7 * CHANGING_KB * 1024
    assert "there already, at b:" in explained and "(staged ahead)" in explained
    assert "realised:" in explained and "(expected " in explained
    assert (row.ahead_count, row.ahead_hit_count, row.ahead_wasted_bytes) == (1, 1, 0)


@pytest.mark.slow
def test_without_it_the_same_move_sends_everything_and_stands_longer_on_the_wire(folder: Path) -> None:
    """The control of the test above: the same job, the same link, the same forecasts."""
    with fleet_of(folder, "ab") as fleet:
        forecast(fleet, west_until_s=1200.0)
        for node in fleet.nodes:
            fleet.start(node)
        operator = Operator(fleet)
        begun(operator, "off")
        forecast(fleet, west_until_s=2.0)
        migration = moved(fleet, operator)
        assert not operator.job().staged_ahead
    assert not migration.rounds[0].HasField("base_age")
    assert migration.wire_bytes > 0.9 * STATE_BYTES
    assert migration.standstill_wire_bytes > 0.9 * CHANGING_KB * 1024


def test_a_wrong_guess_is_dropped_and_booked_as_waste(folder: Path) -> None:
    with fleet_of(folder, "abc") as fleet:
        forecast(fleet, west_until_s=1200.0)
        for node in fleet.nodes:
            fleet.start(node)
        operator = Operator(fleet)
        job_id = begun(operator, "on")
        wire_bytes = staged(operator).wire_bytes
        assert held_at(fleet, "b", job_id)
        assert operator.migration_ended(operator.move("north")) == "COMMITTED", operator.story()
        operator.until(lambda: None if held_at(fleet, "b", job_id) else True, "the end of the copy at b")
        (book,) = operator.job().staged_ahead
        row = report_row(operator)
        assert "0 served a move, 1 wasted" in said(fleet, "report")
    assert (book.outcome, book.wire_bytes) == ("waste", wire_bytes)
    assert "went to node c" in book.message
    assert (row.ahead_waste_count, row.ahead_wasted_bytes) == (1, wire_bytes)
    assert row.ahead_wasted_energy_j > 0 and row.ahead_wasted_carbon_g > 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("member", "point"),
    [
        *((COORDINATOR, f"replica.{step}.persist{ed}") for step in ("pulling", "verified") for ed in ("", "ed")),
        ("b", "agent.pull.transferring"),
        ("b", "agent.pull.applied"),
        ("b", "agent.pull.recorded"),
    ],
)
def test_it_is_sent_and_booked_once_through_a_crash(folder: Path, member: str, point: str) -> None:
    with fleet_of(folder, "ab") as fleet:
        forecast(fleet, west_until_s=1200.0, failpoint=f"{point}=kill" if member == COORDINATOR else "")
        for node in fleet.nodes:
            fleet.start(node, failpoint=f"{point}=kill" if node == member else "")
        operator = Operator(fleet)
        submitted(operator, "on")
        operator.until(lambda: None if fleet.running(member) else True, f"the death of {member} at {point}")
        fleet.start(member)
        operator.nodes_connected()
        book = staged(operator)
        (replica,) = operator.job().replicas
    assert replica.reason == "ahead" and replica.checkpoint.sequence
    # Of a transfer that a crash cut in two only the second part is reported, or none where it had been whole.
    assert book.wire_bytes < 1.1 * STATE_BYTES
    assert book.wire_bytes > 0.8 * STATE_BYTES or point in ("agent.pull.transferring", "agent.pull.applied")
