"""A ledger without a daemon: a real database, real keys, sites of constant figures, batches made by the test."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec

from heliotrope.coordinator.config import CoordinatorConfig, EmbodiedConfig, LedgerConfig
from heliotrope.coordinator.forecasts.clock import live
from heliotrope.coordinator.forecasts.site import open_site
from heliotrope.coordinator.forecasts.siteconfig import SiteConfig
from heliotrope.coordinator.managers.ledger import LedgerManager
from heliotrope.coordinator.managers.sealing import Sealing
from heliotrope.coordinator.managers.telemetry import DeviceEnergy, EnergyBatch, EnergyShare
from heliotrope.coordinator.managers.world import World
from heliotrope.coordinator.server import ledger_export, reports
from heliotrope.coordinator.state.database import Database
from heliotrope.coordinator.state.model import Job, Node
from heliotrope.foundation import authority, identity
from heliotrope.foundation import ledger_export as lines
from heliotrope.foundation.identity import Role
from heliotrope.foundation.jobspec import JobSpec
from heliotrope.foundation.ledger import VERSION, Entry
from heliotrope.foundation.ledger_audit import Audit, AuditResult
from heliotrope.foundation.model import Gpu, Inventory
from heliotrope.v1 import operator_pb2 as pb

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
NODES = {"n1": "valley", "n2": "mine", "n3": "fog", "n4": "metered"}
H100 = EmbodiedConfig(device="NVIDIA H100*", embodied_kg=150.0, lifetime_years=4.0, source="made up for the test")


def site(name: str, **figures: Any) -> SiteConfig:
    given = {
        "latitude": 0.0,
        "longitude": 0.0,
        "grid_intensity_g_per_kwh": 100.0,
        "grid_renewable_ratio": 0.5,
        "pue": 1.25,
        "window": {"rule": "renewable_above", "threshold": 0.4},
        **figures,
    }
    return msgspec.convert({"name": name, **given}, SiteConfig)


SITES = (
    site("valley", grid_intensity_g_per_kwh=30.0, grid_renewable_ratio=0.9),
    site("mine", grid_intensity_g_per_kwh=800.0, grid_renewable_ratio=0.1),
    site("fog", grid_intensity_g_per_kwh=None, window={"rule": "renewable_above", "threshold": 0.4}),
    site("metered", metered="facility"),
)


class Clock:
    """Stands until it is turned."""

    def __init__(self) -> None:
        self.passed_s = 0.0

    def monotonic_s(self) -> float:
        return 1000.0 + self.passed_s

    def boottime_s(self) -> float:
        return 1000.0 + self.passed_s

    def utc(self) -> datetime:
        return NOON + timedelta(seconds=self.passed_s)


def make_authority(folder: Path) -> authority.Authority:
    """Of the test's noon, as its certificates must be good then."""
    return authority.create(folder, "lab", clock=Clock())


