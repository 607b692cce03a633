"""A site's series, opened from what its configuration names: traces, the sun, or declared figures."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import numpy as np

from heliotrope.foundation.errors import InvalidInput

from . import csvtrace, solar
from .series import Series, Unit, constant
from .siteconfig import SiteConfig, TraceSource, check, resolve


@dataclass(frozen=True)
class Sources:
    """The four series of a site; a quantity nobody gave is a series of NaN (own generation: 0 W)."""

    generation: Series
    intensity: Series
    renewable: Series
    price: Series | None

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
        price=None if config.price is None else _trace(config, "price", "price_per_mwh", folder),
    )


def _generation(config: SiteConfig, start_trace: datetime, folder: Path | None) -> Series:
    if config.generation is not None:
        return _trace(config, "generation", "w", folder)
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


def _given(config: SiteConfig, field: str, unit: Unit, folder: Path | None) -> Series:
    """The trace, else the declared figure, else unknown."""
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
