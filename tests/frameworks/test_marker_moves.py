"""Programs that know nothing of Heliotrope: they write checkpoints in place, whole when a marker file is there."""

from __future__ import annotations

from pathlib import Path

import pytest

from .moving import PACE, Truth, finished, moved, running, saved, torch_spec

pytestmark = pytest.mark.torch

MARKERS = {"trainer": "trainer_state.json", "dcp": ".metadata"}


@pytest.mark.parametrize("layout", MARKERS)
def test_a_job_that_is_asked_by_a_signal(
    folder: Path, torch_python: str, files: dict[str, bytes], truth: Truth, layout: str
) -> None:
    rules = {"complete": "marker", "marker": MARKERS[layout], "request": "signal"}
    command = (torch_python, "train_torch_marker.py", "--steps", "100", "--layout", layout)
    spec = torch_spec(*command, *PACE, "--checkpoint-every", "15", rules=rules)
    with running(folder, spec, files) as operator:
        saved(operator, 15)
        moved(operator, "b")
        finished(operator, "b", epoch=2)
        assert operator.digest() == truth(*command)


def test_a_job_that_is_never_asked(folder: Path, torch_python: str, files: dict[str, bytes], truth: Truth) -> None:
    """Its newest checkpoint moves; the steps since then are done again."""
    rules = {"complete": "marker", "marker": MARKERS["trainer"], "request": "none", "timeout_s": 8.0}
    command = (torch_python, "train_torch_marker.py", "--steps", "100")
    spec = torch_spec(*command, *PACE, "--checkpoint-every", "15", rules=rules)
    with running(folder, spec, files) as operator:
        saved(operator, 15)
        moved(operator, "b")
        finished(operator, "b", epoch=2)
        assert operator.digest() == truth(*command)
