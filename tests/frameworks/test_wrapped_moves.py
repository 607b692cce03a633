"""A job behind something else: a shell script, a container."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import msgspec
import pytest

from .moving import PACE, Truth, finished, moved, running, torch_spec

pytestmark = pytest.mark.torch


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
