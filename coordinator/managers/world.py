"""What the managers share beside the database: clocks, settings, and what is true only while the process lives."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from heliotrope.foundation.clock import Clock

from ..config import CoordinatorConfig
from ..forecasts.site import SiteForecast
from ..state.model import Job


@dataclass
class Presence:
    """A connected node, as its last heartbeat showed it."""

    instance_id: str
    power_w: float | None = None  # unknown, never 0
    power_estimated: bool = False
    job_power_w: dict[str, float] = field(default_factory=dict)
    disk_free_bytes: int = 0


@dataclass
class Transferring:
    """A transfer as it goes."""

    done_bytes: int
    total_bytes: int
    rate_bytes_per_s: float
    left_s: float


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
    # (job, node) pairs that failed lately, until when (monotonic): the planner leaves them alone.
    refused_until_s: dict[tuple[str, str], float] = field(default_factory=dict)
    refusals: dict[tuple[str, str], str] = field(default_factory=dict)  # why, of the same pairs

    # When a job's lease was last granted (boot time); a restarted coordinator counts from its own start, which is
    # the one full lease that it must wait before it may think a silent holder stopped.
    granted_at_s: dict[str, float] = field(default_factory=dict)
    started_at_s: float = 0.0

    def utc(self) -> datetime:
        return self.clock.utc()

    def lease_ended(self, job: Job) -> bool:
        """Whether the job's holder has surely stopped it by itself; never for disconnect = "keep"."""
        policy = job.spec.policy
        if policy.disconnect == "keep":
            return False
        granted_s = self.granted_at_s.get(job.job_id, self.started_at_s)
        return self.clock.boottime_s() > granted_s + policy.lease_s + self.config.saga.lease_margin_s

    def refuse_for_a_while(self, job_id: str, node_id: str, reason: str) -> None:
        until_s = self.clock.monotonic_s() + self.config.planner.placement_backoff_s
        self.refused_until_s[(job_id, node_id)] = until_s
        self.refusals[(job_id, node_id)] = reason

    def refusal(self, job_id: str, node_id: str) -> str:
        """Why the node is left alone for this job; "" if it is not."""
        return self.refusals.get((job_id, node_id), "it failed there") if self.refused(job_id, node_id) else ""

    def refused(self, job_id: str, node_id: str) -> bool:
        return self.refused_until_s.get((job_id, node_id), 0.0) > self.clock.monotonic_s()


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


def new_id(prefix: str) -> str:
    """A random name for an object, readable in logs: prefix and 50 bits."""
    alphabet = "0123456789abcdefghjkmnpqrstvwxyz"
    return f"{prefix}-" + "".join(secrets.choice(alphabet) for _ in range(10))
