"""The job file's rules for replicas and losses."""

from __future__ import annotations

import pytest

from heliotrope.foundation import jobspec, wire
from heliotrope.foundation.errors import InvalidInput
from heliotrope.foundation.jobspec import CheckpointRules, JobSpec, Policy
from heliotrope.v1 import common_pb2


def spec(policy: Policy | None = None, **rules: object) -> JobSpec:
    return JobSpec(name="train", command=("true",), checkpoint=CheckpointRules(**rules), policy=policy or Policy())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "span_s"), [("90s", 90.0), ("10m", 600.0), ("1.5h", 5400.0), ("2d", 172_800.0), ("", 0.0)]
)
def test_spans(text: str, span_s: float) -> None:
    jobspec.check(spec(replicate_every=text))
    assert spec(replicate_every=text).checkpoint.replicate_every_s == span_s


@pytest.mark.parametrize("text", ["10", "0m", "ten minutes", "-1s", "1e3s", "10m "])
def test_what_is_no_span_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(InvalidInput, match=r"checkpoint\.replicate_every: .*10m"):
        jobspec.check(spec(replicate_every=text))


def test_where_and_how_many_need_how_often_and_an_allowed_site() -> None:
    for rules in ({"replicas": 2}, {"replicate_to": ("west",)}):
        with pytest.raises(InvalidInput, match=r"replicate_every"):
            jobspec.check(spec(**rules))
    forbidding = Policy(sites_forbidden=("west",))
    with pytest.raises(InvalidInput, match=r"checkpoint\.replicate_to: \['west'\]"):
        jobspec.check(spec(forbidding, replicate_every="1m", replicate_to=("west", "east")))


def test_a_sender_that_does_not_know_the_new_fields_means_their_defaults() -> None:
    message = wire.to_message(spec(), common_pb2.JobSpec)
    message.checkpoint.ClearField("replicas")
    message.policy.ClearField("on_loss")
    assert wire.from_message(message, JobSpec) == spec()
