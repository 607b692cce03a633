"""What a line of the ledger is worth: its site's PUE, intensity and renewable share, its device's embodied part."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from typing import Literal

from heliotrope.foundation import ledger as books
from heliotrope.foundation.ledger import VERSION, Entry

from ..config import EmbodiedConfig
from ..state.database import Transaction
from ..state.ledger_model import OpenLine
from .world import World

FACILITY = "facility"  # as a reading's scope: metered where cooling and losses are in it
PPM = 1_000_000


class Valuation:
    """Values lines of one transaction; asks for each site's interval, each job and each node once."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._sites: dict[tuple[str, int, int], tuple[int | None, int | None]] = {}
        self._homes: dict[str, str] = {"": "", "?": ""}
        self._models: dict[str, dict[str, str]] = {}

    def entry(self, tx: Transaction, line: OpenLine, kind: books.Kind = "first", corrects: int | None = None) -> Entry:
        """The line as an entry, not chained yet."""
        intensity, renewable = self._site(line.site, line)
        pue = self._pue_ppm(line.site, line)
        embodied = self._embodied_ug_per_h(tx, line)
        known = pue is not None and intensity is not None
        return Entry(
            version=VERSION,
            node_id=line.node_id,
            sequence=1,
            kind=kind,
            corrects=corrects,
            start_ms=line.start_ms,
            length_ms=line.length_ms,
            site=line.site,
            device=line.device,
            scope=line.scope,
            source=line.source,
            estimated=line.estimated,
            metered=self._metered(line.site, line),
            job_id=line.job_id,
            energy_uj=line.energy_uj,
            covered_us=line.covered_us,
            span_us=line.span_us,
            reserved_us=line.reserved_us,
            pue_ppm=pue,
            intensity_ug_per_kwh=intensity,
            renewable_ppm=renewable,
            carbon_ng=books.carbon_ng(line.energy_uj, pue or 0, intensity or 0) if known else None,
            carbon_static_ng=self._static_ng(tx, line),
            renewable_uj=None if renewable is None else books.renewable_uj(line.energy_uj, renewable),
            embodied_ug_per_h=embodied,
            embodied_ng=None if embodied is None else books.embodied_ng(line.reserved_us, embodied),
        )

    def _static_ng(self, tx: Transaction, line: OpenLine) -> int | None:
        """The same energy at the site where its job first ran; idle energy never moved."""
        if line.job_id not in self._homes:
            job = tx.jobs.find(line.job_id)
            self._homes[line.job_id] = job.first_site if job else ""
        home = self._homes[line.job_id] or line.site
        (intensity, _), pue = self._site(home, line), self._pue_ppm(home, line)
        return None if intensity is None or pue is None else books.carbon_ng(line.energy_uj, pue, intensity)

    def _site(self, site: str, line: OpenLine) -> tuple[int | None, int | None]:
        """(intensity [ug/kWh], renewable share [ppm]) over the interval; None is unknown."""
        key = (site, line.start_ms, line.length_ms)
        if key not in self._sites:
            self._sites[key] = self._ask(site, line)
        return self._sites[key]

    def _ask(self, site: str, line: OpenLine) -> tuple[int | None, int | None]:
        forecast = self._world.sites.get(site)
        if forecast is None:
            return None, None
        begin = datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=line.start_ms)
        intensity = forecast.mean_intensity_g_per_kwh(begin, line.length_ms / 1000)
        renewable = forecast.mean_renewable_ratio(begin, line.length_ms / 1000)
        return _scaled(intensity, PPM), _scaled(renewable, PPM)

    def _pue_ppm(self, site: str, line: OpenLine) -> int | None:
        forecast = self._world.sites.get(site)
        if forecast is None:
            return None
        if self._metered(site, line) == "facility":
            return PPM
        return round(forecast.config.pue * PPM)

    def _metered(self, site: str, line: OpenLine) -> Literal["it", "facility"]:
        forecast = self._world.sites.get(site)
        is_facility = line.scope == FACILITY or (forecast is not None and forecast.config.metered == FACILITY)
        return "facility" if is_facility else "it"

    def _embodied_ug_per_h(self, tx: Transaction, line: OpenLine) -> int | None:
        if not self._world.config.embodied:
            return None
        if line.node_id not in self._models:
            node = tx.nodes.find(line.node_id)
            self._models[line.node_id] = {gpu.uuid: gpu.model for gpu in node.inventory.gpus} if node else {}
        names = [line.device, self._models[line.node_id].get(line.device, line.device)]
        for table in self._world.config.embodied:
            if _fits(table, names, line):
                return books.embodied_ug_per_h(table.embodied_kg, table.lifetime_years)
        return None


def _fits(table: EmbodiedConfig, names: list[str], line: OpenLine) -> bool:
    return (
        any(fnmatchcase(name, table.device) for name in names)
        and any(fnmatchcase(line.site, pattern) for pattern in table.sites)
        and any(fnmatchcase(line.node_id, pattern) for pattern in table.nodes)
    )


def _scaled(value: float, scale: int) -> int | None:
    return None if math.isnan(value) else round(value * scale)
