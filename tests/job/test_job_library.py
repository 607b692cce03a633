"""heliotrope.job by itself: outside Heliotrope, on old Pythons, its checkpoints whole or absent, a lost supervisor."""

from __future__ import annotations

import ast
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import heliotrope.job as heliotrope_job
from heliotrope.agent.jobs import pythonpath

SOURCE = Path(heliotrope_job.__file__)
CONTRACT = ("HELIOTROPE_SOCKET", "HELIOTROPE_CHECKPOINT_DIR", "HELIOTROPE_RESUME_FROM", "HELIOTROPE_REQUEST_SIGNAL")


@pytest.fixture(autouse=True)
def outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*CONTRACT, "RANK", "SLURM_PROCID"):
        monkeypatch.delenv(name, raising=False)


def old_python() -> str:
    """A Python 3.8 that really runs, or empty."""
    homes = [Path.home() / ".pyenv/versions", Path("/opt/hostedtoolcache/Python")]
    candidates = [str(path) for home in homes for path in home.glob("3.8.*/**/bin/python3.8")]
    for candidate in filter(None, [*candidates, shutil.which("python3.8")]):
        if subprocess.run([candidate, "-c", "pass"], capture_output=True, check=False).returncode == 0:
            return candidate
    return ""


class Supervisor:
    """The other end of the job's socket, driven by hand."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(path))
        self.listener.listen()
        self.listener.settimeout(30)
        self.connection: socket.socket | None = None

    def accept(self) -> dict[str, Any]:
        """Take the next connection and its hello."""
        self.hang_up()
        self.connection, _ = self.listener.accept()
        self.connection.settimeout(30)
        self.stream = self.connection.makefile("rw")
        return self.read()

    def read(self) -> dict[str, Any]:
        message: dict[str, Any] = json.loads(self.stream.readline())
        return message

    def say(self, **message: Any) -> None:
        self.stream.write(json.dumps(message) + "\n")
        self.stream.flush()

    def hang_up(self) -> None:
        if self.connection is not None:
            self.stream.close()
            self.connection.close()
            self.connection = None

    def close(self) -> None:
        self.hang_up()
        self.listener.close()
        self.path.unlink()


def test_it_is_python_3_8_and_one_file() -> None:
    ast.parse(SOURCE.read_text(), feature_version=(3, 8))
    assert [path.name for path in SOURCE.parent.glob("*.py")] == ["__init__.py"]
    tree = ast.walk(ast.parse(SOURCE.read_text()))
    names = {name.name.split(".")[0] for node in tree if isinstance(node, ast.Import) for name in node.names}
    assert names <= sys.stdlib_module_names


@pytest.mark.skipif(not old_python(), reason="no Python 3.8 here")
def test_it_runs_on_a_real_python_3_8(tmp_path: Path) -> None:
    script = textwrap.dedent("""
        import sys, heliotrope.job as heliotrope_job
        assert sys.version_info[:2] == (3, 8)
        job = heliotrope_job.connect()
        job.report(step=1, loss=0.5)
        assert not job.checkpoint_due()
        with job.checkpoint(step=7) as folder:
            (folder / "state").write_text("x")
        job.exit_if_stopped()
        print(sorted(path.name for path in job.checkpoint_dir.iterdir()))
    """)
    folder = pythonpath.install(tmp_path / "path")
    environment = {"PYTHONPATH": str(folder)}
    command = [old_python(), "-c", script]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout == "['step-00000007']\n", done.stderr


def test_installing_it_again_keeps_the_file_and_repairs_a_changed_one(tmp_path: Path) -> None:
    target = pythonpath.install(tmp_path / "path") / pythonpath.MODULE
    assert target.read_bytes() == SOURCE.read_bytes()
    before = target.stat().st_ino
    pythonpath.install(tmp_path / "path")
    assert target.stat().st_ino == before
    target.write_text("broken")
    pythonpath.install(tmp_path / "path")
    assert target.read_bytes() == SOURCE.read_bytes()
    assert not (tmp_path / "path/heliotrope/__init__.py").exists()


def test_outside_heliotrope_everything_works_and_nothing_is_asked(tmp_path: Path) -> None:
    job = heliotrope_job.connect(checkpoint_dir=tmp_path / "own")
    job.report(step=1, loss=object())  # not even looked at
    assert not job.checkpoint_due() and not job.stop_requested
    assert (job.resume_from, job.job_id, job.epoch) == (None, "", 0)
    job.exit_if_stopped()
    with job.checkpoint(3) as folder:
        (folder / "x").touch()
    assert [path.name for path in (tmp_path / "own").iterdir()] == ["step-00000003"]
    job.close()


def test_a_checkpoint_that_fails_leaves_nothing(tmp_path: Path) -> None:
    job = heliotrope_job.connect(checkpoint_dir=tmp_path)
    with pytest.raises(KeyError), job.checkpoint(1) as folder:
        (folder / "half").write_text("half")
        raise KeyError("out of memory, say")
    assert list(tmp_path.iterdir()) == []


def test_a_checkpoint_is_seen_whole_or_not_at_all(tmp_path: Path) -> None:
    job = heliotrope_job.connect(checkpoint_dir=tmp_path)
    with job.checkpoint(1) as folder:
        (folder / "deep").mkdir()
        (folder / "deep/file").write_text("x")
        seen = [path.name for path in tmp_path.iterdir()]
        assert len(seen) == 1 and seen[0].startswith(".") and seen[0].endswith(".tmp")
    assert (tmp_path / "step-00000001/deep/file").read_text() == "x"


def test_the_same_step_again_does_not_touch_the_first(tmp_path: Path) -> None:
    job = heliotrope_job.connect(checkpoint_dir=tmp_path)
    for text in ("first", "second"):
        with job.checkpoint(5) as folder:
            (folder / "x").write_text(text)
    assert (tmp_path / "step-00000005/x").read_text() == "first"
    assert (tmp_path / "step-00000005.2/x").read_text() == "second"


@settings(max_examples=25, deadline=None)
@given(steps=st.lists(st.integers(0, 30), min_size=1, max_size=8), keep_count=st.integers(1, 4))
def test_pruning_keeps_the_newest_and_nothing_else_of_ours(
    steps: list[int], keep_count: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("prune")
    (folder / "best-model").touch()
    job = heliotrope_job.Job({"HELIOTROPE_KEEP_COUNT": str(keep_count)}, folder, 0)
    written: list[str] = []
    for number, step in enumerate(steps):
        with job.checkpoint(step) as made:
            (made / "x").touch()
        newest = ({path.name for path in folder.iterdir()} - {"best-model", *written}).pop()
        os.utime(folder / newest, (number + 1, number + 1))  # file systems' clocks are coarser than this loop
        written.append(newest)
        left = sorted(path.name for path in folder.iterdir())
        assert left == sorted(["best-model", *written[-keep_count:]])
        written = written[-keep_count:]


def test_leftovers_of_a_killed_run_are_removed_and_others_stay(tmp_path: Path) -> None:
    for name in (".step-00000004.writing.tmp", ".step-00000002.deleted.tmp", ".other.tmp", "step-00000003"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x").touch()
    heliotrope_job.connect(checkpoint_dir=tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".other.tmp", "step-00000003"]


def test_other_ranks_are_silent_and_write_no_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    supervisor = Supervisor(tmp_path / "s")
    monkeypatch.setenv("HELIOTROPE_SOCKET", str(tmp_path / "s"))
    monkeypatch.setenv("RANK", "1")
    job = heliotrope_job.connect()
    job.report(step=1)
    assert not job.checkpoint_due()
    with pytest.raises(RuntimeError, match="rank 1"), job.checkpoint(1):
        pass
    supervisor.listener.setblocking(False)
    with pytest.raises(BlockingIOError):
        supervisor.listener.accept()
    supervisor.close()


def test_the_conversation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    supervisor = Supervisor(tmp_path / "s")
    monkeypatch.setenv("HELIOTROPE_SOCKET", str(tmp_path / "s"))
    monkeypatch.setenv("HELIOTROPE_CHECKPOINT_DIR", str(tmp_path / "c"))
    job = heliotrope_job.connect()
    assert supervisor.accept() == {"type": "hello", "protocol": 1, "pid": os.getpid(), "ready": True}
    assert not job.checkpoint_due()
    job.report(step=1, samples=8, loss=float("nan"))
    job.report(step=2, samples=16, loss=object(), parameters=7)  # within the second: merged, its loss never read
    assert supervisor.read() == {"type": "progress", "step": 1, "samples": 8, "loss": None}

    supervisor.say(type="checkpoint", request_id="a", stop=False)
    supervisor.say(type="checkpoint", request_id="b", stop=True)
    assert job.checkpoint_due() and not job.stop_requested
    with job.checkpoint(2) as folder:
        (folder / "x").touch()
        supervisor.say(type="checkpoint", request_id="c", stop=False)  # too late for this one
    assert supervisor.read() == {"type": "checkpoint", "name": "step-00000002", "step": 2, "request_id": "b"}
    assert job.stop_requested and job.checkpoint_due()
    with pytest.raises(SystemExit) as ended:
        job.exit_if_stopped()
    assert ended.value.code == 75
    assert supervisor.read() == {
        "type": "progress",
        "step": 2,
        "samples": 16,
        "parameters": 7,
    }  # the last figures are not lost
    monkeypatch.setattr(heliotrope_job.time, "sleep", lambda _: pytest.fail("the second close, at exit, waits"))
    job.close()
    supervisor.close()


def test_what_other_code_wrote_is_announced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    supervisor = Supervisor(tmp_path / "s")
    folder = tmp_path / "c"
    monkeypatch.setenv("HELIOTROPE_SOCKET", str(tmp_path / "s"))
    monkeypatch.setenv("HELIOTROPE_CHECKPOINT_DIR", str(folder))
    job = heliotrope_job.connect()
    supervisor.accept()
    (folder / "checkpoint-500" / "shard").mkdir(parents=True)
    (folder / "checkpoint-500" / "shard" / "0.bin").write_bytes(b"x")
    (folder / "last.ckpt").write_bytes(b"y")
    (folder / "link").symlink_to("last.ckpt")
    job.announce("last.ckpt")  # of itself, nobody asked
    assert supervisor.read() == {"type": "checkpoint", "name": "last.ckpt"}
    supervisor.say(type="checkpoint", request_id="a", stop=False)
    supervisor.say(type="checkpoint", request_id="b", stop=True)
    assert job.checkpoint_due()
    job.announce(folder / "checkpoint-500", 500)
    assert supervisor.read() == {"type": "checkpoint", "name": "checkpoint-500", "step": 500, "request_id": "b"}
    assert job.stop_requested and not job.checkpoint_due()
    assert sorted(path.name for path in folder.iterdir()) == ["checkpoint-500", "last.ckpt", "link"]
    for wrong in ("", "..", "checkpoint-500/shard", tmp_path / "s", ".x", "x.tmp", "link"):
        with pytest.raises(ValueError, match="cannot announce"):
            job.announce(wrong)
    with pytest.raises(FileNotFoundError):
        job.announce("gone")
    job.close()
    supervisor.close()


def test_a_lost_supervisor_never_raises_and_is_found_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    supervisor = Supervisor(tmp_path / "s")
    monkeypatch.setenv("HELIOTROPE_SOCKET", str(tmp_path / "s"))
    monkeypatch.setenv("HELIOTROPE_CHECKPOINT_DIR", str(tmp_path / "c"))
    monkeypatch.setattr(heliotrope_job, "_RETRY_S", 0.0)
    monkeypatch.setattr(heliotrope_job, "_REPORT_S", 0.0)
    monkeypatch.setattr(heliotrope_job, "_ANNOUNCE_S", 0.05)
    job = heliotrope_job.connect()
    supervisor.accept()
    supervisor.close()
    for step in range(5):
        job.report(step=step)
        assert not job.checkpoint_due()
    with job.checkpoint(9) as folder:
        (folder / "x").touch()

    supervisor = Supervisor(tmp_path / "s")
    job.report(step=10)
    assert supervisor.accept()["type"] == "hello"
    announced = supervisor.read()  # said again: the first time nobody was there
    assert (announced["type"], announced["name"]) == ("checkpoint", "step-00000009")
    supervisor.say(type="checkpoint", request_id="a", stop=False)
    assert job.checkpoint_due()
    job.close()
    supervisor.close()


def test_a_forked_worker_does_not_speak(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    supervisor = Supervisor(tmp_path / "s")
    monkeypatch.setenv("HELIOTROPE_SOCKET", str(tmp_path / "s"))
    job = heliotrope_job.connect()
    supervisor.accept()
    supervisor.say(type="checkpoint", request_id="a", stop=False)
    pid = os.fork()
    if pid == 0:
        job.report(step=1)
        os._exit(int(job.checkpoint_due()))
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert job.checkpoint_due()  # the request was not eaten
    job.close()
    assert supervisor.stream.readline() == ""
    supervisor.close()


def test_a_full_socket_never_blocks_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    supervisor = Supervisor(tmp_path / "s")
    monkeypatch.setenv("HELIOTROPE_SOCKET", str(tmp_path / "s"))
    monkeypatch.setattr(heliotrope_job, "_REPORT_S", 0.0)
    monkeypatch.setattr(heliotrope_job, "_ANNOUNCE_S", 0.05)
    job = heliotrope_job.connect()
    for step in range(20_000):  # far more than a socket's buffer holds, and nobody reads
        job.report(step=step)
    job.close()
    supervisor.close()


def test_a_signal_asks_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HELIOTROPE_REQUEST_SIGNAL", "SIGUSR1")
    before = signal.getsignal(signal.SIGUSR1)
    try:
        job = heliotrope_job.connect(checkpoint_dir=tmp_path)
        assert (tmp_path / ".heliotrope-ready").read_text() == f"{os.getpid()}\n"
        assert not job.checkpoint_due()
        os.kill(os.getpid(), signal.SIGUSR1)
        assert job.checkpoint_due()
        with job.checkpoint(1):
            pass
        assert not job.checkpoint_due()
    finally:
        signal.signal(signal.SIGUSR1, before)
