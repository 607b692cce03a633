"""Trains the model of train_torch.py in several processes under torchrun; rank 0 speaks for all of them.

    python torchrun_job.py --standalone --nproc-per-node 2 train_torch_ranks.py --steps 100

Rank 0 alone hears Heliotrope. It asks at each step boundary and tells the others, every rank writes its part, and
rank 0 renames the folder when all parts are there. Asked to stop, all leave with the stopped code together.
"""
# mypy: disable-error-code="import-not-found,misc,no-untyped-call"

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import train_torch
from torch.nn.parallel import DistributedDataParallel

import heliotrope.job as heliotrope_job


def told(value: Any) -> Any:
    """Rank 0's value, on every rank."""
    values = [value]
    dist.broadcast_object_list(values)
    return values[0]


def checkpoint(job: heliotrope_job.Job, trainer: train_torch.Trainer, form: str) -> None:
    with job.checkpoint(trainer.steps) if job.rank == 0 else contextlib.nullcontext() as folder:
        trainer.save(Path(told(str(folder))), form)
        dist.barrier()  # every part is written before rank 0 syncs and renames


def main() -> None:
    options = train_torch.parser().parse_args()
    dist.init_process_group("nccl" if options.device == "cuda" else "gloo")
    if options.device == "cuda":
        options.device = f"cuda:{os.environ['LOCAL_RANK']}"
    job = heliotrope_job.connect()
    trainer = train_torch.prepare(options, rank=dist.get_rank(), ranks=dist.get_world_size())
    if job.resume_from:
        trainer.load(job.resume_from, options.format)
    trainer.forward = DistributedDataParallel(trainer.model)
    loss = torch.zeros(())
    while trainer.steps < options.steps:
        loss = trainer.step(options.step_s)
        job.report(step=trainer.steps, samples=trainer.steps * options.batch * dist.get_world_size(), loss=loss)
        periodic = options.checkpoint_every and trainer.steps % options.checkpoint_every == 0
        if told(job.checkpoint_due()) or periodic:
            checkpoint(job, trainer, options.format)
            if told(job.stop_requested):
                dist.destroy_process_group()
                sys.exit(int(os.environ.get("HELIOTROPE_STOPPED_CODE", heliotrope_job.STOPPED_CODE)))
    if dist.get_rank() == 0:
        train_torch.write_result(trainer, options.result, [float(loss)])
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