class Bookkeeping:
    """Takes batches, closes intervals, exports and reports."""

    def __init__(self, folder: Path, url: str = "", ca: authority.Authority | None = None) -> None:
        ca = ca or make_authority(folder / "ca")
        if not (folder / "hub").exists():
            ca.issue(Role.COORDINATOR, "hub").save(folder / "hub")
        self.identity = identity.load(folder / "hub", clock=Clock())
        self.folder, self.url, self.clock = folder, url, Clock()
        self.start()
        with self.database.transaction() as tx:
            for node_id, place in NODES.items():
                gpu = Gpu(uuid=f"GPU-{node_id}", model="NVIDIA H100 80GB HBM3", memory_bytes=1)
                tx.nodes.put(Node(node_id=node_id, site=place, inventory=Inventory(gpus=(gpu,))))

    def start(self) -> None:
        """A coordinator's start, the first or another: nothing but the database lives on."""
        self.database = Database(self.url) if self.url else Database.in_folder(self.folder / "state")
        config = CoordinatorConfig(
            identity="unused", state_dir="unused", ledger=LedgerConfig(grace_s=60.0), embodied=(H100,)
        )
        self.world = World(
            clock=self.clock,
            config=config,
            sites={one.name: open_site(one, live(NOON)) for one in SITES},
            sign_ticket=lambda request: request.job_id.encode(),
            wake=lambda node_id: None,
        )
        self.ledger = LedgerManager(self.world)
        self.sealing = Sealing(self.world, lambda: self.identity)

    def restart(self) -> None:
        self.database.close()
        self.start()

    def take(self, node_id: str, batch: EnergyBatch) -> int:
        """It comes when it is over, or later; never before, unless the node's clock is wrong by years."""
        ended_s = (batch.end_utc - NOON).total_seconds()
        if ended_s < 5 * 3600:
            self.clock.passed_s = max(self.clock.passed_s, ended_s)
        with self.database.transaction() as tx:
            return self.ledger.on_batch(tx, node_id, batch)

    def wait(self, seconds: float) -> None:
        """Time passes, and the books of what is due are closed."""
        self.clock.passed_s += seconds
        more = True
        while more:
            with self.database.transaction() as tx:
                more = self.sealing.seal(tx)

    def sign(self) -> None:
        with self.database.transaction() as tx:
            self.sealing.sign_heads(tx, sorted(NODES))

    def job(self, job_id: str, **fields: Any) -> None:
        spec = JobSpec(name=job_id, command=("true",))
        made = Job(job_id=job_id, spec=spec, bundle_digest=b"\1", bundle_bytes=1, submitted_utc=NOON, **fields)
        with self.database.transaction() as tx:
            tx.jobs.put(made)

    def entries(self, node_id: str) -> list[Entry]:
        with self.database.transaction() as tx:
            return [entry for entry, _ in tx.ledger.chain(node_id, 0, 1 << 40, 100_000)]

    def export(self, node_id: str = "") -> bytes:
        """What a coordinator streams."""
        begin: list[lines.Line] = [lines.LedgerLine(version=VERSION, fleet="lab", node_id=node_id)]
        entry_count = head_count = 0
        with self.database.transaction() as tx:
            begin += [lines.SignerLine(serial=serial, certificate_pem=pem) for serial, pem in tx.ledger.signers()]
            for name in [node_id] if node_id else tx.ledger.nodes():
                heads = tx.ledger.heads(name)
                last = tx.ledger.tail(name)[0]
                begin += ledger_export._page(tx, name, 0, last, heads)
                entry_count, head_count = entry_count + last, head_count + len(heads)
        begin.append(lines.EndLine(entry_count=entry_count, head_count=head_count))
        return b"".join(lines.encode(line) for line in begin)

    def audit(self, data: bytes | None = None, **options: Any) -> AuditResult:
        found = self.export() if data is None else data
        return Audit(self.identity.ca_pem, **options).run(lines.split(iter([found])))

    def report(self, **span: Any) -> pb.Report:
        with self.database.snapshot() as tx:
            job = tx.jobs.find(span.pop("job_id", ""))
            given = {"start": None, "end": None, **span}
            return reports.report(self.world, tx, job=job, fleet="lab", **given)

    def row(self, kind: str, name: str = "", **span: Any) -> pb.ReportRow:
        """The one row of this kind and name."""
        (found,) = [row for row in self.report(**span).rows if row.kind == kind and name in ("", row.name)]
        return found


@contextmanager
def bookkeeping(folder: Path, url: str = "", ca: authority.Authority | None = None) -> Iterator[Bookkeeping]:
    made = Bookkeeping(folder, url, ca)
    try:
        yield made
    finally:
        made.database.close()


def batch(
    sequence: int,
    start_s: float,
    shares: dict[str, float],
    *,
    node_id: str = "n1",
    length_s: float = 10.0,
    **fields: Any,
) -> EnergyBatch:
    """Of one GPU; ``start_s`` after noon, ``shares``: job -> joules."""
    device = f"GPU-{node_id}"
    start = NOON + timedelta(seconds=start_s)
    return EnergyBatch(
        spool_id=fields.pop("spool_id", "spool"),
        sequence=sequence,
        start_utc=start,
        end_utc=start + timedelta(seconds=length_s),
        devices=(
            DeviceEnergy(
                device=device,
                source="nvml",
                scope=fields.pop("scope", "gpu"),
                energy_j=sum(shares.values()),
                coverage_ratio=fields.pop("coverage_ratio", 1.0),
            ),
        ),
        shares=tuple(EnergyShare(device=device, job_id=job, energy_j=energy) for job, energy in shares.items()),
        **fields,
    )
