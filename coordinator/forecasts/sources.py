"""A site's series, opened from what its configuration names: traces, the sun, or declared figures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

import numpy as np

from heliotrope.foundation.errors import InvalidInput

from . import csvtrace, solar
from .live.feeds import FIELD_UNITS
from .live.kept import Live
from .openadr.vtn import Demand
from .series import Series, Unit, constant
from .siteconfig import SiteConfig, TraceSource, check, resolve
from .windows import RuleName

# Which field a window rule looks at.
RULE_FIELDS: dict[RuleName, str] = {
    "surplus": "generation",
    "intensity_below": "intensity",
    "renewable_above": "renewable",
    "price_below": "price",
}


@dataclass(frozen=True)
class Sources:
    """The four series of a site; a quantity nobody gave is a series of NaN (own generation: 0 W)."""

    generation: Series
    intensity: Series
    renewable: Series
    price: Series | None
    live: Mapping[str, Live] = field(default_factory=dict)  # by field, of those that come from a feed
    demand: Demand | None = None

    def with_live(self, live: Live) -> Sources:
        """With a feed's newest word in the place of its field."""
        series: dict[str, Series] = {live.field: live.series}
        return replace(self, live={**self.live, live.field: live}, **series)  # type: ignore[arg-type]

    def with_demand(self, demand: Demand, now_s: float, *, use_price: bool) -> Sources:
        """With a VTN's newest word; its prices are the site's where ``use_price`` says so."""
        price = (demand.prices(now_s) or _unknown("price")) if use_price else self.price
        return replace(self, demand=demand, price=price)

    def usable(self, now_s: float) -> Sources:
        """What may be used at that moment: a stale feed's series is unknown as a whole, also what it said of later."""
        stale = {name: _unknown(name) for name, live in self.live.items() if live.stale_because(now_s)}
        return replace(self, **stale) if stale else self  # type: ignore[arg-type]

    def named(self) -> Iterator[tuple[str, Series]]:
        """The series that decisions and books rest on, by their configuration's field."""
        yield "generation", self.generation
        yield "intensity", self.intensity
        yield "renewable", self.renewable
        if self.price is not None:
            yield "price", self.price

    def rule_series(self, config: SiteConfig) -> Series:
        """The series that the site's window rule looks at (see :class:`~.windows.WindowRule`)."""
        if config.window.rule == "surplus":
            surplus_w = self.generation.values - config.load_w * config.pue
            return replace(self.generation, name=f"surplus at {config.name}", values=surplus_w)
        if config.window.rule == "intensity_below":
            return self.intensity
        if config.window.rule == "renewable_above":
            return self.renewable
        if self.price is None:
            raise InvalidInput(f"site {config.name}: field price: the rule price_below needs a price trace; add it")
        return self.price


def open_sources(config: SiteConfig, start_trace: datetime, folder: Path | None = None) -> Sources:
    """Check the configuration and read its traces; relative files are looked up in ``folder``.

    ``start_trace`` says which year's sun is computed. Raises InvalidInput naming site and field, or file and line.
    """
    check(config)
    return Sources(
        generation=_generation(config, start_trace, folder),
        intensity=_given(config, "intensity", "g_per_kwh", folder),
        renewable=_given(config, "renewable", "ratio", folder),
        price=_price(config, folder),
    )


def _unknown(name: str) -> Series:
    unit: Unit = FIELD_UNITS[name]  # type: ignore[index]
    return constant(f"{name} that is not known yet", unit, np.nan)


def _generation(config: SiteConfig, start_trace: datetime, folder: Path | None) -> Series:
    if config.generation is not None:
        return _trace(config, "generation", "w", folder)
    if config.feeds.generation is not None:
        return _unknown("generation")
    if config.solar_capacity_w > 0:
        return solar.generation(
            f"sun at {config.name}",
            config.latitude,
            config.longitude,
            config.solar_capacity_w,
            start_trace,
            system_ratio=config.solar_system_ratio,
        )
    return constant(f"no generation at {config.name}", "w", 0.0)


def _price(config: SiteConfig, folder: Path | None) -> Series | None:
    if config.price is not None:
        return _trace(config, "price", "price_per_mwh", folder)
    by_events = config.demand_response is not None and config.demand_response.use_price
    return _unknown("price") if config.feeds.price is not None or by_events else None


def _given(config: SiteConfig, field: str, unit: Unit, folder: Path | None) -> Series:
    """The trace, else the declared figure, else unknown: what a feed is until it brought something."""
    if getattr(config, field) is not None:
        return _trace(config, field, unit, folder)
    declared = config.grid_intensity_g_per_kwh if unit == "g_per_kwh" else config.grid_renewable_ratio
    value = np.nan if declared is None else declared
    scope = config.scope if unit == "g_per_kwh" else "none"
    return constant(f"declared {field} of {config.name}", unit, value, kind=config.kind, scope=scope)


def _trace(config: SiteConfig, field: str, unit: Unit, folder: Path | None) -> Series:
    source: TraceSource = getattr(config, field)
    if csvtrace.RANGES[source.unit].unit != unit:
        raise InvalidInput(
            f"site {config.name}: field {field}.unit: {source.unit} is no unit of {field}; "
            f"it needs one that means {unit}"
        )
    return csvtrace.read(
        resolve(source, folder),
        source.zone,
        source.unit,
        kind=config.kind,
        scope=config.scope if unit == "g_per_kwh" else "none",
        gaps=source.gaps,
        repeat=source.repeat,
    )
