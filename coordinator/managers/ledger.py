"""Energy batches into interval sums, with the carbon of the site and moment where it was used."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from functools import partial

import msgspec

from ..forecasts.series import unix_s
from ..state.database import Transaction
from ..state.model import EnergyInterval
from .telemetry import EnergyBatch
from .world import World

J_PER_KWH = 3.6e6


class LedgerManager:
    """Books each batch once."""

    def __init__(self, world: World) -> None:
        self._world = world

    def on_batch(self, tx: Transaction, node_id: str, batch: EnergyBatch) -> int:
        """Book it unless its key was booked before; the spool's position afterwards, to be acknowledged."""
        position = tx.ledger.position(node_id, batch.spool_id)
        if batch.sequence <= position:
            return position
        site = tx.nodes.get(node_id).site
        sources = {device.device: device for device in batch.devices}
        span_s = (batch.end_utc - batch.start_utc).total_seconds()
        for share in batch.shares:
            device = sources.get(share.device)
            if device is None:
                continue
            carbon_g, renewable_j, unknown_j = self._carbon(site, batch, share.energy_j)
            home = self._home(tx, share.job_id) or site
            static_g, _, _ = self._carbon(home, batch, share.energy_j)
            interval = EnergyInterval(
                start_utc=self._interval(batch.start_utc),
                node_id=node_id,
                site=site,
                device=share.device,
                job_id=share.job_id,
                source=device.source,
                estimated=device.estimated,
                energy_j=share.energy_j,
                unknown_energy_j=unknown_j,
                carbon_g=carbon_g,
                carbon_static_g=static_g,
                renewable_energy_j=renewable_j,
                covered_s=span_s * device.coverage_ratio,
                span_s=span_s,
            )
            tx.ledger.add(interval)
            tx.after_commit(partial(self._world.meters.booked, site, msgspec.structs.asdict(interval)))
        tx.ledger.advance(node_id, batch.spool_id, batch.sequence, batch.gap_count)
        return batch.sequence

    def _interval(self, utc: datetime) -> datetime:
        length_s = self._world.config.ledger.interval_s
        return datetime.fromtimestamp(math.floor(unix_s(utc) / length_s) * length_s, UTC)

    def _home(self, tx: Transaction, job_id: str) -> str:
        job = tx.jobs.find(job_id) if job_id not in ("", "?") else None
        return job.first_site if job else ""

    def _carbon(self, site: str, batch: EnergyBatch, energy_j: float) -> tuple[float, float, float]:
        """(carbon [g], renewable [J], of unknown intensity [J]) of IT energy at a site; PUE applied once."""
        forecast = self._world.sites.get(site)
        if forecast is None:
            return 0.0, 0.0, energy_j
        span_s = (batch.end_utc - batch.start_utc).total_seconds()
        intensity = forecast.mean_intensity_g_per_kwh(batch.start_utc, span_s)
        renewable = forecast.mean_renewable_ratio(batch.start_utc, span_s)
        renewable_j = 0.0 if math.isnan(renewable) else energy_j * renewable
        if math.isnan(intensity):
            return 0.0, renewable_j, energy_j
        return energy_j / J_PER_KWH * forecast.config.pue * intensity, renewable_j, 0.0
