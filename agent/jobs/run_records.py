"""What a run's files and its supervisor say, as the agent's own structures."""

from __future__ import annotations

from typing import Literal

import msgspec

from heliotrope.foundation.errors import Conflict

from .exits import Ending, Verdict, judge


class RunStatus(msgspec.Struct, frozen=True, kw_only=True):
    """status.json. ``state`` is ``lost`` when the supervisor vanished; then no process of the job is left."""

    version: int
    job_id: str
    epoch: int
    attempt: int
    boot_id: str
    supervisor_pid: int
    supervisor_start_ticks: int
    job_pid: int
    job_start_ticks: int
    state: Literal["starting", "running", "stopping", "ended", "lost"]
    reason: Literal["", "finished", "stopped", "failed", "lease_expired", "killed", "lost"]
    cause: str
    exit_code: int | None
    signal: int | None
    error: str
    oom_kill_count: int
    started_utc: str
    ended_utc: str

    @property
    def over(self) -> bool:
        """Whether nothing of this run goes on."""
        return self.state in ("ended", "lost")

    @property
    def verdict(self) -> Verdict:
        """What the end means. Raises Conflict while the run goes on."""
        if self.reason == "":
            raise Conflict(f"cannot judge run of job {self.job_id!r}: it has not ended; wait for it")
        return judge(
            Ending(
                reason=self.reason,
                cause=self.cause,
                exit_code=self.exit_code,
                signal=self.signal,
                error=self.error,
                oom_kill_count=self.oom_kill_count,
            )
        )


class CheckpointAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Where a checkpoint request stands; ``name`` is the answering entry of the checkpoint folder."""

    request_id: str
    stop: bool = False
    state: Literal["open", "delivered", "answered", "failed"]
    name: str = ""
    step: int | None = None
    error: str = ""  # why it still waits, or why it failed


class Live(msgspec.Struct, frozen=True, kw_only=True):
    """What only the living supervisor knows."""

    status: RunStatus
    ready: bool
    lease_deadline_boottime_s: float | None
    requests: tuple[CheckpointAnswer, ...]


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """The job's latest word, totals since its first start."""

    utc: str
    boottime_s: float
    step: int | None = None
    samples: int | None = None
    tokens: int | None = None
    loss: float | None = None
    flops: float | None = None
    parameters: int | None = None


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """One line of events.jsonl; ``next_offset_bytes`` is where to go on after it.

    ``type``: started, ready, request, delivered, checkpoint, request_failed, stopping, exit.
    """

    type: str
    utc: str
    boottime_s: float
    next_offset_bytes: int = 0
    request_id: str = ""
    request_ids: tuple[str, ...] = ()  # a checkpoint: the requests it answers
    name: str = ""
    step: int | None = None
    stop: bool = False
    reason: str = ""
    cause: str = ""
    exit_code: int | None = None
    signal: int | None = None
    error: str = ""


def advance(known: CheckpointAnswer | None, event: Event, request_id: str) -> CheckpointAnswer | None:
    """Where the request of that id stands after one more event; None while it was not made. Pure."""
    if event.type == "request" and event.request_id == request_id:
        return CheckpointAnswer(request_id=request_id, stop=event.stop, state="open")
    if known is None:
        return None
    if event.type == "checkpoint" and request_id in event.request_ids:
        return msgspec.structs.replace(known, state="answered", name=event.name, step=event.step, error="")
    if event.request_id == request_id and event.type == "delivered":
        return msgspec.structs.replace(known, state="delivered")
    if event.request_id == request_id and event.type == "request_failed":
        return msgspec.structs.replace(known, state="failed", error=event.error)
    return known
