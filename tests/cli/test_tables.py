"""What people read of jobs, nodes, migrations and reports that a coordinator without nodes cannot show."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from heliotrope.cli import jobtables, migration, node, reporttables
from heliotrope.cli.messages import Record, record
from heliotrope.v1 import operator_pb2 as pb

Capture = pytest.CaptureFixture[str]

BEGIN_UTC = datetime(2026, 6, 1, 12, tzinfo=UTC)


def _row(kind: str, name: str, **fields: object) -> pb.ReportRow:
    message = pb.ReportRow(kind=kind, name=name, site="valley", sources=["model"], coverage_ratio=0.5)
    for field, value in fields.items():
        setattr(message, field, value)
    return message


def _table(out: str, title: str) -> list[str]:
    return out.partition(f"\n{title}\n")[2].partition("\n\n")[0].splitlines()


def test_a_report_marks_estimates_and_unknown_intensity(capsys: Capture) -> None:
    rows = [
        _row("job", "j1", energy_j=7200.0, facility_energy_j=9000.0, carbon_g=1.5, renewable_ratio=0.25, step=7),
        _row("job", "j2", energy_j=100.0, unknown_energy_j=40.0, estimated=True),
        _row("job_site", "j1", energy_j=7200.0),
        _row("node", "n1", energy_j=0.0),
        _row("site", "valley", energy_j=3.6e6),
    ]
    found = pb.Report(rows=rows)
    found.end.FromDatetime(BEGIN_UTC)
    reporttables.show(record(found), {"j1": "first"})
    out = capsys.readouterr().out
    assert out.startswith("from the beginning to 2026-06-01 12:00:00Z\n")
    _, first, second = _table(out, "jobs")
    for words in ("first", "2 Wh", "2.5 Wh", "1.5 g", "25.0 %", "50.0 %", "7"):
        assert words in first
    assert "~100 J" in second and "~0 g ?" in second
    assert "~ contains estimates" in out and "? contains energy of unknown" in out
    assert "valley" in _table(out, "jobs at sites")[1] and "0 J" in _table(out, "nodes")[1]
    assert "1 kWh" in _table(out, "sites")[1]


def _loss(**fields: object) -> pb.Loss:
    loss = pb.Loss(job_id="j1", epoch=1, node_id="n1", cause="its node n1 is forgotten", outcome="recovered")
    loss.last_seen.FromDatetime(BEGIN_UTC)
    loss.outage.FromSeconds(90)
    for field, value in fields.items():
        setattr(loss, field, value)
    return loss


def test_losses_are_told_in_the_report_and_with_the_job(capsys: Capture) -> None:
    known = _loss(resumed_node="n2", lost_steps=25, lost_energy_j=7200.0)
    known.lost_work.FromSeconds(12)
    reporttables.show(record(pb.Report(losses=[known, _loss(outcome="waiting")])), {"j1": "first"})
    head, first, second = _table(capsys.readouterr().out, "lost with their nodes")
    assert head.split()[:2] == ["JOB", "NAME"]
    for words in ("first", "1 min 30 s", "25", "12 s", "2 Wh", "recovered at n2", "is forgotten"):
        assert words in first
    assert second.count("unknown") == 3, "steps, work and energy are not 0"
    replica = pb.Replica(node_id="n2", site="valley", state="pulling", message="late")
    replica.checkpoint.epoch, replica.checkpoint.sequence, replica.checkpoint.step = 1, 3, 70
    job = pb.Job(job_id="j1", replicas=[replica, pb.Replica(node_id="n3", state="idle")], losses=[known])
    job.spec.name = "first"
    job.submitted.FromDatetime(BEGIN_UTC)
    jobtables.print_job(record(job))
    out = capsys.readouterr().out
    held, empty = (line for line in out.splitlines() if line.startswith(("n2 ", "n3 ")))
    for words in ("valley", "1.3", "70", "pulling", "late"):
        assert words in held
    assert "-" in empty and "idle" in empty
    assert "LOST AT" in out and "recovered at n2" in out


def test_a_report_without_marks_explains_none(capsys: Capture) -> None:
    reporttables.show(record(pb.Report(rows=[_row("site", "valley", energy_j=1.0)])), {})
    out = capsys.readouterr().out
    assert "~" not in out and "?" not in out


def _migration(step: str, *, steps: int) -> Record:
    message = pb.Migration(migration_id="m1", job_name="tiny", source_site="a", destination_site="b", step=step)
    for index in range(steps):
        entered = message.steps.add(step=f"MIGRATION_STEP_{('PLANNED', 'PREPARING', 'STAGING')[index]}")
        entered.entered.FromDatetime(BEGIN_UTC + timedelta(milliseconds=250 * index))
    return record(message)


def test_steps_are_printed_once_with_the_time_between_them(capsys: Capture) -> None:
    found = _migration("MIGRATION_STEP_STAGING", steps=3)["steps"]
    migration._print_steps(found[:2], 0)
    migration._print_steps(found, 2)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[-1] for line in lines] == ["PLANNED", "PREPARING", "STAGING"]
    assert "12:00:00.500Z" in lines[2] and "+250 ms" in lines[2] and "+" not in lines[0]


def test_a_migration_in_one_line() -> None:
    assert "migration show --follow m1" in migration.summary(_migration("MIGRATION_STEP_STAGING", steps=1))
    assert "COMMITTED, standstill unknown" in migration.summary(_migration("MIGRATION_STEP_COMMITTED", steps=1))


def test_a_migration_under_way_shows_its_progress() -> None:
    message = pb.Migration(progress_ratio=0.5, rate_bytes_per_s=2e6, source_node="n1", source_site="valley")
    message.left.FromSeconds(90)
    fields = dict(migration._fields(record(message)))
    assert fields["progress"] == "50.0 % of this transfer at 2 MB/s, 1 min 30 s left"
    assert fields["from"] == "n1 at valley"
    assert "standstill" not in fields  # not over yet: no figure, rather than 0


def test_a_job_shows_what_it_reported_and_nothing_else(capsys: Capture) -> None:
    job = pb.Job(job_id="j1", node_id="n1", site="valley", epoch=2, exit_code=0, state="JOB_STATE_FINISHED")
    job.spec.name = "tiny\x1b[2J"
    job.runs.add(epoch=2, node_id="n1", site="valley").started.FromDatetime(BEGIN_UTC)
    jobtables.print_job(record(job))
    out = capsys.readouterr().out
    assert "tiny\\x1b[2J" in out and "exit code" in out
    assert "step " not in out and "loss" not in out and "ended " not in out
    job.progress.step = 12
    job.progress.loss = 0.25
    job.progress.reported.FromDatetime(BEGIN_UTC)
    jobtables.print_job(record(job))
    shown = {line.split()[0]: line.split()[1] for line in capsys.readouterr().out.splitlines() if line.strip()}
    assert (shown["step"], shown["loss"]) == ("12", "0.25")


@pytest.mark.parametrize(
    ("fields", "status", "power"),
    [
        ({"connected": True, "power_w": 50.0}, "connected", "50 W"),
        ({"connected": True, "power_w": 50.0, "power_estimated": True}, "connected", "~50 W"),
        ({"connected": True, "draining": True}, "connected, draining", "unknown"),
        ({"power_w": 50.0, "forgotten": True}, "away, forgotten", "unknown"),
    ],
)
def test_a_nodes_status_and_power(fields: dict[str, float | bool], status: str, power: str) -> None:
    message = pb.Node(node_id="n1")
    for name, value in fields.items():
        setattr(message, name, value)
    found = record(message)
    assert node._status(found) == status and node._power(found) == power
