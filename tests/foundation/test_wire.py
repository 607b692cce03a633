"""Records to messages and back, for everything that crosses the wire."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heliotrope.foundation import wire
from heliotrope.foundation.errors import InvalidInput
from heliotrope.foundation.jobspec import CheckpointRules, JobSpec, Policy, Resources
from heliotrope.foundation.model import Checkpoint, CommandResult, Fault, JobReport, Progress, PullReport, RunState
from heliotrope.v1 import common_pb2, fleet_pb2

NAMES = st.from_regex(r"[a-z0-9]{1,8}", fullmatch=True)
# Durations cross the wire in whole nanoseconds.
SECONDS = st.integers(min_value=1, max_value=10**15).map(lambda nanoseconds: nanoseconds / 1e9)
MOMENTS = st.datetimes(min_value=datetime(1970, 1, 1), max_value=datetime(2200, 1, 1), timezones=st.just(UTC))

SPECS = st.builds(
    JobSpec,
    name=NAMES,
    command=st.lists(st.text(max_size=5), min_size=1, max_size=3).map(tuple),
    environment=st.dictionaries(NAMES, st.text(max_size=5), max_size=3),
    resources=st.builds(Resources, gpu_count=st.integers(0, 8), memory_bytes=st.integers(0, 2**60)),
    checkpoint=st.builds(CheckpointRules, timeout_s=SECONDS, keep_count=st.integers(1, 9)),
    policy=st.builds(Policy, alpha=st.floats(0.01, 1.0), movable=st.booleans(), priority=st.integers(-5, 5)),
    stopped_codes=st.lists(st.integers(1, 255), max_size=3).map(tuple),
)
CHECKPOINTS = st.builds(
    Checkpoint,
    epoch=st.integers(0, 2**40),
    sequence=st.integers(0, 2**40),
    manifest_digest=st.binary(max_size=32),
    state_bytes=st.integers(0, 2**50),
    created_utc=st.none() | MOMENTS,
)


@given(SPECS)
def test_a_job_file_survives_the_wire(spec: JobSpec) -> None:
    assert wire.from_message(wire.to_message(spec, common_pb2.JobSpec), JobSpec) == spec


@given(
    st.builds(
        JobReport,
        job_id=NAMES,
        epoch=st.integers(0, 2**40),
        attempt=st.integers(0, 100),
        state=st.sampled_from(RunState),
        exit_code=st.integers(-(2**31), 2**31 - 1),
        progress=st.builds(Progress, step=st.integers(0, 2**60), loss=st.floats(allow_nan=False)),
        checkpoints=st.lists(CHECKPOINTS, max_size=3).map(tuple),
        ended_utc=st.none() | MOMENTS,
    )
)
def test_a_report_survives_the_wire(report: JobReport) -> None:
    assert wire.from_message(wire.to_message(report, fleet_pb2.JobReport), JobReport) == report


def test_what_is_absent_stays_absent() -> None:
    result = CommandResult(command_id="c", pull=PullReport(state_bytes=3, duration_s=0.25), save_s=0.0)
    message = wire.to_message(result, fleet_pb2.CommandResult)
    assert (message.HasField("save"), message.HasField("stop"), message.HasField("error")) == (True, False, False)
    assert wire.from_message(message, CommandResult) == result
    failed = CommandResult(command_id="c", error=Fault(kind="Corrupt", message="no"))
    assert wire.from_message(wire.to_message(failed, fleet_pb2.CommandResult), CommandResult) == failed


def test_a_wrong_value_names_its_field() -> None:
    message = common_pb2.JobSpec(name="train", command=["x"], policy=common_pb2.Policy(alpha=7.0))
    message.policy.lease.FromSeconds(1)
    message.policy.grace.FromSeconds(1)
    with pytest.raises(InvalidInput, match=r"JobSpec: field policy\.alpha"):
        wire.from_message(message, JobSpec)


def test_an_enum_value_of_a_newer_version_reads_as_unspecified() -> None:
    message = fleet_pb2.JobReport(job_id="j", epoch=1, attempt=0)
    message.ParseFromString(message.SerializeToString() + b"\x20\x63")  # state = 99
    assert wire.from_message(message, JobReport).state is RunState.UNSPECIFIED
