"""A site as configured: place, own generation, grid, window rule. Strictly checked, errors name the field."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta

from heliotrope.foundation.errors import InvalidInput
from heliotrope.foundation.jobspec import NotNegative, Strict

from .csvtrace import FileUnit, Gaps
from .live import feeds
from .live.feeds import Feeds
from .openadr import config as openadr
from .openadr.config import DemandResponse
from .solar import SYSTEM_RATIO
from .windows import WindowRule

Share = Annotated[float, Meta(ge=0, le=1)]

# IPCC AR5 WG III (2014), Annex III, Table A.III.2, median life-cycle emissions of rooftop solar PV.
SOLAR_LIFE_CYCLE_G_PER_KWH = 41.0


class TraceSource(Strict):
    """A column of a CSV file (see csvtrace) that gives one of the site's series."""

    file: str
    zone: str
    unit: FileUnit
    gaps: Gaps = "refuse"
    repeat: bool = False  # go round when the trace ends; for demos


class SiteConfig(Strict):
    """One site. Intensity, renewable share, price and generation each come from a trace, a feed or a declared figure.

    ``load_w`` is the IT load declared for the site (x ``pue`` is what its meter shows); own generation can only
    cover what is used. ``own_g_per_kwh`` -1 means the default: IPCC's figure for rooftop PV with life-cycle scope, 0
    with direct scope.
    """

    name: Annotated[str, Meta(min_length=1, max_length=63)]
    latitude: Annotated[float, Meta(ge=-90, le=90)]
    longitude: Annotated[float, Meta(ge=-180, le=180)]
    window: WindowRule
    load_w: NotNegative = 0.0
    pue: Annotated[float, Meta(ge=1, le=10)] = 1.0
    metered: Literal["it", "facility"] = "it"  # what the nodes' own meters show here; facility: PUE is in it already
    solar_capacity_w: NotNegative = 0.0
    solar_system_ratio: Annotated[float, Meta(gt=0, le=1)] = SYSTEM_RATIO
    own_g_per_kwh: Annotated[float, Meta(ge=-1)] = -1.0
    generation: TraceSource | None = None
    grid_intensity_g_per_kwh: NotNegative | None = None
    intensity: TraceSource | None = None
    grid_renewable_ratio: Share | None = None
    renewable: TraceSource | None = None
    price: TraceSource | None = None
    kind: Literal["average", "marginal", "percentile"] = "average"
    scope: Literal["life-cycle", "direct"] = "life-cycle"
    feeds: Feeds = Feeds()
    demand_response: DemandResponse | None = None

    def own_factor_g_per_kwh(self) -> float:
        """Emission factor of own generation in the site's scope."""
        if self.own_g_per_kwh >= 0:
            return self.own_g_per_kwh
        return SOLAR_LIFE_CYCLE_G_PER_KWH if self.scope == "life-cycle" else 0.0


def check(config: SiteConfig, *, where: str = "") -> None:
    """The rules that types cannot say. Raises InvalidInput naming site and field."""
    prefix = f"{where}: " if where else ""

    def refuse(field: str, cause: str) -> None:
        raise InvalidInput(f"{prefix}site {config.name}: field {field}: {cause}")

    for declared, trace in (
        ("solar_capacity_w", "generation"),
        ("grid_intensity_g_per_kwh", "intensity"),
        ("grid_renewable_ratio", "renewable"),
    ):
        if getattr(config, declared) and getattr(config, trace) is not None:
            refuse(declared, f"{trace} is given by a trace as well; keep one of the two")
    for name, cause in _live_faults(config):
        refuse(name, cause)
    has_generation = _is_given(config, "generation")
    if has_generation and config.load_w <= 0:
        refuse("load_w", "own generation needs the site's load to be shared out; declare it in W")
    missing = {
        "surplus": "" if has_generation else "solar_capacity_w or generation (a trace or feeds.generation)",
        "intensity_below": ""
        if _is_given(config, "intensity")
        else "grid_intensity_g_per_kwh or intensity (a trace or feeds.intensity)",
        "renewable_above": ""
        if _is_given(config, "renewable")
        else "grid_renewable_ratio or renewable (a trace or feeds.renewable)",
        "price_below": ""
        if _is_given(config, "price")
        else "price (a trace, feeds.price or demand_response.use_price)",
    }[config.window.rule]
    if missing:
        refuse("window.rule", f"{config.window.rule} needs {missing}; add it or choose another rule")


def resolve(source: TraceSource, folder: Path | None) -> Path:
    """The trace's path, relative to the configuration file's folder."""
    path = Path(source.file).expanduser()
    return path if folder is None or path.is_absolute() else folder / path


def _given_otherwise(config: SiteConfig) -> frozenset[str]:
    """Fields with a trace or a declared figure."""
    given = {
        "generation": config.generation is not None or config.solar_capacity_w > 0,
        "intensity": config.intensity is not None or config.grid_intensity_g_per_kwh is not None,
        "renewable": config.renewable is not None or config.grid_renewable_ratio is not None,
        "price": config.price is not None,
    }
    return frozenset(name for name, is_given in given.items() if is_given)


def _is_given(config: SiteConfig, field: str) -> bool:
    demand = config.demand_response
    by_events = field == "price" and demand is not None and demand.use_price
    return field in _given_otherwise(config) or getattr(config.feeds, field) is not None or by_events


def _live_faults(config: SiteConfig) -> list[tuple[str, str]]:
    given = _given_otherwise(config)
    found = feeds.faults(config.feeds, config.kind, config.scope, given)
    if config.demand_response is not None:
        has_price = "price" in given or config.feeds.price is not None
        found += openadr.faults(config.demand_response, has_price=has_price)
    return found
