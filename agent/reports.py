"""A run's state as the coordinator is told it."""

from __future__ import annotations

from datetime import UTC, datetime

from heliotrope.foundation.model import JobReport, Progress, RunState

from .jobs import run_records
from .jobs.run_records import RunStatus

_STATES = {
    "finished": RunState.FINISHED,
    "stopped": RunState.STOPPED,
    "killed": RunState.STOPPED,  # ended on order: to be resumed, nobody's failure
    "failed": RunState.FAILED,
    "lost": RunState.LOST,
}


def report(status: RunStatus, progress: run_records.Progress | None) -> JobReport:
    """Without the checkpoints, which the vault knows."""
    state, fault, message = _judge(status)
    return JobReport(
        job_id=status.job_id,
        epoch=status.epoch,
        attempt=status.attempt,
        state=state,
        exit_code=status.exit_code or 0,
        fault=fault,
        message=message,
        progress=Progress() if progress is None else _progress(progress),
        started_utc=_moment(status.started_utc),
        ended_utc=_moment(status.ended_utc),
    )


def _judge(status: RunStatus) -> tuple[RunState, str, str]:
    if not status.over:
        return (RunState.STARTING if status.state == "starting" else RunState.RUNNING), "", ""
    verdict = status.verdict
    if status.reason == "lease_expired":
        return RunState.STOPPED, "node", verdict.text  # it saved nothing on the way out, but it did not fail either
    return _STATES[verdict.outcome], "" if verdict.fault == "none" else verdict.fault, verdict.text


def _progress(progress: run_records.Progress) -> Progress:
    return Progress(
        step=progress.step or 0,
        samples=progress.samples or 0,
        tokens=progress.tokens or 0,
        loss=progress.loss or 0.0,
        flops=progress.flops or 0.0,
        parameters=progress.parameters or 0,
        reported_utc=datetime.fromisoformat(progress.utc),
    )


def _moment(text: str) -> datetime | None:
    return datetime.fromisoformat(text).astimezone(UTC) if text else None
