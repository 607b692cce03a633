"""Whatever a job file may say: it is refused by its field's name, or safe to join, to glob, to send and to run."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heliotrope.foundation import jobspec, wire
from heliotrope.foundation.errors import InvalidInput
from heliotrope.foundation.jobspec import JobSpec
from heliotrope.v1 import common_pb2

NASTY = [
    "..",
    ".",
    "",
    "/",
    "a",
    "**",
    "*",
    "~",
    "\0",
    "\n",
    "\udc80",
    "//",
    "../",
    "/etc/passwd",
    "[",
    "é",
    "-rf",
    "a" * 300,
]
texts = st.one_of(st.lists(st.sampled_from(NASTY), max_size=5).map("".join), st.text(max_size=12))
paths = st.lists(texts, max_size=3)
numbers = st.one_of(st.integers(-(2**65), 2**65), st.floats())
tables = st.fixed_dictionaries(
    {"name": st.just("train"), "command": st.lists(texts, min_size=1, max_size=2)},
    optional={
        "files": paths,
        "outputs": paths,
        "prepare": paths,
        "requires": st.lists(
            st.one_of(texts, st.fixed_dictionaries({"path": texts, "kind": st.just("mount")})), max_size=2
        ),
        "environment": st.dictionaries(texts, texts, max_size=2),
        "user": texts,
        "stopped_codes": st.lists(st.integers(-300, 300), max_size=2),
        "checkpoint": st.fixed_dictionaries(
            {},
            optional={
                "directory": texts,
                "marker": texts,
                "signal": texts,
                "timeout_s": numbers,
                "keep_count": numbers,
            },
        ),
        "resources": st.fixed_dictionaries(
            {}, optional={"disk_bytes": numbers, "gpu_count": numbers, "gpu_model": texts}
        ),
        "policy": st.fixed_dictionaries({}, optional={"sites_allowed": paths, "grace_s": numbers, "priority": numbers}),
    },
)


@settings(max_examples=600)
@given(tables)
def test_what_is_accepted_is_safe(table: dict[str, Any]) -> None:
    try:
        spec = jobspec.from_table(table, where="job")
    except InvalidInput as error:
        assert str(error).startswith("job: field ")
        return
    root = "/state/jobs/j-1/work"
    marker_folder = f"{root}/{spec.checkpoint.directory}/step-1"
    for base, inner in (
        *((root, one) for one in (*spec.files, *spec.outputs, spec.checkpoint.directory)),
        *([(marker_folder, spec.checkpoint.marker)] if spec.checkpoint.marker else []),
    ):
        joined = os.path.normpath(os.path.join(base, inner))  # noqa: PTH118 - as text, as the kernel would read it
        assert joined == base or joined.startswith(f"{base}/")
        os.fsencode(joined)
    assert os.path.normpath(f"{root}/{spec.checkpoint.directory}") != root
    if spec.checkpoint.marker:
        assert Path(spec.checkpoint.marker).name == spec.checkpoint.marker
    for one in spec.requires:
        assert os.path.normpath(one.path) == one.path and one.path.startswith("/")
    for word in (*spec.command, *spec.environment, *spec.environment.values(), spec.user):
        assert "\0" not in word and word.encode() is not None
    # The same job arrives at the coordinator and at the agent.
    assert wire.from_message(wire.to_message(spec, common_pb2.JobSpec), JobSpec) == spec


@settings(max_examples=200)
@given(paths)
def test_accepted_patterns_can_be_globbed(patterns: list[str]) -> None:
    try:
        spec = jobspec.from_table({"name": "a", "command": ["b"], "outputs": patterns}, where="job")
    except InvalidInput:
        return
    with tempfile.TemporaryDirectory() as folder:
        for pattern in spec.outputs:
            if Path(pattern).parts:  # "." is the folder itself, and no pattern
                list(Path(folder).glob(pattern))


@pytest.mark.parametrize(
    ("addition", "field"),
    [
        ({"checkpoint": {"complete": "marker", "marker": "../../other/done"}}, "checkpoint.marker"),
        ({"checkpoint": {"complete": "marker", "marker": "a/b"}}, "checkpoint.marker"),
        ({"checkpoint": {"marker": ".."}}, "checkpoint.marker"),
        ({"checkpoint": {"directory": ""}}, "checkpoint.directory"),
        ({"checkpoint": {"request": "signal", "signal": "SIGKILL"}}, "checkpoint.signal"),
        ({"outputs": ["a**"]}, "outputs"),
        ({"files": [""]}, "files"),
        ({"user": "root\0"}, "user"),
        ({"user": "../x"}, "user"),
        ({"environment": {"A=B": "x"}}, "environment.A=B"),
        ({"requires": ["data"]}, "requires"),
        ({"requires": ["/data/../etc"]}, "requires"),
        ({"requires": [{"path": "/data", "kind": "disk"}]}, "requires"),
        ({"requires": [f"/{n}" for n in range(65)]}, "requires"),
        ({"policy": {"grace_s": float("inf")}}, "policy.grace_s"),
        ({"stopped_codes": [75, 256]}, "stopped_codes"),
    ],
)
def test_each_refusal_names_its_field(addition: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInput, match=f"field {field}") as refused:
        jobspec.from_table({"name": "a", "command": ["b"], **addition}, where="job")
    assert "; " in str(refused.value) or "expected" in str(refused.value) or "enum" in str(refused.value)


def test_a_bare_path_and_a_table_are_both_requirements() -> None:
    requires = ["/data/corpus", {"path": "/scratch", "kind": "mount"}]
    spec = jobspec.from_table({"name": "a", "command": ["b"], "requires": requires}, where="job")
    assert [(one.path, one.kind) for one in spec.requires] == [("/data/corpus", "any"), ("/scratch", "mount")]
