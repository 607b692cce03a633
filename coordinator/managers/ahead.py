"""Staging ahead: the base of a job that will likely leave soon goes to its likeliest next site before that is decided.

What is sent is a replica with another reason: here it is only decided whether one is wanted, where and until when
(:mod:`..decisions.ahead`), in a transaction that writes the replica and opens its books. Transfers, garbage and crashes
are the replication's (:mod:`.replication`), as of every replica.
"""

from __future__ import annotations

import logging
from collections.abc import Generator
from datetime import datetime, timedelta
from typing import Protocol

from heliotrope.foundation.model import JobState

from ..decisions import ahead
from ..decisions.ahead import NextSite
from ..decisions.quantities import percent, seconds, size
from ..decisions.snapshot import Snapshot
from ..state.database import Transaction
from ..state.model import Job, Node, Replica, ReplicaReason, StagedAhead, replace
from . import outlook, replica_places
from .ahead_books import AheadBooks
from .links import link
from .world import World, new_id

log = logging.getLogger("heliotrope.coordinator.ahead")


class Foresight(Protocol):
    """Who knows the fleet as the planner does."""

    def foresight(self, tx: Transaction) -> Snapshot:
        """Of this moment, with every job that may be moved."""
        ...


class AheadManager:
    """Looks ahead at its interval."""

    def __init__(self, world: World, planner: Foresight) -> None:
        self._world = world
        self._planner = planner
        self._books = AheadBooks(world)
        self._rules = world.config.stage_ahead
        self._next_s = 0.0
        self._looking: Generator[None, None, dict[str, NextSite]] | None = None

    def ensure(self, tx: Transaction) -> bool:
        """One look a pass, so that the state thread is never held up for all of them."""
        if self._looking is None:
            self._begin(tx)
        if self._looking is not None:
            looking, self._looking = self._looking, None  # one that raises is over
            try:
                next(looking)
            except StopIteration as end:
                self._act(tx, end.value)
            else:
                self._looking = looking
        return False

    @property
    def is_looking(self) -> bool:
        return self._looking is not None

    def _begin(self, tx: Transaction) -> None:
        now_s = self._world.clock.monotonic_s()
        if now_s < self._next_s:
            return
        self._next_s = now_s + self._rules.interval_s
        wanting = {job.job_id for job in tx.jobs.all(ended=False) if self._wants(job)}
        for one in tx.replicas.all():
            job = tx.jobs.find(one.job_id) if one.reason is ReplicaReason.AHEAD else None
            if job is not None and not job.state.ended and not self._wants(job):
                self._let_go(tx, one)
        if wanting:
            self._looking = ahead.look_by_look(self._planner.foresight(tx), self._rules.within_s)

    def _act(self, tx: Transaction, found: dict[str, NextSite]) -> None:
        """On what was seen, for jobs that are still as they were when it began."""
        for job_id, going in sorted(found.items()):
            job = tx.jobs.find(job_id)
            if job is None or not self._wants(job) or job.state is not JobState.RUNNING or going.site == job.site:
                continue
            if tx.migrations.open_of(job_id) is None:
                self._consider(tx, job, going)

    def _wants(self, job: Job) -> bool:
        asked = job.spec.policy.stage_ahead
        allowed = {"none": (), "asking": ("on",), "all": ("on", "auto")}[self._rules.jobs]
        return self._world.config.planner.enabled and asked in allowed and job.spec.policy.movable

    def _consider(self, tx: Transaction, job: Job, going: NextSite) -> None:
        """One copy at a time: the one there is waited for, or makes room for a likelier one."""
        if going.share_ratio < self._rules.least_share_ratio:
            return
        staged = [one for one in tx.replicas.of_job(job.job_id) if one.reason is ReplicaReason.AHEAD]
        for one in staged:
            if one.site == going.site:
                tx.replicas.put(replace(one, expires_utc=self._expiry(going)))
            else:
                self._let_go(tx, one)
        if staged or self._has_base(tx, job, going.site):
            return
        if self._rules.sites and going.site not in self._rules.sites:
            return
        node = replica_places.choose_at(self._world, tx, job, going.site, going.node)
        if node is not None:
            self._stage(tx, job, going, node)

    def _stage(self, tx: Transaction, job: Job, going: NextSite, node: Node) -> None:
        newest = next((one.checkpoint for one in tx.jobs.copies(job.job_id) if one.node_id == job.node_id), None)
        if newest is None:
            return
        model = outlook.model_of(job, newest)
        age_s = outlook.age_s(self._world, tx, newest, job.node_id) + going.leave_s
        saved_ratio = ahead.saved_ratio(model, age_s)
        wire_bytes = round(model.full_bytes(newest.state_bytes))
        if saved_ratio < self._rules.least_saved_ratio or not self._affords(tx, job, wire_bytes):
            return
        if rate_limit(self._world, tx, job, node.site, wire_bytes) is None:
            return
        now = self._world.utc()
        reason = (
            f"leaves {job.site} in {seconds(going.leave_s)}, for {going.site} in {percent(going.share_ratio)} of the "
            f"time after; saves {percent(saved_ratio)} of {size(wire_bytes)}"
        )
        tx.replicas.put(
            Replica(
                job_id=job.job_id,
                node_id=node.node_id,
                site=node.site,
                reason=ReplicaReason.AHEAD,
                expires_utc=self._expiry(going),
            )
        )
        tx.staged_ahead.put(
            StagedAhead(
                ahead_id=new_id("a"),
                job_id=job.job_id,
                node_id=node.node_id,
                site=node.site,
                source_node=job.node_id,
                source_site=job.site,
                planned_utc=now,
                leave_utc=now + timedelta(seconds=going.leave_s),
                reason=reason,
                expected_wire_bytes=wire_bytes,
            )
        )
        log.info("job %s: staged ahead at node %s: %s", job.job_id, node.node_id, reason)
        tx.after_commit(self._world.changed)

    def _affords(self, tx: Transaction, job: Job, wire_bytes: int) -> bool:
        budget_bytes = job.spec.policy.stage_ahead_bytes_per_day or self._rules.bytes_per_day
        return self._books.spent_bytes(tx, job) + wire_bytes <= budget_bytes

    def _has_base(self, tx: Transaction, job: Job, site: str) -> bool:
        """A replica, or what a former stay left: a move there is cheap already."""
        there = {one.node_id for one in tx.replicas.of_job(job.job_id)}
        there |= {copy.node_id for copy in tx.jobs.copies(job.job_id)}
        nodes = (tx.nodes.find(node_id) for node_id in there - {job.node_id})
        return any(node is not None and node.site == site and self._world.in_service(node) for node in nodes)

    def _expiry(self, going: NextSite) -> datetime:
        return self._world.utc() + timedelta(seconds=going.leave_s + self._rules.keep_s)

    def _let_go(self, tx: Transaction, one: Replica) -> None:
        """No move is waited for any more; the replication drops it as soon as nothing is in the way."""
        tx.replicas.put(replace(one, expires_utc=self._world.utc()))


def rate_limit(world: World, tx: Transaction, job: Job, site: str, wire_bytes: float) -> int | None:
    """Under which limit [bytes/s] (0: none) a copy may be sent from the job's site now; None: it may not."""
    forecast = world.sites.get(job.site)
    return ahead.rate_now(
        forecast.window_remaining_s(world.utc()) if forecast else 0.0,
        wire_bytes,
        link(tx, world.config, job.site, site).bandwidth_bytes_per_s,
        green_rate=world.config.replication.rate_limit_bytes_per_s,
        dark_rate=world.config.stage_ahead.rate_limit_bytes_per_s,
    )
