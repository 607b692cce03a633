"""The wire contract: generated code as committed, nothing broken, everything said that a caller must know."""

from __future__ import annotations

import copy
import re
import subprocess
import sys
from pathlib import Path

import pytest

from heliotrope.coordinator.server.roles import ALLOWED

from .descriptors import COMMITTED, Contract, broken, committed, current
from .tree import ROOT

PROTOS = sorted((ROOT / "proto" / "heliotrope" / "v1").glob("*.proto"))
FOREIGN = ("/grpc.health.v1.", "/grpc.reflection.v1", "/grpc.reflection.v1alpha.")
RPC = re.compile(r"^\s*rpc (\w+)\(.*?\)\s*returns\s*\(.*?\);[ \t]*(?://(.*))?$", re.MULTILINE)


def test_the_generated_code_is_that_of_the_protos(tmp_path: Path) -> None:
    options = [f"--{kind}_out={tmp_path}" for kind in ("python", "pyi", "grpc_python")]
    command = [sys.executable, "-m", "grpc_tools.protoc", "-I", str(ROOT / "proto"), *options, *map(str, PROTOS)]
    subprocess.run(command, check=True)
    folder = tmp_path / "heliotrope" / "v1"
    fresh = {path.name: path.read_bytes() for path in folder.iterdir()}
    there = {path.name: path.read_bytes() for path in PROTOS[0].parent.glob("*_pb2*") if path.is_file()}
    assert sorted(fresh) == sorted(there), "run: make proto"
    assert not [name for name, data in fresh.items() if there[name] != data], "run: make proto"


def test_the_contract_keeps_its_promises() -> None:
    problems = broken(committed(), current())
    assert not problems, f"{COMMITTED.name} holds what peers in the field rely on; see tests/layout/descriptors.py"


def test_the_contract_is_described_in_full() -> None:
    """What is not in the file is not protected."""
    assert committed() == current(), "run: make proto"


@pytest.mark.parametrize(
    ("kind", "name", "member", "now"),
    [
        ("messages", "Lease", None, None),
        ("messages", "Lease", "epoch", None),
        ("messages", "Lease", "epoch", "uint64 = 3"),
        ("messages", "Lease", "epoch", "string = 2"),
        ("messages", "Lease", "epoch", "repeated uint64 = 2"),
        ("messages", "Command", "stop", "optional heliotrope.v1.Stop = 15"),
        ("enums", "JobState", "JOB_STATE_LOST", None),
        ("enums", "JobState", "JOB_STATE_LOST", 10),
        ("services", "OperatorService", "GetJob", None),
        ("services", "OperatorService", "GetJob", "heliotrope.v1.GetJobRequest -> stream heliotrope.v1.Job"),
    ],
)
def test_a_breaking_change_is_refused(kind: str, name: str, member: str | None, now: str | int | None) -> None:
    old, new = current(), copy.deepcopy(current())
    members = new[kind][f"heliotrope.v1.{name}"]
    if member is None:
        del new[kind][f"heliotrope.v1.{name}"]
    elif now is None:
        del members[member]
    else:
        assert members[member] != now
        members[member] = now
    (problem,) = broken(old, new)
    assert problem.startswith(f"heliotrope.v1.{name}" if member is None else f"heliotrope.v1.{name}.{member} ")


def test_an_addition_is_allowed() -> None:
    old, new = current(), copy.deepcopy(current())
    new["messages"]["heliotrope.v1.Lease"]["note"] = "string = 3"
    new["messages"]["heliotrope.v1.New"] = {}
    new["enums"]["heliotrope.v1.JobState"]["JOB_STATE_NEW"] = 10
    new["services"]["heliotrope.v1.OperatorService"]["New"] = "heliotrope.v1.New -> heliotrope.v1.New"
    assert broken(old, new) == []


def test_enum_zero_is_never_a_value() -> None:
    contract: Contract = current()
    assert contract["enums"]
    for name, values in contract["enums"].items():
        words = re.sub(r"(?<!^)(?=[A-Z])", "_", name.rpartition(".")[2]).upper()
        assert values.get(f"{words}_UNSPECIFIED") == 0, name
        assert all(value.startswith(f"{words}_") for value in values), name


def test_every_rpc_says_what_a_second_call_does() -> None:
    """A comment above or beside each rpc says whether it is idempotent, or that it only reads."""
    said: dict[str, str] = {}
    for path in PROTOS:
        text = path.read_text(encoding="utf-8")
        for match in RPC.finditer(text):
            above = re.search(r"(?:^[ \t]*//.*\n)+\Z", text[: match.start() + 1].rstrip(" \t"), re.MULTILINE)
            said[match[1]] = " ".join([above[0] if above else "", match[2] or ""]).lower()
    names = {name for service in current()["services"].values() for name in service}
    assert set(said) == names
    silent = [name for name, text in said.items() if "idempotent" not in text and "second call" not in text]
    assert not silent


def test_every_rpc_has_its_roles() -> None:
    ours = {f"/{service}/{name}" for service, rpcs in current()["services"].items() for name in rpcs}
    listed = {method for method in ALLOWED if not method.startswith(FOREIGN)}
    assert listed == ours
    assert all(ALLOWED.values())


def test_points_in_time_and_spans_are_protobufs_own() -> None:
    """Names end in their unit; a time stamp or a span needs none, as its type is its unit (AIP-142)."""
    units = ("_utc", "_at", "_time", "_seconds", "_ms", "_millis", "_hours")
    for name, fields in current()["messages"].items():
        wrong = [field for field in fields if field.endswith(units) and "google.protobuf" not in fields[field]]
        assert not wrong, name
