"""Trains the model of train_torch.py without heliotrope.job, in the layouts that other trainers write.

    --layout trainer    checkpoint-N/ as the Hugging Face trainer has it; whole with its last file, trainer_state.json
    --layout dcp        step-N/ by torch.distributed.checkpoint; whole with .metadata, which it writes last
    --layout file       one file, epoch=0-step=N.ckpt, as Lightning has it; whole when it has its name

It saves every ``--checkpoint-every`` steps, and soon after a SIGUSR1, for which it names itself in
``.heliotrope-ready``: a few lines that fit into any trainer's callback.
"""
# mypy: disable-error-code="import-not-found,misc,no-untyped-call"

from __future__ import annotations

import argparse
import json
import os
import signal
from pathlib import Path
from typing import Any

import torch
import torch.distributed.checkpoint as dcp
import train_torch
from train_torch import Trainer


class Asked:
    """True after a SIGUSR1 until it is cleared."""

    def __init__(self) -> None:
        self.now = False
        signal.signal(signal.SIGUSR1, self._note)

    def _note(self, *_: object) -> None:
        self.now = True

    def ready(self, folder: Path) -> None:
        """Tell which process takes the signal."""
        temporary = folder / ".heliotrope-ready.tmp"
        temporary.write_text(f"{os.getpid()}\n")
        temporary.replace(folder / ".heliotrope-ready")


def save_trainer(trainer: Trainer, folder: Path) -> None:
    """The files and their order of ``Trainer._save_checkpoint`` in transformers."""
    folder.mkdir(exist_ok=True)
    shared = trainer.shared_state()
    train_torch.safetensors.save_file(shared["model"], str(folder / "model.safetensors"), {"format": "pt"})
    torch.save(shared["optimiser"], folder / "optimizer.pt")
    torch.save(shared["schedule"], folder / "scheduler.pt")
    torch.save(trainer.own_state(), folder / "rng_state.pth")
    state = {"global_step": trainer.steps, "settings": shared["settings"]}
    (folder / "trainer_state.json").write_text(json.dumps(state, indent=2))


def load_trainer(trainer: Trainer, folder: Path) -> None:
    def load(name: str) -> Any:
        return torch.load(folder / name, weights_only=True)

    shared = json.loads((folder / "trainer_state.json").read_text())
    shared["model"] = train_torch.safetensors.load_file(str(folder / "model.safetensors"))
    shared |= {"optimiser": load("optimizer.pt"), "schedule": load("scheduler.pt")}
    trainer.restore(shared, load("rng_state.pth"), {})


def save_dcp(trainer: Trainer, folder: Path) -> None:
    dcp.save(_both(trainer), checkpoint_id=folder, no_dist=True)


def load_dcp(trainer: Trainer, folder: Path) -> None:
    # Loading is into tensors that exist: an optimiser has its moments only after a step.
    for group in trainer.optimiser.param_groups:
        for parameter in group["params"]:
            parameter.grad = torch.zeros_like(parameter)
    trainer.optimiser.step()
    state = _both(trainer)
    dcp.load(state, checkpoint_id=folder, no_dist=True)
    trainer.restore(state["shared"], state["own"], {})


def _both(trainer: Trainer) -> dict[str, Any]:
    return {"shared": trainer.shared_state(), "own": trainer.own_state()}


def save_file(trainer: Trainer, path: Path) -> None:
    temporary = path.with_name(f"{path.name}.tmp")
    torch.save(_both(trainer), temporary)
    with temporary.open("rb") as file:
        os.fsync(file.fileno())
    temporary.replace(path)


def load_file(trainer: Trainer, path: Path) -> None:
    state = torch.load(path, weights_only=True)
    trainer.restore(state["shared"], state["own"], {})


LAYOUTS = {
    "trainer": ("checkpoint-{}", save_trainer, load_trainer),
    "dcp": ("step-{}", save_dcp, load_dcp),
    "file": ("epoch=0-step={}.ckpt", save_file, load_file),
}


def train(trainer: Trainer, options: argparse.Namespace, folder: Path) -> None:
    asked = Asked()
    pattern, save, load = LAYOUTS[options.layout]
    if os.environ.get("HELIOTROPE_RESUME_FROM"):
        load(trainer, Path(os.environ["HELIOTROPE_RESUME_FROM"]))
    asked.ready(folder)
    while trainer.steps < options.steps:
        trainer.step(options.step_s)
        periodic = options.checkpoint_every and trainer.steps % options.checkpoint_every == 0
        if asked.now or periodic:
            asked.now = False
            save(trainer, folder / pattern.format(trainer.steps))


def main() -> None:
    parser = train_torch.parser()
    parser.add_argument("--layout", choices=LAYOUTS, default="trainer")
    options = parser.parse_args()
    folder = Path(os.environ.get("HELIOTROPE_CHECKPOINT_DIR", "checkpoints"))
    folder.mkdir(exist_ok=True)
    trainer = train_torch.prepare(options)
    train(trainer, options, folder)
    train_torch.write_result(trainer, options.result, [])


if __name__ == "__main__":
    main()
