"""A job behind something else: a shell script, a container."""

from __future__ import annotations

import os
import shutil
import subprocess
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest
from fleet_driver import ROOT

from .moving import PACE, Truth, finished, moved, running, torch_spec

pytestmark = pytest.mark.torch

CONTAINER = ROOT / "examples" / "container.sh"
PODMAN = shutil.which("podman")


@pytest.mark.parametrize("request_by", ["socket", "signal"])
def test_a_shell_script_around_the_training(
    folder: Path, torch_python: str, files: dict[str, bytes], truth: Truth, request_by: str
) -> None:
    """The signal goes to the training, not to the shell; the exit code comes through the shell."""
    steps = ("--steps", "100")
    spec = torch_spec("sh", "train_torch.sh", *steps, *PACE, rules={"request": request_by})
    spec = msgspec.structs.replace(spec, environment={"TRAIN_PYTHON": torch_python})
    with running(folder, spec, files) as operator:
        operator.reached(10)
        moved(operator, "b")
        finished(operator, "b", epoch=2)
        assert operator.digest() == truth(torch_python, "train_torch.py", *steps)


def test_a_container_around_the_training(
    folder: Path, torch_python: str, files: dict[str, bytes], truth: Truth
) -> None:
    """Equal bits need the libraries of ``torch_python`` in the image too."""
    image, steps = _image(), ("--steps", "100")
    spec = torch_spec("sh", "container.sh", image, "python3", "train_torch.py", *steps, *PACE)
    files = {**files, "container.sh": CONTAINER.read_bytes()}
    with running(folder, spec, files) as operator:
        operator.reached(10)
        moved(operator, "b")
        finished(operator, "b", epoch=2)
        assert operator.digest() == truth(torch_python, "train_torch.py", *steps)


@pytest.mark.parametrize("resume_from", ["", "/node/received/2-1"])
def test_a_container_sees_what_the_job_was_given(tmp_path: Path, resume_from: str) -> None:
    given = {
        "PYTHONPATH": "/node/pythonpath:/other",
        "HELIOTROPE_SOCKET": "/node/run/job.sock",
        "HELIOTROPE_RESUME_FROM": resume_from,
        "CUDA_VISIBLE_DEVICES": "GPU-1,GPU-2",
    }
    environment = {"PATH": os.environ["PATH"], "CONTAINER_ENGINE": "echo", **given}
    command = ["sh", str(CONTAINER), "image", "python3", "train.py", "a b"]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment, cwd=tmp_path)
    words = done.stdout.split()
    mounted = {after.partition(":")[0] for word, after in pairwise(words) if word == "--volume"}
    assert mounted == {str(tmp_path), "/node/pythonpath", "/node/run", *filter(None, [resume_from])}
    assert {after for word, after in pairwise(words) if word == "--device"} == {
        "nvidia.com/gpu=GPU-1",
        "nvidia.com/gpu=GPU-2",
    }
    assert {"HELIOTROPE_SOCKET", "HELIOTROPE_RESUME_FROM"} < {word for word in words if word.startswith("HELIOTROPE_")}
    assert done.stdout.endswith("image python3 train.py a b\n")


def _image() -> str:
    """The image to test with; skips where there is none, or no podman that runs."""
    asked = subprocess.run(["podman", "info"], check=False, capture_output=True, text=True) if PODMAN else None
    if asked is None or asked.returncode:
        pytest.skip(
            "podman does not run here: " + (asked.stderr.strip().splitlines()[-1] if asked else "not installed")
        )
    if not os.environ.get("HELIOTROPE_TORCH_IMAGE"):
        pytest.skip("name an image with python3, torch and numpy in HELIOTROPE_TORCH_IMAGE")
    return os.environ["HELIOTROPE_TORCH_IMAGE"]
