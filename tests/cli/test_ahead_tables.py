"""What people read of copies that were staged ahead."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from heliotrope.cli import decision, jobtables, reporttables
from heliotrope.cli.messages import record
from heliotrope.v1 import operator_pb2 as pb

BEGIN_UTC = datetime(2026, 6, 1, 12, tzinfo=UTC)


def staged(node: str, outcome: str, **fields: object) -> pb.StagedAhead:
    one = pb.StagedAhead(
        ahead_id="a-1", job_id="j1", node_id=node, site="valley", outcome=outcome, wire_bytes=2_000_000
    )
    one.planned.FromDatetime(BEGIN_UTC)
    one.leave.FromDatetime(BEGIN_UTC + timedelta(hours=1))
    for field, value in fields.items():
        setattr(one, field, value)
    return one


def test_a_report_tells_hits_from_waste_and_marks_what_is_unknown(capsys: pytest.CaptureFixture[str]) -> None:
    served = staged("n1", "hit", migration_id="m-7", message="the job moved to it", energy_j=72.0, carbon_g=1.0)
    wasted = staged("n2", "waste", message="the job went to node n3", energy_j=36.0, carbon_g=0.5)
    blind = staged("n4", "waste", energy_j=36.0, unknown_energy_j=36.0)
    waiting = staged("n5", "open", reason="leaves in 60.0 s")
    found = pb.Report(staged_ahead=[served, wasted, blind, waiting])
    found.end.FromDatetime(BEGIN_UTC)
    reporttables.show(record(found), {"j1": "first"})
    table = capsys.readouterr().out.partition("\nstaged ahead\n")[2].splitlines()
    assert table[0].split()[:2] == ["JOB", "NAME"]
    assert "first" in table[1] and "hit (m-7)" in table[1] and "2 MB" in table[1]
    assert "500 mg" in table[2] and "went to node n3" in table[2]
    assert "0 g ?" in table[3]
    assert "leaves in 60.0 s" in table[4] and "13:00:00Z" in table[4]
    assert table[5] == "4 staged ahead: 1 served a move, 2 wasted (4 MB, 72 J of the network, 500 mg ?)"


def test_a_job_shows_why_each_replica_is_there(capsys: pytest.CaptureFixture[str]) -> None:
    moving = pb.Replica(node_id="n2", site="valley", state="idle", reason="ahead")
    moving.expires.FromDatetime(BEGIN_UTC)
    kept = [pb.Replica(node_id="n3", state="idle", reason="rule"), pb.Replica(node_id="n4", state="idle")]
    job = pb.Job(job_id="j1", replicas=[moving, *kept], staged_ahead=[staged("n2", "open", reason="leaves soon")])
    job.spec.name = "first"
    job.submitted.FromDatetime(BEGIN_UTC)
    jobtables.print_job(record(job))
    lines = capsys.readouterr().out.splitlines()
    by_node = {line.split()[0]: line for line in lines if line.startswith(("n2", "n3", "n4")) and "idle" in line}
    assert "a move until 2026-06-01 12:00:00Z" in by_node["n2"]
    assert "the rule" in by_node["n3"] and "the rule" in by_node["n4"], "an older coordinator names no reason"
    assert any("STAGED AHEAD AT" in line for line in lines) and any("leaves soon" in line for line in lines)


def test_what_came_of_a_decision_stands_beside_what_was_expected() -> None:
    realised = pb.Realised(migration_id="m-1", step="COMMITTED", standstill_wire_bytes=3_000_000)
    assert decision._realised(record(realised)) == "realised: m-1 ended COMMITTED"
    realised.standstill.FromMilliseconds(4200)
    assert "nothing had been expected" in decision._realised(record(realised))
    realised.expected_standstill.FromMilliseconds(5000)
    realised.expected_standstill_wire_bytes = 2_000_000
    text = decision._realised(record(realised))
    assert "standstill 4.2 s (expected 5 s), 3 MB sent meanwhile (expected 2 MB)" in text
