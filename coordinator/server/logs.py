"""A job's output over all the nodes it ran on, in the order of its runs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from heliotrope.foundation.model import LogStream
from heliotrope.v1 import operator_pb2 as pb

from ..engine import Engine
from ..logstore import LogStore, RunLog
from ..state.database import Transaction

POLL_S = 0.3


async def follow(
    engine: Engine, logs: LogStore, job_id: str, follow_on: bool, tail_bytes: int
) -> AsyncIterator[pb.LogChunk]:
    """What is there (the last ``tail_bytes`` of it; 0 all), then, if ``follow_on``, what comes until the job ended."""
    positions = _skip(logs.runs(job_id), tail_bytes)
    while True:
        ended, nodes = await engine.run(lambda tx: _state(tx, job_id), ensure=False)
        for run in logs.runs(job_id):
            key = (run.epoch, run.attempt, run.stream)
            for data in logs.read(run, positions.get(key, 0)):
                positions[key] = positions.get(key, 0) + len(data)
                yield pb.LogChunk(
                    epoch=run.epoch,
                    attempt=run.attempt,
                    node_id=nodes.get(run.epoch, ""),
                    stream=f"LOG_STREAM_{run.stream}",
                    data=data,
                )
        if ended or not follow_on:
            return
        await asyncio.sleep(POLL_S)


def _skip(runs: list[RunLog], tail_bytes: int) -> dict[tuple[int, int, LogStream], int]:
    """Where to begin in each run so that ``tail_bytes`` remain."""
    positions: dict[tuple[int, int, LogStream], int] = {}
    if not tail_bytes:
        return positions
    for run in reversed(runs):
        size = run.path.stat().st_size
        shown = min(size, tail_bytes)
        positions[(run.epoch, run.attempt, run.stream)] = size - shown
        tail_bytes -= shown
    return positions


def _state(tx: Transaction, job_id: str) -> tuple[bool, dict[int, str]]:
    job = tx.jobs.get(job_id)
    return job.state.ended, {run.epoch: run.node_id for run in tx.jobs.runs(job_id)}
