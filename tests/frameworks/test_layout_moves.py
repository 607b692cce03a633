"""Programs without heliotrope.job, in the layouts that other trainers write: by a last file, or by the name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from .moving import PACE, Truth, finished, moved, running, saved, torch_spec

pytestmark = pytest.mark.torch

LAYOUTS: dict[str, dict[str, Any]] = {
    "trainer": {"complete": "marker", "marker": "trainer_state.json"},
    "dcp": {"complete": "marker", "marker": ".metadata"},
    "file": {"complete": "rename"},
}
COMMAND = ("train_torch_layouts.py", "--steps", "100")


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_job_that_is_asked_by_a_signal(
    folder: Path, torch_python: str, files: dict[str, bytes], truth: Truth, layout: str
) -> None:
    options = (*PACE, "--layout", layout, "--checkpoint-every", "15")
    spec = torch_spec(torch_python, *COMMAND, *options, rules={**LAYOUTS[layout], "request": "signal"})
    with running(folder, spec, files) as operator:
        saved(operator, 15)
        moved(operator, "b")
        finished(operator, "b", epoch=2)
        assert operator.digest() == truth(torch_python, *COMMAND)


def test_a_job_that_is_never_asked(folder: Path, torch_python: str, files: dict[str, bytes], truth: Truth) -> None:
    """Its newest checkpoint moves; the steps since then are done again."""
    options = (*PACE, "--layout", "trainer", "--checkpoint-every", "15")
    spec = torch_spec(torch_python, *COMMAND, *options, rules={**LAYOUTS["trainer"], "request": "none"})
    with running(folder, spec, files) as operator:
        saved(operator, 15)
        moved(operator, "b")
        finished(operator, "b", epoch=2)
        assert operator.digest() == truth(torch_python, *COMMAND)
