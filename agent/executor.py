"""Commands into deeds: each is done at most once to the end, its result durable before it is sent.

A command that was interrupted (the agent died) comes again with the next session and is done again; every deed below is
written so that doing it again from any point leads to the same end. Failpoints sit where a crash hurts most:
``agent.KIND.received`` before anything, ``.applied`` after the deed and before its result is durable, ``.recorded``
before it is sent.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from heliotrope.foundation import failpoints
from heliotrope.foundation.clock import Clock
from heliotrope.foundation.errors import DeadlineExceeded, HeliotropeError
from heliotrope.foundation.model import CommandResult, Fault

from .courtesy import Courtesy
from .deeds.capping import Capping
from .deeds.moving import Moving
from .deeds.running import Running
from .journal import Journal
from .orders import KINDS, Command, Pull

log = logging.getLogger("heliotrope.agent.executor")

failpoints.register(*(f"agent.{kind}.{moment}" for kind in KINDS for moment in ("received", "applied", "recorded")))

# The coordinator's own deadline is a little later: the agent's error says more than "no answer".
NO_TIMEOUT_S = 86_400.0


class Executor:
    """Runs commands side by side, one at a time per job (and one at a time of those of no job)."""

    def __init__(
        self,
        *,
        journal: Journal,
        running: Running,
        moving: Moving,
        capping: Capping,
        clock: Clock,
        send: Callable[[CommandResult], None],
    ) -> None:
        self._journal = journal
        self._clock = clock
        self._send = send
        self._busy: dict[str, asyncio.Task[None]] = {}
        self._locks: dict[str, asyncio.Lock] = {}
        self._courtesy = Courtesy()
        self._deeds: dict[str, Callable[[Command, Any], Awaitable[CommandResult]]] = {
            "prepare": moving.prepare,
            "pull": moving.pull,
            "request_checkpoint": running.request_checkpoint,
            "quiesce": running.quiesce,
            "start": running.start,
            "stop": running.stop,
            "resume": running.resume,
            "release": moving.release,
            "send_outputs": moving.send_outputs,
            "cap_power": capping.cap,
            "uncap_power": capping.uncap,
            "repair": moving.repair,
        }

    def take(self, command: Command) -> None:
        """Do it, or answer with the result it already has."""
        known = self._journal.find(command.command_id)
        if known is not None:
            self._send(known)
        elif command.command_id not in self._busy:
            task = asyncio.create_task(self._run(command))
            self._busy[command.command_id] = task
            task.add_done_callback(lambda _: self._busy.pop(command.command_id, None))

    def acknowledged(self, command_id: str) -> None:
        self._journal.forget(command_id)

    def resend(self) -> None:
        """On a new session: what the coordinator may not have heard."""
        for result in self._journal.unacknowledged():
            self._send(result)

    async def close(self) -> None:
        for task in list(self._busy.values()):
            task.cancel()
        await asyncio.gather(*self._busy.values(), return_exceptions=True)

    async def _run(self, command: Command) -> None:
        log.info("%s: %s (%s)", command.subject, command.kind, command.command_id)
        try:
            result = await self._in_turn(command)
        except TimeoutError:
            result = _failed(command, DeadlineExceeded(f"{command.kind} took longer than {command.timeout_s:.0f} s"))
        except HeliotropeError as error:
            result = _failed(command, error)
        except Exception as error:
            log.exception("%s: %s failed", command.subject, command.kind)
            result = _failed(
                command, HeliotropeError(f"unexpected {type(error).__name__}: {error}; see the agent's log")
            )
        if result.error is not None:
            log.warning("%s: %s failed: %s", command.subject, command.kind, result.error.message)
        failpoints.hit(f"agent.{command.kind}.applied")
        self._journal.record(result)
        failpoints.hit(f"agent.{command.kind}.recorded")
        self._send(result)

    async def _in_turn(self, command: Command) -> CommandResult:
        if isinstance(command.order, Pull) and command.order.replica:
            return await self._courtesy.replica(command.job_id, lambda: self._deed(command))
        if command.kind in ("stop", "repair"):
            # A fence must not wait for the start that it is to fence, nor the job for the mending of an old checkpoint.
            return await self._deed(command)
        async with (
            self._locks.setdefault(command.job_id, asyncio.Lock()),
            self._courtesy.first(command.job_id, transfers=command.kind == "pull"),
        ):
            return await self._deed(command)

    async def _deed(self, command: Command) -> CommandResult:
        async with asyncio.timeout(command.timeout_s or NO_TIMEOUT_S):
            failpoints.hit(f"agent.{command.kind}.received")
            return await self._deeds[command.kind](command, command.order)


def _failed(command: Command, error: HeliotropeError) -> CommandResult:
    return CommandResult(command_id=command.command_id, error=Fault(kind=type(error).__name__, message=str(error)))
