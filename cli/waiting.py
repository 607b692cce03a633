"""Waiting for what was asked for: ask again until it is so, through a coordinator's restart, at most so long."""

from __future__ import annotations

import time
from collections.abc import Callable

from heliotrope.foundation.clock import Clock, SystemClock
from heliotrope.foundation.errors import DeadlineExceeded, JobFailed, Unreachable

from .messages import Record

FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 2.0
RESTART_PATIENCE_S = 60.0

JOB_ENDED = ("FINISHED", "FAILED")
MIGRATION_ENDED = ("COMMITTED", "ABORTED", "RECOVERED", "FAILED")


def until(
    ask: Callable[[], Record],
    done: Callable[[Record], bool],
    what: str,
    *,
    timeout_s: float | None = None,
    clock: Clock | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> Record:
    """The first answer that is ``done``. ``what`` completes "cannot wait for ...".

    Raises DeadlineExceeded after ``timeout_s``, Unreachable when the coordinator stays away for RESTART_PATIENCE_S, and
    at once whatever else ``ask`` raises.
    """
    clock = clock or SystemClock()
    begin_s = heard_s = clock.monotonic_s()
    pause_s = FIRST_PAUSE_S
    while True:
        try:
            answer = ask()
            heard_s = clock.monotonic_s()
            if done(answer):
                return answer
        except Unreachable:
            if clock.monotonic_s() - heard_s > RESTART_PATIENCE_S:
                raise
        waited_s = clock.monotonic_s() - begin_s
        if timeout_s is not None and waited_s >= timeout_s:
            raise DeadlineExceeded(f"cannot wait longer for {what}: {timeout_s:g} s are over; it goes on without you")
        sleep(pause_s if timeout_s is None else min(pause_s, timeout_s - waited_s))
        pause_s = min(pause_s * 1.5, LONGEST_PAUSE_S)


def check_finished(job: Record) -> None:
    """Raises JobFailed, saying how and whose fault it is, unless the ended job finished."""
    if job["state"] == "FINISHED":
        return
    details = [job["message"] or "no message"]
    if job["exit_code"] is not None:
        details.append(f"exit code {job['exit_code']}")
    if job["fault"] not in ("", "none"):
        details.append(f"fault: {job['fault']}")
    raise JobFailed(
        f"job {job['spec']['name']} ({job['job_id']}) failed: {', '.join(details)}; "
        f"see: heliotrope job logs {job['job_id']}"
    )
