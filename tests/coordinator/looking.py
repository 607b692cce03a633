"""A coordinator's managers with sites that have windows, and the manager that looks ahead."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from heliotrope.coordinator.config import StageAheadConfig
from heliotrope.coordinator.forecasts.clock import TraceClock
from heliotrope.coordinator.forecasts.site import SiteForecast, open_site
from heliotrope.coordinator.forecasts.siteconfig import SiteConfig, TraceSource
from heliotrope.coordinator.forecasts.windows import WindowRule
from heliotrope.coordinator.managers.ahead import AheadManager
from heliotrope.coordinator.managers.planner import PlannerManager
from heliotrope.coordinator.managers.replication import ReplicationManager
from heliotrope.coordinator.state import model, order_model
from heliotrope.coordinator.state.database import Database
from heliotrope.coordinator.state.model import Replica, StagedAhead
from heliotrope.coordinator.state.order_model import Command
from heliotrope.foundation.jobspec import CheckpointRules

from .managed import START, Managed

SUNSET_MIN = 30  # west's window ends then, and east's opens
STATE_BYTES = 1000
FULL_BYTES = round(STATE_BYTES / 1.207)  # the prior of a full copy
ON: dict[str, Any] = {"stage_ahead": "on"}


def forecasts(folder: Path, evening_site: str = "east") -> dict[str, SiteForecast]:
    """West is green until half past, that site from then on, the third one never."""
    lines = ["datetime_utc,west,east,north"]
    for minute in range(0, 600, 10):
        evening = minute >= SUNSET_MIN
        other = "north" if evening_site == "east" else "east"
        share = {"west": 0.1 if evening else 0.9, evening_site: 0.9 if evening else 0.1, other: 0.1}
        stamp = (START + timedelta(minutes=minute)).strftime("%Y-%m-%dT%H:%M:%S")
        lines.append(f"{stamp},{share['west']},{share['east']},{share['north']}")
    (folder / "green.csv").write_text("\n".join(lines) + "\n")
    clock = TraceClock(START, START, 1.0)
    return {
        name: open_site(
            SiteConfig(
                name=name,
                latitude=0.0,
                longitude=0.0,
                grid_intensity_g_per_kwh=400.0,
                renewable=TraceSource(file="green.csv", zone=name, unit="ratio"),
                window=WindowRule(rule="renewable_above", threshold=0.5),
            ),
            clock,
            folder,
        )
        for name in ("west", "east", "north")
    }


class Looking(Managed):
    """With the manager that looks ahead, in the coordinator's order."""

    def with_rules(self, **rules: Any) -> None:
        """Also what a restart of the coordinator does: managers know nothing but the database."""
        config = model.replace(self.world.config, stage_ahead=StageAheadConfig(**rules))  # type: ignore[type-var]
        self.world.config = config
        self.ahead = AheadManager(self.world, PlannerManager(self.world, self.saga))
        self.replication = ReplicationManager(self.world)

    def look(self, seconds: float = 0.0) -> None:
        """Time passes; the manager looks ahead, and the others follow."""
        self.clock.now_s += seconds
        self.look_only()
        self.ensure()

    def look_only(self) -> None:
        """As many passes as it takes to have looked at everything."""
        self.world.present["a"].job_power_w = {"j-1": 200.0}
        with self.database.transaction() as tx:
            self.ahead.ensure(tx)
        while self.ahead.is_looking:
            with self.database.transaction() as tx:
                self.ahead.ensure(tx)

    def begin(self, *, rules: CheckpointRules | None = None, unchanged: int = 990, **policy: Any) -> None:
        """The job runs at a, with a checkpoint of which most is frozen."""
        self.run(rules=rules, **{**ON, **policy})
        self.report("a", step=10, checkpoints=(model.replace(self.checkpoint(1), unchanged_bytes=unchanged),))

    def staged(self) -> list[Replica]:
        with self.database.transaction() as tx:
            return tx.replicas.of_job("j-1")

    def books(self) -> list[StagedAhead]:
        with self.database.transaction() as tx:
            return tx.staged_ahead.of_job("j-1")

    def pull(self, node_id: str = "b") -> Command:
        (command,) = (one for one in self.orders(node_id) if isinstance(one.order, order_model.Pull))
        return command

    def held_by(self, node_id: str, site: str, epoch: int = 2) -> None:
        with self.database.transaction() as tx:
            tx.jobs.put(model.replace(tx.jobs.get("j-1"), node_id=node_id, site=site, epoch=epoch))


@contextmanager
def looking(folder: Path) -> Iterator[Looking]:
    """Nodes a at west, b at east and d at north are connected."""
    database = Database.in_folder(folder)
    made = Looking(database)
    made.world.sites.update(forecasts(folder))
    made.with_rules()
    for node_id in "abd":
        made.hello(node_id)
    yield made
    database.close()
