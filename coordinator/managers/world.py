"""What the managers share beside the database: clocks, settings, and what is true only while the process lives."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from heliotrope.foundation.clock import Clock
from heliotrope.foundation.model import Checkpoint, PowerCap

from ..config import CoordinatorConfig
from ..forecasts.site import SiteForecast
from ..metrics.meters import Meters
from ..state.model import Job, Node


@dataclass
class Presence:
    """A connected node, as its last heartbeat showed it."""

    session_id: str  # of the stream; a node may have a newer one before the end of the older is known
    power_w: float | None = None  # unknown, never 0
    power_estimated: bool = False
    job_power_w: dict[str, float] = field(default_factory=dict)
    disk_free_bytes: int = 0
    power_caps: tuple[PowerCap, ...] = ()
    heard_utc: datetime | None = None  # its last heartbeat: a session may outlive its node by as long as silence takes


@dataclass(frozen=True)
class Boot:
    """One boot of a node, and when it was by the coordinator's clock."""

    boot_id: str
    booted_utc: datetime


@dataclass
class Transferring:
    """A transfer as it goes."""

    done_bytes: int
    total_bytes: int
    rate_bytes_per_s: float
    left_s: float


@dataclass
class Startup:
    """What a coordinator does not know yet when it starts: its database may be a backup of long ago."""

    job_ids: frozenset[str] = frozenset()  # not ended when it started: may run elsewhere than the database says
    awaited_nodes: set[str] = field(default_factory=set)  # known, not forgotten, and not heard of since the start
    restored: bool = False  # an agent was told of more hand-overs than this database holds
    handover_count: int = 0  # the highest that an agent was told of


@dataclass
class World:
    """Built once at start; touched by the state thread only."""

    clock: Clock
    config: CoordinatorConfig
    sites: dict[str, SiteForecast]
    sign_ticket: Callable[[TicketRequest], bytes]
    wake: Callable[[str], None]  # tell a node's session, after the commit, that orders wait
    changed: Callable[[], None] = lambda: None  # tell the watchers
    present: dict[str, Presence] = field(default_factory=dict)
    transferring: dict[str, Transferring] = field(default_factory=dict)
    # (job, node) -> checkpoints there that are damaged, as the node itself said last; its hello says it anew.
    damaged: dict[tuple[str, str], tuple[Checkpoint, ...]] = field(default_factory=dict)
    # (job, node) pairs that failed lately, until when (monotonic): the planner leaves them alone.
    refused_until_s: dict[tuple[str, str], float] = field(default_factory=dict)
    refused_because: dict[tuple[str, str], str] = field(default_factory=dict)

    # When a job's lease was last granted (boot time); a restarted coordinator counts from its own start, which is
    # the one full lease that it must wait before it may think a silent holder stopped.
    granted_at_s: dict[str, float] = field(default_factory=dict)
    started_at_s: float = 0.0
    # When a node's session ended (boot time); a node that never came since the start has been away since then.
    absent_since_s: dict[str, float] = field(default_factory=dict)
    startup: Startup = field(default_factory=Startup)
    meters: Meters = field(default_factory=Meters)  # any thread
    # Of each node's newest hello: what dates energy of a node whose own clock is wrong.
    boots: dict[str, Boot] = field(default_factory=dict)

    def utc(self) -> datetime:
        return self.clock.utc()

    def lease_ended(self, job: Job) -> bool:
        """Whether the job's holder has surely stopped it by itself; never for disconnect = "keep"."""
        policy = job.spec.policy
        if policy.disconnect == "keep":
            return False
        return self._past_the_lease(job, self.granted_at_s.get(job.job_id, self.started_at_s))

    def given_up(self, job: Job, node_id: str) -> bool:
        """Whether the job is not to wait for what lies at a node that is away.

        With disconnect = "stop" that is after a lease without it; with "keep" never, until an operator forgets it.
        """
        if node_id in self.present or job.spec.policy.disconnect == "keep":
            return False
        if node_id == job.node_id and self.lease_ended(job):
            return True
        return self._past_the_lease(job, self.absent_since_s.get(node_id, self.started_at_s))

    def settled(self, job: Job) -> bool:
        """Whether this database's word on the job may be acted upon.

        Right after a start it may be an old backup, and the job may run where it does not say: it is enough that every
        node that it knows said hello and none knew more. Without that, "stop" waits for one full lease, and "keep" for
        the nodes, for as long as it takes if the database was restored.
        """
        startup = self.startup
        if job.job_id not in startup.job_ids or not (startup.awaited_nodes or startup.restored):
            return True
        if job.spec.policy.disconnect == "stop":
            return self._past_the_lease(job, self.started_at_s)
        waited = self.clock.boottime_s() > self.started_at_s + self.config.saga.settle_s
        return waited and not (startup.restored and startup.awaited_nodes)

    def _past_the_lease(self, job: Job, since_s: float) -> bool:
        return self.clock.boottime_s() > since_s + job.spec.policy.lease_s + self.config.saga.lease_margin_s

    def in_service(self, node: Node) -> bool:
        """Whether the node may be given jobs."""
        return node.node_id in self.present and not node.draining and not node.forgotten

    def out_of_service_because(self, node: Node) -> str:
        """Completes "node X ...", with the remedy."""
        if node.forgotten:
            return f"was forgotten; heliotrope node readmit {node.node_id} takes it back"
        if node.draining:
            because = f" ({node.drain_message})" if node.drain_message else ""
            return f"is being drained{because}; heliotrope node undrain {node.node_id} takes it back into service"
        return "is not connected; start its agent"

    def refuse_for_a_while(self, job_id: str, node_id: str, message: str) -> None:
        until_s = self.clock.monotonic_s() + self.config.planner.placement_backoff_s
        self.refused_until_s[(job_id, node_id)] = until_s
        self.refused_because[(job_id, node_id)] = message

    def refusals(self, job_id: str) -> dict[str, str]:
        """Node -> why the job is not given to it for a while."""
        now_s = self.clock.monotonic_s()
        return {
            node_id: self.refused_because[(job, node_id)]
            for (job, node_id), until_s in self.refused_until_s.items()
            if job == job_id and until_s > now_s
        }


@dataclass(frozen=True)
class TicketRequest:
    """What a transfer ticket is to allow."""

    job_id: str
    migration_id: str
    epoch: int
    source_node: str
    destination_node: str
    byte_limit: int
    lifetime_s: float
    standstill: bool = False


def new_id(prefix: str) -> str:
    """A random name for an object, readable in logs: prefix and 50 bits."""
    alphabet = "0123456789abcdefghjkmnpqrstvwxyz"
    return f"{prefix}-" + "".join(secrets.choice(alphabet) for _ in range(10))
