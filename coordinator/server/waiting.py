"""Why a job is not placed, out of the newest decision about it."""

from __future__ import annotations

import msgspec

from heliotrope.foundation.model import JobState
from heliotrope.v1 import operator_pb2 as pb

from ..decisions import explain
from ..decisions.decision import Decision
from ..state.database import Transaction
from ..state.model import Job, StoredDecision

SITES_SHOWN = 4


def why(tx: Transaction, job: Job, *, brief: bool) -> pb.Waiting | None:
    """None for a job that does not wait for a place, or that nothing was decided about since it does."""
    if job.state is not JobState.PENDING and not job.is_parked:
        return None
    stored = tx.decisions.latest(job.job_id)
    if stored is None or stored.action != "none":
        return None
    message = pb.Waiting(decision_id=stored.decision_id, binding=stored.binding, reason=stored.reason)
    message.decided.FromDatetime(stored.last_utc or stored.utc)
    if not brief:
        message.sites.extend(_sites(stored))
    return message


def _sites(stored: StoredDecision) -> list[pb.SiteVerdict]:
    decision = msgspec.json.decode(stored.record_json, type=Decision)
    return [
        pb.SiteVerdict(site=one.site, binding=one.binding, reason=explain.describe(decision, one))
        for one in decision.rejected[:SITES_SHOWN]
    ]
