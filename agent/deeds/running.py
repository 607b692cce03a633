"""Deeds on the job's process: start, checkpoint, quiesce, stop, resume."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from heliotrope.foundation.clock import Clock
from heliotrope.foundation.errors import Conflict, DeadlineExceeded, JobFailed, NotFound
from heliotrope.foundation.model import Checkpoint, CommandResult, RunState

from ..held import HeldJobs
from ..jobs.run_records import RunStatus
from ..jobs.runs import Run
from ..luggage import Luggage
from ..orders import Command, Quiesce, RequestCheckpoint, Resume, Start, Stop
from ..runner import Runner
from ..vault import Vault
from .preparing import Preparer

# A job that reports nothing and writes no checkpoint has started well if it lives this long.
ALIVE_S = 30.0
POLL_S = 0.05


class Running:
    """See the messages of these names in fleet.proto."""

    def __init__(
        self,
        *,
        held: HeldJobs,
        vault: Vault,
        runner: Runner,
        preparer: Preparer,
        clock: Clock,
        ask_lease: Callable[[str, int], Awaitable[float]],
        luggage: Luggage,
    ) -> None:
        self._held = held
        self._vault = vault
        self._runner = runner
        self._preparer = preparer
        self._clock = clock
        self._ask_lease = ask_lease
        self._luggage = luggage

    async def start(self, command: Command, order: Start) -> CommandResult:
        await self._preparer.ensure(command.job_id, order.spec, order.bundle)
        self._held.update(command.job_id, lease_s=order.lease_s)
        run = await self._launch(command, order)
        return await self._first_sign(command, run)

    async def resume(self, command: Command, order: Resume) -> CommandResult:
        """A run that goes on is left alone, and takes back the request to stop; one that stopped is started again."""
        try:
            run = self._runner.run(command.job_id)
        except NotFound:  # the stop outlived what was started
            return await self.start(command, order.start)
        status = await run.status()
        if not status.over:
            live = await run.live()
            open_ones = [one for one in live.requests if one.stop and one.state in ("open", "delivered")]
            taken_back = [await run.cancel_request(one.request_id) for one in open_ones]
            # Answered already: it is about to stop, and then it is started again.
            answered = any(one.stop and one.state == "answered" for one in live.requests)
            if all(taken_back) and not answered:
                return self._done(command, RunState.RUNNING)
            status = await run.wait(self._held.get(command.job_id).spec.policy.grace_s)
        if status.reason == "finished":
            return self._done(command, RunState.FINISHED)
        return await self.start(command, order.start)

    async def request_checkpoint(self, command: Command, _order: RequestCheckpoint) -> CommandResult:
        run = self._runner.run(command.job_id)
        await run.request_checkpoint(command.command_id)
        try:
            checkpoint, _ = await self._answered(command, run)
        except DeadlineExceeded:
            await run.cancel_request(command.command_id)  # nobody waits for it any more
            raise
        return CommandResult(
            command_id=command.command_id,
            checkpoint=checkpoint,
            run_state=RunState.RUNNING,
            finished_utc=self._clock.utc(),
        )

    async def quiesce(self, command: Command, _order: Quiesce) -> CommandResult:
        """A last checkpoint, then the job stops. A job that ended by itself meanwhile says so in run_state."""
        run = self._runner.run(command.job_id)
        grace_s = self._held.get(command.job_id).spec.policy.grace_s
        if run.request.request_mode == "none":
            return await self._quiesce_unasked(command, run, grace_s)
        try:
            await run.request_checkpoint(command.command_id, stop=True)
            checkpoint, whole_boottime_s = await self._answered(command, run)
        except Conflict:
            status = await run.status()
            if not status.over:
                raise
            return self._done(command, _state(status))
        except DeadlineExceeded:
            if await run.cancel_request(command.command_id):
                raise
            checkpoint, whole_boottime_s = await self._answered(command, run)
        requested_s = await _event_boottime_s(run, "request", command.command_id)
        save_s = whole_boottime_s - (requested_s if requested_s is not None else whole_boottime_s)
        try:
            # A signal cannot say "and stop": such a job is told so by SIGTERM, now that its checkpoint is whole.
            status = await run.wait(0.0 if run.request.request_mode == "signal" else grace_s)
        except DeadlineExceeded:
            # Its checkpoint is whole: a job that then does not leave is made to.
            status = await run.stop(grace_s)
        if status.reason == "finished":
            return self._done(command, RunState.FINISHED)
        return CommandResult(
            command_id=command.command_id,
            checkpoint=checkpoint,
            run_state=RunState.STOPPED,
            save_s=save_s,
            stop_s=self._clock.boottime_s() - whole_boottime_s,
            exit_code=status.exit_code or 0,
            finished_utc=self._clock.utc(),
            outputs=await asyncio.to_thread(self._luggage.gather, command.job_id, run.request.epoch),
        )

    async def _quiesce_unasked(self, command: Command, run: Run, grace_s: float) -> CommandResult:
        """A job that takes no requests gets SIGTERM; its newest checkpoint moves, the steps since are done again."""
        if not self._vault.checkpoints(command.job_id):
            raise Conflict(
                f"cannot stop job {command.job_id} without a checkpoint: it takes no requests and has written none; "
                "wait for its first"
            )
        begun_s = self._clock.boottime_s()
        status = await run.stop(grace_s)
        await self._runner.look(command.job_id)  # it may have written one on its way out
        if status.reason not in ("killed", "stopped"):
            return self._done(command, _state(status))
        return CommandResult(
            command_id=command.command_id,
            checkpoint=self._vault.checkpoints(command.job_id)[-1],
            run_state=RunState.STOPPED,
            stop_s=self._clock.boottime_s() - begun_s,
            exit_code=status.exit_code or 0,
            finished_utc=self._clock.utc(),
            outputs=await asyncio.to_thread(self._luggage.gather, command.job_id, run.request.epoch),
        )

    async def stop(self, command: Command, order: Stop) -> CommandResult:
        await self._runner.fence(command.job_id, command.epoch, order.grace_s)
        return self._done(command, RunState.STOPPED)

    # -- inside

    async def _launch(self, command: Command, order: Start) -> Run:
        deadline_s = None
        if order.lease_s is not None:
            # The lease counts from a renewal that we sent, not from an order that may have waited for us.
            deadline_s = await self._ask_lease(command.job_id, command.epoch) + order.lease_s
        return await self._runner.start(command.job_id, command.epoch, order.attempt, order.checkpoint, deadline_s)

    async def _first_sign(self, command: Command, run: Run) -> CommandResult:
        """Progress is a step on the socket, else a new checkpoint, else alive for 30 s."""
        begun_s = self._clock.boottime_s()
        while True:
            status = await run.status()
            progress = run.progress()
            new = any(one.epoch == command.epoch for one in self._vault.checkpoints(command.job_id))
            if status.over and status.reason not in ("finished", "stopped"):
                raise JobFailed(
                    f"the job ended before it made progress: {status.verdict.text}; "
                    "`heliotrope job logs` shows its output"
                )
            age_s = self._clock.boottime_s() - begun_s
            if status.over or (progress is not None and progress.step is not None) or new or age_s >= ALIVE_S:
                break
            await asyncio.sleep(POLL_S)
        load_s = await self._load_s(run, age_s)
        return CommandResult(
            command_id=command.command_id, run_state=_state(status), load_s=load_s, finished_utc=self._clock.utc()
        )

    async def _load_s(self, run: Run, seen_s: float) -> float:
        """From the launch to the first report of a step; what this process saw where the job reports nothing."""
        progress = run.progress()
        if progress is None:
            return seen_s
        begun_s = await _event_boottime_s(run, "started")
        return max(progress.boottime_s - begun_s, 0.0) if begun_s is not None else seen_s

    async def _answered(self, command: Command, run: Run) -> tuple[Checkpoint, float]:
        """The registered checkpoint that answers this command's request, and when it was whole (boot time)."""
        timeout_s = self._held.get(command.job_id).spec.checkpoint.timeout_s
        answer = await run.wait_answer(command.command_id, timeout_s)
        checkpoint = await self._runner.take_checkpoint(command.job_id, answer.name, answer.step)
        whole_s = await _event_boottime_s(run, "checkpoint", command.command_id)
        return checkpoint, whole_s if whole_s is not None else self._clock.boottime_s()

    def _done(self, command: Command, state: RunState) -> CommandResult:
        return CommandResult(command_id=command.command_id, run_state=state, finished_utc=self._clock.utc())


async def _event_boottime_s(run: Run, kind: str, request_id: str = "") -> float | None:
    """When the run's first event of that kind (about that request) happened."""
    async for event in run.events(follow=False):
        if event.type == kind and request_id in ("", event.request_id, *event.request_ids):
            return event.boottime_s
    return None


def _state(status: RunStatus) -> RunState:
    if not status.over:
        return RunState.RUNNING
    return {"finished": RunState.FINISHED, "stopped": RunState.STOPPED}.get(status.reason, RunState.FAILED)
