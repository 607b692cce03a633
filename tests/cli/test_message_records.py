"""The JSON contract: every field of every message, by the rule, and all of it in docs/cli.md."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from google.protobuf.message import Message

from heliotrope.cli import messages
from heliotrope.v1 import common_pb2
from heliotrope.v1 import operator_pb2 as pb

DOCS = Path(__file__).parents[2] / "docs" / "cli.md"


def test_an_empty_message_has_every_key() -> None:
    job = messages.record(pb.Job())
    assert tuple(job) == messages.names(pb.Job)
    assert job["state"] == "UNSPECIFIED" and job["runs"] == [] and job["exit_code"] is None
    assert job["spec"] is None and job["submitted_utc"] is None


def test_values_cross_by_the_rule() -> None:
    migration = pb.Migration(kind="MIGRATION_KIND_MOVE", step="MIGRATION_STEP_COMMITTED", progress_ratio=float("nan"))
    migration.standstill.FromNanoseconds(1_500_000_000)
    step = migration.steps.add(step="MIGRATION_STEP_SENDING")
    step.entered.FromDatetime(datetime(2026, 6, 1, 12, tzinfo=UTC))
    record = messages.record(migration)
    assert (record["kind"], record["step"], record["standstill_s"]) == ("MOVE", "COMMITTED", 1.5)
    assert record["standstill_network_s"] is None and record["progress_ratio"] is None
    assert record["steps"] == [{"step": "SENDING", "entered_utc": datetime(2026, 6, 1, 12, tzinfo=UTC), "message": ""}]
    assert b'"2026-06-01T12:00:00Z"' in msgspec.json.encode(record)


def test_maps_bytes_and_numbers_from_the_future() -> None:
    node = pb.Node(fingerprint_parts={"b": "2", "a": "1"})
    assert list(messages.record(node)["fingerprint_parts"].items()) == [("a", "1"), ("b", "2")]
    checkpoint = common_pb2.Checkpoint(manifest_digest=b"\x01\xff")
    assert messages.record(checkpoint)["manifest_digest"] == "01ff"
    assert messages.record(pb.Job(state="JOB_STATE_FINISHED"))["state"] == "FINISHED"
    newer = pb.Job.FromString(b"\x18\x63")  # field 3, state, is 99
    assert messages.record(newer)["state"] == "99"


def test_a_point_in_time_that_says_so_gets_no_second_suffix() -> None:
    assert messages.names(pb.Fleet)[:2] == ("utc", "trace_utc")
    assert "utc" in messages.names(pb.Decision)


@pytest.mark.parametrize(
    ("kind", "title"),
    [
        (pb.Job, "job"),
        (common_pb2.Progress, "progress"),
        (common_pb2.Checkpoint, "checkpoint"),
        (pb.Run, "run"),
        (pb.Node, "node"),
        (common_pb2.PowerCap, "power cap"),
        (common_pb2.PowerCapEvent, "power cap event"),
        (pb.Site, "site"),
        (pb.LinkState, "link"),
        (pb.Migration, "migration"),
        (pb.StepRecord, "step"),
        (pb.Decision, "decision"),
        (pb.StagedAhead, "staged"),
        (pb.Realised, "realised"),
        (pb.Report, "report"),
        (pb.ReportRow, "row"),
        (pb.ReportPoint, "point"),
    ],
)
def test_the_documentation_lists_every_key(kind: type[Message], title: str) -> None:
    text = DOCS.read_text(encoding="utf-8").partition("## The objects of `--json`")[2].partition("\n## ")[0]
    section = re.search(rf"^ *- \*\*{title}\*\*(.*?)(?=^ *- \*\*|\Z)", text, re.MULTILINE | re.DOTALL)
    assert section is not None
    documented = set(re.findall(r"`(\w+)`", section[1]))
    keys = set(messages.names(kind))
    if kind is pb.Decision:
        keys = keys - {"record_json"} | {"record"}
    assert keys <= documented, keys - documented
