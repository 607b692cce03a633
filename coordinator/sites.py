"""The sites' forecasts as the configuration names them, on their common clock."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from heliotrope.foundation.clock import Clock
from heliotrope.foundation.errors import InvalidInput

from . import livefeeds
from .config import CoordinatorConfig
from .forecasts.clock import TraceClock
from .forecasts.site import SiteForecast, open_site


def open_sites(config: CoordinatorConfig, folder: Path, state_dir: Path, clock: Clock) -> dict[str, SiteForecast]:
    """The sites' forecasts on their common clock. Raises InvalidInput naming the site and the field."""
    if not config.sites:
        raise InvalidInput("field sites: none is configured; add at least one [[sites]]")
    livefeeds.check(config, folder)
    trace_clock = _trace_clock(config, state_dir, clock)
    sites: dict[str, SiteForecast] = {}
    for site in config.sites:
        if site.name in sites:
            raise InvalidInput(f"field sites: {site.name!r} is configured twice; remove one")
        sites[site.name] = open_site(site, trace_clock, folder)
    for link in config.links:
        for field, name in (("source", link.source), ("destination", link.destination)):
            if name not in sites:
                raise InvalidInput(f"field links.{field}: no site {name!r}; configured are {', '.join(sorted(sites))}")
    for name in config.stage_ahead.sites:
        if name not in sites:
            raise InvalidInput(f"field stage_ahead.sites: no site {name!r}; configured are {', '.join(sorted(sites))}")
    return sites


def _trace_clock(config: CoordinatorConfig, state_dir: Path, clock: Clock) -> TraceClock:
    """Real time, or the demonstration's clock; its origin is kept, so that a restart goes on where it was."""
    now = clock.utc()
    if not config.trace.start:
        if config.trace.scale != 1.0:
            raise InvalidInput("field trace.start: a scale other than 1 needs the trace's starting time")
        return TraceClock(start_trace_utc=now, start_real_utc=now, scale=1.0)
    try:
        start = datetime.fromisoformat(config.trace.start)
    except ValueError as error:
        raise InvalidInput(
            f"field trace.start: {config.trace.start!r} is not RFC 3339; write 2026-06-21T06:00:00Z"
        ) from error
    if start.tzinfo is None:
        raise InvalidInput(f"field trace.start: {config.trace.start!r} has no time zone; append Z for UTC")
    state_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    origin = state_dir / "trace-origin"
    if not origin.exists():
        origin.write_text(now.isoformat(), encoding="ascii")
    real = datetime.fromisoformat(origin.read_text(encoding="ascii"))
    return TraceClock(start_trace_utc=start, start_real_utc=real, scale=config.trace.scale)
