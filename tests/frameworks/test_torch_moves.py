"""A PyTorch job in one process: everything that a framework holds goes along."""

from __future__ import annotations

from pathlib import Path

import pytest

from .moving import PACE, Truth, finished, moved, running, torch_spec

pytestmark = pytest.mark.torch

STEPS = ("--steps", "120")


@pytest.mark.parametrize(
    "options", [("--format", "torch", "--workers", "1"), ("--format", "safetensors")], ids=["torch", "safetensors"]
)
def test_a_move_is_bit_exact(
    folder: Path, torch_python: str, files: dict[str, bytes], truth: Truth, options: tuple[str, ...]
) -> None:
    command = (torch_python, "train_torch.py", *STEPS)
    with running(folder, torch_spec(*command, *options, *PACE), files) as operator:
        operator.reached(10)
        moved(operator, "b")
        finished(operator, "b", epoch=2)
        # The truth ran without workers and in the other format: neither is part of the trajectory.
        assert operator.digest() == truth(*command)


@pytest.mark.parametrize("form", ["safetensors", "torch"])
def test_frozen_weights_cross_the_network_once(
    folder: Path, torch_python: str, files: dict[str, bytes], truth: Truth, form: str
) -> None:
    command = (torch_python, "train_torch.py", *STEPS, "--width", "256", "--lora-rank", "2")
    with running(folder, torch_spec(*command, "--format", form, *PACE), files) as operator:
        operator.reached(10)
        there = moved(operator, "b")
        assert there.wire_bytes > 0.5 * there.state_bytes, "the first transfer had to carry the frozen weights"
        assert there.standstill_wire_bytes < 0.2 * there.state_bytes
        operator.reached(operator.job().checkpoint.step + 5)
        back = moved(operator, "a")
        assert back.wire_bytes < 0.2 * back.state_bytes
        finished(operator, "a", epoch=3)
        assert operator.digest() == truth(*command)
