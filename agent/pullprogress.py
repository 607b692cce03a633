"""Transfer progress on its way to the coordinator, for whoever watches a move."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from heliotrope.foundation.clock import Clock
from heliotrope.v1 import fleet_pb2 as pb

from .orders import Command
from .transfer.result import Progress

INTERVAL_S = 0.25


class PullProgress:
    """Transfer progress from its thread to the session's loop, a few times a second."""

    def __init__(self, loop: asyncio.AbstractEventLoop, send: Callable[[pb.PullProgress], None], clock: Clock) -> None:
        self._loop = loop
        self._send = send
        self._clock = clock
        self._last_s = 0.0

    def __call__(self, command: Command, progress: Progress) -> None:
        now_s = self._clock.monotonic_s()
        if now_s - self._last_s < INTERVAL_S:
            return
        self._last_s = now_s
        message = pb.PullProgress(
            migration_id=command.migration_id,
            job_id=command.job_id,
            done_bytes=progress.done_bytes,
            total_bytes=progress.total_bytes,
            wire_bytes=progress.wire_bytes,
            rate_bytes_per_s=progress.rate_bytes_per_s,
            left_s=progress.left_s if progress.left_s is not None else float("inf"),
        )
        self._loop.call_soon_threadsafe(self._send, message)
