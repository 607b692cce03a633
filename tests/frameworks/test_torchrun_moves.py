"""A job of two processes under torchrun: rank 0 speaks, all write, all leave, and the exit code says how it ended."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from .moving import PACE, Truth, finished, moved, running, torch_spec

pytestmark = pytest.mark.torch


def test_two_ranks_move_together(folder: Path, torch_python: str, files: dict[str, bytes], truth: Truth) -> None:
    launch = ("--standalone", "--nproc-per-node", "2", "train_torch_ranks.py", "--steps", "100")
    command = (torch_python, "torchrun_job.py", *launch)
    with running(folder, torch_spec(*command, *PACE), files) as operator:
        operator.reached(10)
        moved(operator, "b")
        # The launcher passed the ranks' exit code on, so the source's supervisor saw a stop and no failure.
        (status,) = folder.glob("a/jobs/*/runs/1-0/status.json")
        ending = json.loads(status.read_text())
        assert (ending["reason"], ending["exit_code"]) == ("stopped", 75)
        finished(operator, "b", epoch=2)
        assert operator.digest() == truth(*command)


@pytest.mark.parametrize(("code", "seen"), [(75, 75), (3, 1), (0, 0)], ids=["stopped", "failed", "finished"])
def test_the_launcher_tells_a_stop_from_a_failure(
    tmp_path: Path, torch_python: str, files: dict[str, bytes], code: int, seen: int
) -> None:
    launcher = tmp_path / "torchrun_job.py"
    launcher.write_bytes(files[launcher.name])
    assert _exit_code([torch_python, str(launcher)], tmp_path, code) == seen


def test_torchrun_itself_does_not(tmp_path: Path, torch_python: str) -> None:
    """Why the launcher exists; when this fails, PyTorch has learnt it and the launcher may go."""
    assert _exit_code([torch_python, "-m", "torch.distributed.run"], tmp_path, 75) == 1


def _exit_code(launcher: list[str], folder: Path, code: int) -> int:
    """What the launcher leaves with when both ranks leave with ``code``, the second one later."""
    ranks = folder / "ranks.py"
    ranks.write_text(f"import os, sys, time\ntime.sleep(0.2 * int(os.environ['RANK']))\nsys.exit({code})\n")
    command = [*launcher, "--standalone", "--nproc-per-node", "2", str(ranks)]
    return subprocess.run(command, check=False, capture_output=True, timeout=120, cwd=folder).returncode
