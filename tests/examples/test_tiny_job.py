"""examples/tiny_job.py: deterministic, resumable, and misbehaving exactly as asked; against a real socket."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from heliotrope.examples import tiny_job

SIZE = ["--state-kb", "8", "--steps", "40"]


def start(folder: Path, *more: str, **variables: str) -> subprocess.Popen[bytes]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HELIOTROPE_")}
    kept |= {"HELIOTROPE_CHECKPOINT_DIR": str(folder / "checkpoints"), "HELIOTROPE_KEEP_COUNT": "100"}
    line = [sys.executable, str(Path(tiny_job.__file__)), *SIZE, "--result", str(folder / "result.json"), *more]
    return subprocess.Popen(line, env=kept | {f"HELIOTROPE_{name}": value for name, value in variables.items()})


def run(folder: Path, *more: str, **variables: str) -> int:
    return start(folder, *more, **variables).wait(timeout=60)


def digest(folder: Path) -> str:
    result = json.loads((folder / "result.json").read_text())
    assert result["steps"] == 40
    return str(result["parameters_digest"])


@contextlib.contextmanager
def supervisor(folder: Path, *, stop: bool) -> Iterator[list[dict[str, object]]]:
    """Listen as a supervisor does: ask once for a checkpoint after the first step, and keep all that the job says."""
    heard: list[dict[str, object]] = []
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(folder / "socket"))
    listener.listen()

    def serve() -> None:
        connection, _ = listener.accept()
        # A job that leaves without having read the request resets the connection; what it said has arrived.
        with connection, connection.makefile("rb") as lines, contextlib.suppress(ConnectionResetError):
            for line in lines:
                heard.append(json.loads(line))
                if heard[-1]["type"] == "progress" and len(heard) == 2:
                    request = {"type": "checkpoint", "request_id": "r1", "stop": stop}
                    connection.sendall(json.dumps(request).encode() + b"\n")

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield heard
    thread.join(60)
    listener.close()


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("uninterrupted")
    assert run(folder, "--checkpoint-every", "1") == 0
    return folder


def test_a_state_in_parts_of_which_each_step_changes_some_is_resumed_too(tmp_path: Path) -> None:
    whole, resumed = tmp_path / "whole", tmp_path / "resumed"
    for folder in (whole, resumed):
        folder.mkdir()
    shape = ("--per-step-kb", "1", "--parts", "3", "--frozen-kb", "4")
    assert run(whole, "--checkpoint-every", "1", *shape) == 0
    saved = [whole / "checkpoints" / f"step-{step:08d}" for step in (22, 23)]
    parts = [[(folder / f"state-00{part}.bin").read_bytes() for part in range(3)] for folder in saved]
    assert 0 < sum(one != other for one, other in zip(*parts, strict=True)) < 3
    assert run(resumed, *shape, RESUME_FROM=str(saved[1])) == 0
    assert digest(resumed) == digest(whole)


@pytest.mark.parametrize("step", [1, 23, 40])
def test_resumed_run_ends_with_the_same_digest(tmp_path: Path, uninterrupted: Path, step: int) -> None:
    assert run(tmp_path, RESUME_FROM=str(uninterrupted / "checkpoints" / f"step-{step:08d}")) == 0
    assert digest(tmp_path) == digest(uninterrupted)


def test_every_byte_of_the_state_counts(tmp_path: Path, uninterrupted: Path) -> None:
    states = [tiny_job.State(8, 1), tiny_job.State(8, 1), tiny_job.State(8, 2)]
    states[1].words[-1] ^= 1
    for state in states:
        state.advance()
    assert len({state.digest() for state in states}) == 3
    before = [(uninterrupted / "checkpoints" / f"step-{step:08d}" / "state.bin").read_bytes() for step in (1, 2)]
    words = [[data[at : at + 8] for at in range(0, len(data), 8)] for data in before]
    assert all(old != new for old, new in zip(*words, strict=True))


def test_damaged_checkpoint_is_refused(tmp_path: Path, uninterrupted: Path) -> None:
    whole = uninterrupted / "checkpoints" / "step-00000005"
    (tmp_path / "meta.json").write_bytes((whole / "meta.json").read_bytes())
    (tmp_path / "state.bin").write_bytes((whole / "state.bin").read_bytes()[:-8] + bytes(8))
    assert run(tmp_path, RESUME_FROM=str(tmp_path)) == 1
    assert not (tmp_path / "result.json").exists()


def test_stop_request_ends_with_75_and_the_rest_gives_the_same_digest(tmp_path: Path, uninterrupted: Path) -> None:
    with supervisor(tmp_path, stop=True) as heard:
        assert run(tmp_path, "--step-s", "0.05", SOCKET=str(tmp_path / "socket")) == 75
    (answer,) = [message for message in heard if message["type"] == "checkpoint"]
    assert answer["request_id"] == "r1"
    assert not (tmp_path / "result.json").exists()
    assert run(tmp_path, RESUME_FROM=str(tmp_path / "checkpoints" / str(answer["name"]))) == 0
    assert digest(tmp_path) == digest(uninterrupted)


@pytest.mark.parametrize("option", ["--ignore-requests", "--never-checkpoint"])
def test_request_is_ignored(tmp_path: Path, uninterrupted: Path, option: str) -> None:
    with supervisor(tmp_path, stop=True) as heard:
        assert (
            run(tmp_path, "--step-s", "0.01", "--checkpoint-every", "9", option, SOCKET=str(tmp_path / "socket")) == 0
        )
    assert {message["type"] for message in heard} == {"hello", "progress"}
    names = [path.name for path in tmp_path.glob("checkpoints/*")]
    assert len(names) == (4 if option == "--ignore-requests" else 0)
    assert digest(tmp_path) == digest(uninterrupted)


def test_finishes_instead_of_stopping(tmp_path: Path, uninterrupted: Path) -> None:
    with supervisor(tmp_path, stop=True) as heard:
        assert run(tmp_path, "--step-s", "0.05", "--finish-on-request", SOCKET=str(tmp_path / "socket")) == 0
    assert [message["request_id"] for message in heard if message["type"] == "checkpoint"] == ["r1"]
    assert digest(tmp_path) == digest(uninterrupted)


def test_request_without_stop_goes_on(tmp_path: Path, uninterrupted: Path) -> None:
    with supervisor(tmp_path, stop=False) as heard:
        assert run(tmp_path, "--step-s", "0.01", SOCKET=str(tmp_path / "socket")) == 0
    assert [message["request_id"] for message in heard if message["type"] == "checkpoint"] == ["r1"]
    assert digest(tmp_path) == digest(uninterrupted)


def test_exits_where_asked(tmp_path: Path, uninterrupted: Path) -> None:
    options = ["--checkpoint-every", "10", "--exit-at", "25", "--exit-code", "7"]
    assert run(tmp_path, *options) == 7
    checkpoint = tmp_path / "checkpoints" / "step-00000020"
    assert run(tmp_path, *options, RESUME_FROM=str(checkpoint)) == 7
    assert not (tmp_path / "result.json").exists()
    assert run(tmp_path, *options, "--exit-once", RESUME_FROM=str(checkpoint)) == 0
    assert digest(tmp_path) == digest(uninterrupted)
