"""The planner's loop: a snapshot of the fleet, the pure decisions, and what follows from them."""

from __future__ import annotations

from collections import Counter
from functools import partial
from pathlib import PurePosixPath

import msgspec

from heliotrope.foundation.errors import Conflict
from heliotrope.foundation.jobspec import JobSpec
from heliotrope.foundation.model import DrainMode, JobState, MigrationKind

from ..decisions import explain, planner, unknowns
from ..decisions.decision import Decision
from ..decisions.snapshot import (
    ANY,
    JobView,
    LinkView,
    NodeView,
    Settings,
    SiteView,
    Snapshot,
    TransferView,
    WindowView,
)
from ..forecasts.series import unix_s
from ..state.database import Transaction
from ..state.model import Job, Node, StoredDecision, Wanted, replace
from . import draining, orders, outlook
from .drains import CAUSE
from .links import declared, learnt_bandwidth, link, typical_bandwidth
from .saga import Saga
from .steps import BEFORE_THE_LEASE_PASSES
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
        waiting, leaving = self._placeable(tx), self._leaving(tx)
        pressing = frozenset(job.job_id for job in [*waiting, *leaving])
        due = now_s >= self._next_s
        # A job that waits is looked at again at once when anything about the places changed, else at the interval.
        situation = (pressing, self._places(tx)) if pressing else None
        if not due and situation in (None, self._seen):
            self._seen = situation
            return False
        self._seen = situation
        if due:
            self._next_s = now_s + self._world.config.planner.interval_s
        # Emptying a drained node is an operator's wish: it is done also where nothing else is moved.
        following = self._following(tx) if due and self._world.config.planner.enabled else []
        if not (waiting or leaving or following):
            return False
        snapshot = self.snapshot(tx, [*waiting, *leaving, *following])
        acted = False
        for decision in planner.plan(snapshot).decisions:
            acted = self._act(tx, unknowns.explained(decision, snapshot)) or acted
            tx.after_commit(partial(self._world.meters.decided, decision.action, decision.binding))
        self._world.meters.planned(self._world.clock.monotonic_s() - now_s)
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
            transfers=self._transfers(tx),
            settings=Settings(
                dwell_s=dwell_s,
                horizon_s=self._horizon_s(),
                turns_per_link=self._world.config.planner.drain_transfers_per_link,
            ),
        )

    def foresight(self, tx: Transaction) -> Snapshot:
        """Of this moment, with every job that follows the sun."""
        return self.snapshot(tx, self._following(tx))

    # -- what is decided about

    def _placeable(self, tx: Transaction) -> list[Job]:
        now = self._world.utc()
        return [
            job
            for job in tx.jobs.all(ended=False)
            if ((job.state is JobState.PENDING and job.wanted is Wanted.RUN) or job.is_parked)
            and (job.restart_after_utc is None or job.restart_after_utc <= now)
            and self._world.settled(job)
            and tx.migrations.open_of(job.job_id) is None
            and not self._tied(tx, job)
        ]

    def _tied(self, tx: Transaction, job: Job) -> bool:
        """Whether no place would do it any good, whatever is free; its message says why."""
        if job.is_parked and not job.spec.policy.movable:
            why = "its policy.movable is false: it waits for that node"
        else:
            try:
                orders.newest_copy(self._world, tx, job)
            except Conflict as error:
                why = str(error)
            else:
                return False
        self._say(tx, job, why)
        return True

    def _leaving(self, tx: Transaction) -> list[Job]:
        """Jobs to be moved off drained nodes."""
        drained = {node.node_id: node.wish for node in tx.nodes.all() if node.draining}
        now = self._world.utc()
        moved = {
            node_id
            for node_id, drain in drained.items()
            if drain is not None and draining.wish(drain.mode, drain.deadline_utc, now) is DrainMode.MIGRATE
        }
        return [job for job in self._free_to_move(tx) if job.node_id in moved and not job.drained_from]

    def _following(self, tx: Transaction) -> list[Job]:
        """Jobs that follow the sun: those of drained nodes are moved by the drain, or not at all."""
        drained = {node.node_id for node in tx.nodes.all() if node.draining}
        return [job for job in self._free_to_move(tx) if job.node_id not in drained]

    def _free_to_move(self, tx: Transaction) -> list[Job]:
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
        nodes = [node for node in tx.nodes.all() if self._world.in_service(node)]
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
            windows=tuple(WindowView(start_s=start_s, end_s=end_s) for start_s, end_s in outlook.windows_s),
        )

    def _node_view(self, node: Node, used: Counter[str]) -> NodeView:
        inventory = node.inventory
        models = sorted({gpu.model for gpu in inventory.gpus})
        return NodeView(
            node=node.node_id,
            schedulable=self._world.in_service(node),
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
        drain = node.wish if node else None
        leave_by_s = None
        if drain is not None and drain.deadline_utc is not None:
            leave_by_s = max((drain.deadline_utc - now).total_seconds(), 0.0)
        save_s = outlook.save_s(self._world, job)
        held = [copy.checkpoint for copy in copies if copy.node_id == job.node_id]
        expected = outlook.expected_of(self._world, tx, job, held, typical_bandwidth(links, site))
        return JobView(
            job_id=job.job_id,
            name=job.spec.name,
            state=JobState.PENDING.value if job.is_parked else job.state.value,
            site=site,
            node=job.node_id,
            state_bytes=float(state_bytes),
            wire_bytes=expected.standstill_wire_bytes if expected else None,
            move_wire_bytes=expected.wire_bytes if expected else None,
            held=outlook.held_views(self._world, tx, job) if job.node_id else (),
            save_s=save_s,
            load_s=outlook.load_s(self._world, job),
            downtime_s=save_s,
            alpha=policy.alpha,
            power_w=presence.job_power_w.get(job.job_id, 0.0) if presence else 0.0,
            since_move_s=since_move_s,
            moves_count=sum(unix_s(m.steps[0].entered_utc) > day_ago for m in moves),
            sites_allowed=policy.sites_allowed,
            sites_preferred=policy.sites_preferred,
            sites_forbidden=policy.sites_forbidden,
            movable=policy.movable,
            has_checkpoint=bool(copies),
            must_leave=drain is not None,
            leave_by_s=leave_by_s,
            takes_turns=drain is not None or job.is_parked,
            nodes_refused=self._refusals(tx, job),
            gpu_count=job.spec.resources.gpu_count,
            gpu_model=job.spec.resources.gpu_model or job.gpu_model,
            priority=policy.priority,
        )

    def _transfers(self, tx: Transaction) -> tuple[TransferView, ...]:
        """Checkpoints on their way; a first start has none to send."""
        return tuple(
            TransferView(source=one.source_site, destination=one.destination_site)
            for one in tx.migrations.open()
            if one.step in BEFORE_THE_LEASE_PASSES and one.source_site and one.destination_site
        )

    def _refusals(self, tx: Transaction, job: Job) -> dict[str, str]:
        """Nodes that cannot take the job, and why: what they declare says so, or they failed at it lately."""
        lacking = {node.node_id: _lacking(job, node) for node in tx.nodes.all() if node.node_id != job.node_id}
        declared = {node_id: reason for node_id, reason in lacking.items() if reason}
        return {**self._world.refusals(job.job_id), **declared}

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
            if job.state is JobState.PENDING or job.is_parked:
                self._say(tx, job, decision.reason)
            return False
        kind = MigrationKind.PLACE if decision.action == "place" else MigrationKind.MOVE
        node = tx.nodes.get(decision.destination_node)
        cause = "planner" if kind is MigrationKind.MOVE or job.epoch == 0 else "restart"
        if job.is_parked or (job.node_id and tx.nodes.get(job.node_id).draining):
            cause = CAUSE
        try:
            self._saga.begin(tx, kind, job, node, cause=cause, decision_id=stored.decision_id)
        except Conflict:
            return False
        return True

    @staticmethod
    def _say(tx: Transaction, job: Job, why: str) -> None:
        """Why the job waits, for its owner; of one that a drain stopped also how it was stopped."""
        runs = tx.jobs.runs(job.job_id) if job.is_parked else []
        message = "; ".join([*(run.end_reason for run in runs[-1:]), why])
        if job.message != message:
            tx.jobs.put(replace(job, message=message))

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


def _lacking(job: Job, node: Node) -> str:
    mounts = node.inventory.mounts
    path = next((one.path for one in job.spec.requires if mounts and not _is_below(one.path, mounts)), "")
    return f"requires {path}: not among the mounts that node {node.node_id} declares" if path else ""


def _is_below(path: str, mounts: tuple[str, ...]) -> bool:
    return any(PurePosixPath(path).is_relative_to(mount) for mount in mounts)


def _gpus(spec: JobSpec) -> int:
    return spec.resources.gpu_count
