"""A job's output over all the nodes it ran on, in the order of its runs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TypeAlias

from heliotrope.foundation import wire
from heliotrope.foundation.model import LogOffset, LogStream
from heliotrope.v1 import operator_pb2 as pb

from ..engine import Engine
from ..logstore import LogStore, RunLog
from ..state.database import Transaction

POLL_S = 0.3
LINGER_S = 1.0  # after the job's end: its agent may still be sending the last of much output


Key: TypeAlias = tuple[int, int, LogStream]  # one output of one run: epoch, attempt, stream


async def follow(
    engine: Engine, logs: LogStore, job_id: str, request: pb.WatchLogsRequest
) -> AsyncIterator[pb.LogChunk]:
    """What is there (the last ``tail_bytes`` of it; 0 all), then, if ``follow``, what comes until the job ended.

    A watcher that was cut off gives the offsets it came to: it gets what comes after them, no byte twice.
    """
    positions = _given(request)
    if request.tail_bytes and not request.offsets:
        positions = _skip(logs.runs(job_id), request.tail_bytes)
    # Told before anything else, in one message: cut off at any later point, the watcher knows every beginning.
    yield pb.LogChunk(offsets=[_offset(key, position) for key, position in positions.items()])
    silent_s = 0.0
    while True:
        ended, nodes = await engine.run(lambda tx: _state(tx, job_id), ensure=False)
        silent_s += POLL_S
        for run in logs.runs(job_id):
            key = (run.epoch, run.attempt, run.stream)
            for data in logs.read(run, positions.get(key, 0)):
                offset = positions.get(key, 0)
                positions[key] = offset + len(data)
                silent_s = 0.0
                yield pb.LogChunk(
                    epoch=run.epoch,
                    attempt=run.attempt,
                    node_id=nodes.get(run.epoch, ""),
                    stream=f"LOG_STREAM_{run.stream}",
                    data=data,
                    offset=offset,
                )
        if not request.follow or (ended and silent_s > LINGER_S):
            return
        await asyncio.sleep(POLL_S)


def _given(request: pb.WatchLogsRequest) -> dict[Key, int]:
    given = [wire.from_message(offset, LogOffset) for offset in request.offsets]
    return {(one.epoch, one.attempt, one.stream): one.bytes for one in given}


def _offset(key: Key, position: int) -> pb.LogOffset:
    epoch, attempt, stream = key
    return pb.LogOffset(epoch=epoch, attempt=attempt, stream=f"LOG_STREAM_{stream}", bytes=position)


def _skip(runs: list[RunLog], tail_bytes: int) -> dict[Key, int]:
    """Where to begin in each run so that ``tail_bytes`` remain."""
    positions: dict[Key, int] = {}
    for run in reversed(runs):
        size = run.path.stat().st_size
        shown = min(size, tail_bytes)
        positions[(run.epoch, run.attempt, run.stream)] = size - shown
        tail_bytes -= shown
    return positions


def _state(tx: Transaction, job_id: str) -> tuple[bool, dict[int, str]]:
    job = tx.jobs.get(job_id)
    return job.state.ended, {run.epoch: run.node_id for run in tx.jobs.runs(job_id)}
