"""The book of losses: what ended with a node, from what the job went on, and how long it stood.

A loss is opened when a node is taken for lost, closed when the job makes progress again, and kept for good. Energy is
not in it: batches of the lost run may come days later, so reports look into the ledger when they are made.
"""

from __future__ import annotations

import logging
from datetime import datetime, timedelta

from heliotrope.foundation.model import Checkpoint, JobReport, Progress

from ..state.database import Transaction
from ..state.model import Job, Loss, replace
from .world import World

log = logging.getLogger("heliotrope.coordinator.losses")


class LossBook:
    """Opens and closes losses in the caller's transaction."""

    def __init__(self, world: World) -> None:
        self._world = world

    def open(self, tx: Transaction, job: Job, cause: str) -> None:
        """The job's run of this epoch is gone; again changes nothing."""
        if tx.losses.find(job.job_id, job.epoch) is not None:
            return
        log.warning("job %s: its run of epoch %d is lost: %s", job.job_id, job.epoch, cause)
        tx.losses.put(
            Loss(
                job_id=job.job_id,
                epoch=job.epoch,
                node_id=job.node_id,
                site=job.site,
                cause=cause,
                lost_utc=self._world.utc(),
                last_seen_utc=self._last_seen(tx, job),
                last_step=_step(job.progress),
            )
        )

    def close(self, tx: Transaction, job: Job, checkpoint: Checkpoint | None, running_utc: datetime) -> None:
        """The job runs again under a newer epoch, from ``checkpoint`` (None: from its beginning)."""
        for loss in tx.losses.of_job(job.job_id):
            if loss.resumed_utc is None and loss.epoch < job.epoch:
                closed = replace(loss, outcome="recovered" if checkpoint else "restarted", checkpoint=checkpoint)
                place = {"resumed_node": job.node_id, "resumed_epoch": job.epoch}
                tx.losses.put(replace(closed, resumed_utc=running_utc, **place))

    def returned(self, tx: Transaction, job: Job) -> None:
        """The run that was taken for lost goes on: its node came back before anything else was started."""
        loss = tx.losses.find(job.job_id, job.epoch)
        if loss is not None and loss.resumed_utc is None:
            place = {"resumed_node": job.node_id, "resumed_epoch": job.epoch}
            tx.losses.put(replace(loss, outcome="returned", resumed_utc=self._world.utc(), **place))

    def learn(self, tx: Transaction, report: JobReport, node_id: str) -> None:
        """A lost run's node came back and says how far it got before it stopped."""
        loss = tx.losses.find(report.job_id, report.epoch)
        step = _step(report.progress)
        if loss is None or loss.node_id != node_id or loss.outcome == "returned" or step is None:
            return
        if loss.last_step is None or step > loss.last_step:
            seen_utc = self._on_our_clock(tx, node_id, report.progress.reported_utc)
            last_seen_utc = max(loss.last_seen_utc, seen_utc) if seen_utc is not None else loss.last_seen_utc
            tx.losses.put(replace(loss, last_step=step, last_seen_utc=last_seen_utc))

    def _last_seen(self, tx: Transaction, job: Job) -> datetime:
        """The node's last heartbeat, or the job's last word; the database may know neither."""
        node = tx.nodes.find(job.node_id)
        run = tx.jobs.run(job.job_id, job.epoch)
        presence = self._world.present.get(job.node_id)
        moments = [
            presence.heard_utc if presence else None,
            node.last_seen_utc if node else None,
            self._on_our_clock(tx, job.node_id, job.progress.reported_utc),
            run.started_utc if run else None,
        ]
        return max((one for one in moments if one is not None), default=self._world.utc())

    def _on_our_clock(self, tx: Transaction, node_id: str, moment: datetime | None) -> datetime | None:
        node = tx.nodes.find(node_id)
        return moment - timedelta(seconds=node.clock_skew_s if node else 0.0) if moment is not None else None


def _step(progress: Progress) -> int | None:
    return progress.step if progress.reported_utc is not None else None
