"""Jobs, their leases and transfers, and power caps, as they stand when somebody scrapes."""

from __future__ import annotations

from collections import Counter
from datetime import datetime

from heliotrope.foundation.clock import Clock
from heliotrope.foundation.metrics import Samples
from heliotrope.foundation.model import JobReport, PowerCap, RunState

from ..held import HeldJobs
from ..runner import Runner
from ..transfer.server import TransferServer
from ..transfer.traffic import Traffic
from . import families as f
from .energy import LEAVE_S


def collect_jobs(samples: Samples, runner: Runner, held: HeldJobs, clock: Clock) -> None:
    """In the event loop, to which these belong."""
    now = clock.utc()
    reports = runner.reports()
    states: Counter[str] = Counter(_state(report) for report in reports)
    for state, count in states.items():
        samples.add(f.JOBS, count, state)
    for report in reports:
        if not has_left(report, now):
            _job(samples, report, held, now)
    for job_id, left_s in runner.leases_left_s().items():
        samples.add(f.JOB_LEASE, left_s, job_id)
        job = held.find(job_id)
        samples.add(f.JOB_LEASE_LENGTH, job.lease_s if job else None, job_id)


def has_left(report: JobReport, now: datetime) -> bool:
    """Whether the job's series end: it never ran here, or its run ended LEAVE_S ago."""
    if report.state is RunState.UNSPECIFIED:
        return True
    return report.ended_utc is not None and (now - report.ended_utc).total_seconds() > LEAVE_S


def _job(samples: Samples, report: JobReport, held: HeldJobs, now: datetime) -> None:
    job = held.find(report.job_id)
    if job is not None:
        samples.add(f.JOB_INFO, 1, report.job_id, job.spec.name)
    samples.add(f.JOB_STATE, 1, report.job_id, _state(report))
    if report.progress.reported_utc is not None:
        samples.add(f.JOB_STEP, report.progress.step, report.job_id)
    newest = max(report.checkpoints, key=lambda one: one.key, default=None)
    if newest is not None and newest.created_utc is not None:
        age_s = max(0.0, (now - newest.created_utc).total_seconds())
        samples.add(f.JOB_CHECKPOINT_AGE, age_s, report.job_id)


def _state(report: JobReport) -> str:
    return "HELD" if report.state is RunState.UNSPECIFIED else report.state.value


def collect_caps(samples: Samples, caps: tuple[PowerCap, ...], clock: Clock) -> None:
    """The power caps in force."""
    for cap in caps:
        samples.add(f.CAP, cap.requested_w, cap.device)
        samples.add(f.CAP_LIMIT, cap.enforced_w, cap.device)
        left_s = (cap.expires_utc - clock.utc()).total_seconds() if cap.expires_utc else None
        samples.add(f.CAP_LEFT, left_s, cap.device)
        samples.add(f.CAP_PROBLEM, bool(cap.problem), cap.device)


def collect_transfers(samples: Samples, traffic: Traffic, server: TransferServer) -> None:
    """What was fetched and sent, and each fetch that goes on."""
    totals, pulling = traffic.totals(), traffic.pulling()
    samples.add(f.RECEIVED_WIRE, totals.wire_bytes)
    for way in ("fetched", "reused", "resumed"):
        samples.add(f.RECEIVED_STATE, getattr(totals, f"{way}_bytes"), way)
    samples.add(f.RECEIVED_TIME, totals.network_s)
    samples.add(f.RECEIVED, totals.done_count, "done")
    samples.add(f.RECEIVED, totals.failed_count, "failed")
    samples.add(f.SENT, server.sent_bytes)
    samples.add(f.ACTIVE, len(pulling), "receive")
    samples.add(f.ACTIVE, server.sending_count, "send")
    # A job may have two on their way (its checkpoint, a replica): one series each, of the newest.
    for job_id, progress in {one.job_id: one.progress for one in pulling}.items():
        if progress is not None:
            samples.add(f.JOB_TRANSFER_DONE, progress.done_bytes, job_id)
            samples.add(f.JOB_TRANSFER_TOTAL, progress.total_bytes, job_id)
            samples.add(f.JOB_TRANSFER_RATE, progress.rate_bytes_per_s, job_id)
            samples.add(f.JOB_TRANSFER_RATIO, progress.ratio if progress.wire_bytes else None, job_id)
