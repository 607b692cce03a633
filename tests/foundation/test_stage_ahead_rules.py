"""The job file's rules for staging ahead."""

from __future__ import annotations

import pytest

from heliotrope.foundation import jobspec, wire
from heliotrope.foundation.errors import InvalidInput
from heliotrope.foundation.jobspec import JobSpec, Policy
from heliotrope.v1 import common_pb2


def spec(**policy: object) -> JobSpec:
    return JobSpec(name="train", command=("true",), policy=Policy(**policy))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("policy", "field"),
    [
        ({"stage_ahead": "on", "movable": False}, "policy.stage_ahead"),
        ({"stage_ahead": "off", "stage_ahead_bytes_per_day": 1}, "policy.stage_ahead_bytes_per_day"),
        ({"stage_ahead_bytes_per_day": 2**63}, "policy.stage_ahead_bytes_per_day"),
    ],
)
def test_what_contradicts_itself_is_refused_by_its_field(policy: dict[str, object], field: str) -> None:
    with pytest.raises(InvalidInput, match=f"field {field}: .*; "):
        jobspec.check(spec(**policy))


def test_only_three_words_are_known() -> None:
    table = {"name": "train", "command": ["true"], "policy": {"stage_ahead": "maybe"}}
    with pytest.raises(InvalidInput, match=r"stage_ahead"):
        jobspec.from_table(table, where="job.toml")


def test_the_wish_crosses_the_wire_and_an_older_sender_has_none() -> None:
    wished = spec(stage_ahead="on", stage_ahead_bytes_per_day=2 * 10**12)
    jobspec.check(wished)
    message = wire.to_message(wished, common_pb2.JobSpec)
    assert wire.from_message(message, JobSpec) == wished
    message.policy.ClearField("stage_ahead")
    message.policy.ClearField("stage_ahead_bytes_per_day")
    assert wire.from_message(message, JobSpec).policy == Policy()
