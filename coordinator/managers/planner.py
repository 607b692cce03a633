"""The planner's loop: a snapshot of the fleet, the pure decisions, and what follows from them."""

from __future__ import annotations

from collections import Counter

import msgspec

from heliotrope.foundation.errors import Conflict
from heliotrope.foundation.jobspec import JobSpec
from heliotrope.foundation.model import JobState, MigrationKind

from ..decisions import explain, planner
from ..decisions.decision import Decision
from ..decisions.snapshot import ANY, JobView, LinkView, NodeView, Settings, SiteView, Snapshot
from ..forecasts.series import unix_s
from ..state.database import Transaction
from ..state.model import Job, Node, StoredDecision, Wanted, replace
from . import outlook
from .links import declared, learnt_bandwidth, link, typical_bandwidth
from .saga import Saga
from .world import World, new_id

HORIZON_S = 86_400.0

Situation = tuple[frozenset[str], frozenset[tuple[str, int]]]


class PlannerManager:
    """Decides at its interval, and at once when a job waits for a place."""

    def __init__(self, world: World, saga: Saga) -> None:
        self._world = world
        self._saga = saga
        self._next_s = 0.0
        self._seen: Situation | None = None

    def ensure(self, tx: Transaction) -> bool:
        now_s = self._world.clock.monotonic_s()
        waiting = self._placeable(tx)
        due = now_s >= self._next_s
        # A job that waits is looked at again at once when anything about the places changed, else at the interval.
        situation = (frozenset(job.job_id for job in waiting), self._places(tx)) if waiting else None
        if not due and situation in (None, self._seen):
            self._seen = situation
            return False
        self._seen = situation
        if due:
            self._next_s = now_s + self._world.config.planner.interval_s
        moving = self._movable(tx) if due and self._world.config.planner.enabled else []
        if not waiting and not moving:
            return False
        snapshot = self.snapshot(tx, [*waiting, *moving])
        acted = False
        for decision in planner.plan(snapshot).decisions:
            acted = self._act(tx, decision) or acted
        return acted

    def snapshot(self, tx: Transaction, jobs: list[Job]) -> Snapshot:
        """Everything the decisions may know, of this moment."""
        sites = tuple(self._site_view(tx, name) for name in sorted(self._world.sites))
        links = tuple(self._links(tx))
        dwell_s = self._world.config.planner.dwell_s
        return Snapshot(
            utc=self._world.utc(),
            jobs=tuple(self._job_view(tx, job, links) for job in jobs),
            sites=sites,
            links=links,
            settings=Settings(dwell_s=dwell_s, horizon_s=self._horizon_s()),
        )

    # -- what is decided about

    def _placeable(self, tx: Transaction) -> list[Job]:
        now = self._world.utc()
        return [
            job
            for job in tx.jobs.all(ended=False)
            if job.state is JobState.PENDING
            and job.wanted is Wanted.RUN
            and (job.restart_after_utc is None or job.restart_after_utc <= now)
            and tx.migrations.open_of(job.job_id) is None
        ]

    def _movable(self, tx: Transaction) -> list[Job]:
        return [
            job
            for job in tx.jobs.all(ended=False)
            if job.state is JobState.RUNNING
            and job.wanted is Wanted.RUN
            and job.node_id in self._world.present
            and tx.migrations.open_of(job.job_id) is None
        ]

    def _places(self, tx: Transaction) -> frozenset[tuple[str, int]]:
        """(node, jobs on it) of every node that takes jobs."""
        used = _slots_used(tx)
        nodes = [node for node in tx.nodes.all() if node.node_id in self._world.present and not node.draining]
        return frozenset((node.node_id, used[node.node_id]) for node in nodes)

    # -- the snapshot's parts

    def _horizon_s(self) -> float:
        """A day of the traces, in real seconds: gains beyond it are anybody's guess."""
        return HORIZON_S / self._world.config.trace.scale

    def _site_view(self, tx: Transaction, name: str) -> SiteView:
        forecast = self._world.sites[name]
        outlook = forecast.outlook(self._world.utc(), self._horizon_s())
        used = _slots_used(tx)
        nodes = [self._node_view(node, used) for node in tx.nodes.all() if node.site == name]
        return SiteView(
            name=name,
            nodes=tuple(nodes),
            intensity_g_per_kwh=outlook.intensity_g_per_kwh,
            nonrenewable_ratio=outlook.nonrenewable_ratio,
            nonrenewable_profile=outlook.profile_ratio,
            profile_step_s=outlook.profile_step_s,
            window_remaining_s=outlook.window_remaining_s,
            next_window_s=outlook.next_window_s,
            window_p05_s=outlook.window_p05_s,
            window_longest_s=outlook.window_longest_s,
            pue=forecast.config.pue,
            note=outlook.note,
        )

    def _node_view(self, node: Node, used: Counter[str]) -> NodeView:
        inventory = node.inventory
        there = node.node_id in self._world.present and not node.draining and not node.forgotten
        models = sorted({gpu.model for gpu in inventory.gpus})
        return NodeView(
            node=node.node_id,
            schedulable=there,
            slots_free=max(inventory.slot_count - used[node.node_id], 0),
            gpu_free=max(len(inventory.gpus) - used[f"gpu:{node.node_id}"], 0),
            gpu_model="".join(models[:1]),
            idle_power_w=inventory.idle_w,
        )

    def _job_view(self, tx: Transaction, job: Job, links: tuple[LinkView, ...]) -> JobView:
        now = self._world.utc()
        policy = job.spec.policy
        copies = tx.jobs.copies(job.job_id)
        state_bytes = copies[0].checkpoint.state_bytes if copies else 0
        node = tx.nodes.find(job.node_id) if job.node_id else None
        site = job.site if job.node_id else (self._site_of(tx, copies[0].node_id) if copies else "")
        since_move_s = None if job.last_move_utc is None else (now - job.last_move_utc).total_seconds()
        day_ago = unix_s(now) - HORIZON_S
        moves = [m for m in tx.migrations.all(job_id=job.job_id) if m.kind is MigrationKind.MOVE and m.standstill_s]
        presence = self._world.present.get(job.node_id)
        refused = {n.site for n in tx.nodes.all() if self._world.refused(job.job_id, n.node_id)}
        save_s = outlook.save_s(self._world, job)
        held = [copy.checkpoint for copy in copies if copy.node_id == job.node_id]
        expected = outlook.expected_of(self._world, tx, job, held, typical_bandwidth(links, site))
        return JobView(
            job_id=job.job_id,
            name=job.spec.name,
            state=job.state.value,
            site=site,
            node=job.node_id,
            state_bytes=float(state_bytes),
            wire_bytes=expected.standstill_wire_bytes if expected else None,
            move_wire_bytes=expected.wire_bytes if expected else None,
            save_s=save_s,
            load_s=outlook.load_s(self._world, job),
            downtime_s=save_s,
            alpha=policy.alpha,
            power_w=presence.job_power_w.get(job.job_id, 0.0) if presence else 0.0,
            since_move_s=since_move_s,
            moves_count=sum(unix_s(m.steps[0].entered_utc) > day_ago for m in moves),
            sites_allowed=policy.sites_allowed,
            sites_preferred=policy.sites_preferred,
            sites_forbidden=tuple(sorted({*policy.sites_forbidden, *(refused - {site})})),
            movable=policy.movable,
            has_checkpoint=bool(copies),
            must_leave=node is not None and node.draining,
            gpu_count=job.spec.resources.gpu_count,
            gpu_model=job.spec.resources.gpu_model or job.gpu_model,
            priority=policy.priority,
        )

    def _site_of(self, tx: Transaction, node_id: str) -> str:
        node = tx.nodes.find(node_id)
        return node.site if node else ""

    def _links(self, tx: Transaction) -> list[LinkView]:
        settings = self._world.config.planner
        links = [
            LinkView(
                source=ANY,
                destination=ANY,
                bandwidth_bytes_per_s=settings.default_bandwidth_bytes_per_s,
                e_net_j_per_byte=settings.default_energy_j_per_byte,
            )
        ]
        names = sorted(self._world.sites)
        for pair in [(a, b) for a in names for b in names if a != b]:
            if declared(self._world.config, *pair) or learnt_bandwidth(tx, *pair):
                links.append(link(tx, self._world.config, *pair))
        return links

    # -- what follows

    def _act(self, tx: Transaction, decision: Decision) -> bool:
        stored = self._store(tx, decision)
        job = tx.jobs.get(decision.job_id)
        if decision.action not in ("place", "move"):
            if job.state is JobState.PENDING and job.message != decision.reason:
                tx.jobs.put(replace(job, message=decision.reason))
            return False
        kind = MigrationKind.PLACE if decision.action == "place" else MigrationKind.MOVE
        node = tx.nodes.get(decision.destination_node)
        cause = "planner" if kind is MigrationKind.MOVE or job.epoch == 0 else "restart"
        if job.node_id and tx.nodes.get(job.node_id).draining:
            cause = "drain"
        try:
            self._saga.begin(tx, kind, job, node, cause=cause, decision_id=stored.decision_id)
        except Conflict:
            return False
        return True

    def _store(self, tx: Transaction, decision: Decision) -> StoredDecision:
        """A decision that only repeats the last one (same action, same reason to stay) is counted, not stored again."""
        now = self._world.utc()
        last = tx.decisions.latest(decision.job_id)
        record = StoredDecision(
            decision_id=new_id("d"),
            utc=now,
            job_id=decision.job_id,
            job_name=decision.job_name,
            action=decision.action,
            source_site=decision.source_site,
            destination_site=decision.destination_site,
            binding=decision.binding,
            reason=decision.reason,
            record_json=msgspec.json.encode(decision).decode(),
            text=explain.render(decision),
            last_utc=now,
        )
        same = last is not None and (last.action, last.binding, last.source_site) == (
            record.action,
            record.binding,
            record.source_site,
        )
        if last is not None and same and decision.action not in ("place", "move"):
            record = replace(record, decision_id=last.decision_id, utc=last.utc, repeat_count=last.repeat_count + 1)
        tx.decisions.put(record)
        return record


def _slots_used(tx: Transaction) -> Counter[str]:
    """Jobs per node, held or on their way there; GPUs under "gpu:NODE"."""
    used: Counter[str] = Counter()
    for job in tx.jobs.all(ended=False):
        migration = tx.migrations.open_of(job.job_id)
        holders = {job.node_id} | ({migration.destination_node} if migration else set())
        for node_id in holders - {""}:
            used[node_id] += 1
            used[f"gpu:{node_id}"] += _gpus(job.spec)
    return used


def _gpus(spec: JobSpec) -> int:
    return spec.resources.gpu_count
