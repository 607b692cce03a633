"""One scrape of the coordinator: the state thread is asked once, and answers from the database and the world."""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from heliotrope.foundation import ownfigures
from heliotrope.foundation.identity import Identity
from heliotrope.foundation.ledger import J_PER_KWH
from heliotrope.foundation.metrics import Samples
from heliotrope.foundation.model import JobState, MigrationStep

from ..engine import Engine
from ..managers.world import World
from ..server.sessions import Sessions
from ..state.database import Transaction
from ..state.model import Node
from . import families as f

ENGINE_S = 8.0  # below Prometheus' usual limit of a scrape: then it is told why
NODE_STATES = ("connected", "away", "draining", "forgotten")


class CoordinatorCollector:
    """Called by scrapes, in threads of their own."""

    def __init__(
        self, world: World, engine: Engine, sessions: Sessions, identity: Callable[[], Identity], state_dir: Path
    ) -> None:
        self._world = world
        self._engine = engine
        self._sessions = sessions
        self._identity = identity
        self._state_dir = state_dir

    def collect(self) -> Samples:
        """Raises TimeoutError when the state thread does not answer."""
        samples, identity = Samples(), self._identity()
        samples.add(f.QUEUE, self._engine.waiting_count)
        look = self._engine.submit(lambda tx: self._state(tx, samples), ensure=False)
        try:
            look.result(ENGINE_S)
        finally:
            look.cancel()  # what nobody waits for any more must not pile up before a busy thread
        samples.add(f.FLEET, 1, identity.name.fleet)
        samples.add(f.SESSIONS, len(self._sessions))
        ownfigures.collect(samples, "coordinator", identity, self._state_dir)
        samples.add(ownfigures.OWN_MEMORY, ownfigures.pss_bytes(os.getpid()), "coordinator")
        files = self._state_dir.glob("coordinator.sqlite*")
        samples.add(f.DATABASE, sum(path.stat().st_size for path in files) or None)
        return samples

    def _state(self, tx: Transaction, samples: Samples) -> None:
        self._nodes(tx, samples)
        self._jobs(tx, samples)
        steps = Counter(migration.step for migration in tx.migrations.open())
        for step in MigrationStep:
            if not step.ended:
                samples.add(f.MIGRATIONS_OPEN, steps[step], step.value)
        for name in self._world.sites:
            self._site(samples, name)

    def _nodes(self, tx: Transaction, samples: Samples) -> None:
        nodes = tx.nodes.all()
        found = Counter((node.site, self._node_state(node)) for node in nodes)
        sites = sorted({*self._world.sites, *(node.site for node in nodes)})
        for site in sites:
            for state in NODE_STATES:
                samples.add(f.NODES, found[site, state], site, state)
        power_w: dict[str, float] = {}
        for node in nodes:
            presence = self._world.present.get(node.node_id)
            heard = presence.heard_utc if presence and presence.heard_utc else node.last_seen_utc
            if heard is not None and not node.forgotten:
                age_s = max(0.0, (self._world.utc() - heard).total_seconds())
                samples.add(f.NODE_AGE, age_s, node.node_id)
            if presence is not None and presence.power_w is not None:
                power_w[node.site] = power_w.get(node.site, 0.0) + presence.power_w
        for site, site_w in power_w.items():
            samples.add(f.SITE_POWER, site_w, site)

    def _node_state(self, node: Node) -> str:
        if node.forgotten:
            return "forgotten"
        if node.draining:
            return "draining"
        return "connected" if node.node_id in self._world.present else "away"

    def _jobs(self, tx: Transaction, samples: Samples) -> None:
        jobs = tx.jobs.all(ended=False)
        states = Counter(job.state for job in jobs)
        for state in JobState:
            if not state.ended:
                samples.add(f.JOBS, states[state], state.value)
        samples.add(f.JOBS_ENDED, tx.jobs.ended_count())
        waiting = [job for job in jobs if job.state is JobState.PENDING or job.is_parked]
        last = [tx.decisions.latest(job.job_id) for job in waiting]
        bindings = Counter(one.binding for one in last if one is not None and one.action == "none")
        for binding, count in bindings.items():
            samples.add(f.UNPLACED, count, binding)

    def _site(self, samples: Samples, name: str) -> None:
        forecast, now = self._world.sites[name], self._world.utc()
        intensity = forecast.intensity_now_g_per_kwh(now)
        samples.add(f.SITE_INTENSITY, None if math.isnan(intensity) else intensity / J_PER_KWH, name)
        samples.add(f.SITE_RATIO, forecast.renewable_ratio(now), name)
        samples.add(f.WINDOW_LEFT, forecast.window_remaining_s(now), name)
        samples.add(f.WINDOW_NEXT, forecast.next_window_in_s(now), name)
        since_start_s = max(0.0, self._world.clock.boottime_s() - self._world.started_at_s)
        samples.add(f.FORECAST_AGE, forecast.feeds_age_s(now, since_start_s), name)
        for series, left_s in forecast.left_s(now).items():
            samples.add(f.FORECAST_LEFT, left_s, name, series)
