"""Three places and a day: the sites' configuration, and at which hour of which day the demonstration begins."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from heliotrope.coordinator.forecasts.clock import TraceClock
from heliotrope.coordinator.forecasts.site import SiteForecast, open_site
from heliotrope.coordinator.forecasts.siteconfig import SiteConfig
from heliotrope.foundation import config
from heliotrope.foundation.errors import InvalidInput

from .recording import Span

DAY_S = 86_400.0
LEAD_RATIO = 0.21  # share of a day between the start and the second site's window: fleet and job start in it

# The machine's declared power, shared out: three agents run on it and its idle draw must not be counted three times.
IDLE_W, MAX_W, NODE_COUNT = 15.0, 65.0, 3
NODE_IDLE_W, NODE_MAX_W = IDLE_W / NODE_COUNT, IDLE_W / NODE_COUNT + (MAX_W - IDLE_W)


@dataclass(frozen=True)
class Place:
    """A site beside a solar park.

    The grid's intensity [g/kWh, life-cycle] and renewable share are means of 2021-2023 of its zone. Contains data from
    Electricity Maps, licensed under ODbL v1.0.
    """

    name: str
    latitude: float
    longitude: float
    zone: str
    grid_g_per_kwh: float
    grid_renewable_ratio: float


# A third of the globe apart: when the sun sets on one, the next has had it for a while. West to east.
PLACES = (
    Place("california", 35.0, -117.0, "US-CAL-CISO", 265.5, 0.441),
    Place("spain", 38.9, -6.3, "ES", 184.6, 0.485),
    Place("australia", -32.0, 141.5, "AU-NSW", 600.8, 0.268),
)
# Near the equinox the day is as long in both hemispheres.
SUN_DAY = datetime(2024, 3, 20, tzinfo=UTC)
# The park's rated power over the site's load: with 8 its clear-sky surplus lasts for ten of the day's hours.
SOLAR_OVERSIZE_RATIO = 8.0


@dataclass(frozen=True)
class Scenario:
    """What the coordinator is configured with: ``sites`` as in its file, the trace's start and its speed."""

    sites: list[dict[str, Any]]
    start_utc: datetime
    scale: float
    title: str
    source: str
    weighting: str = ""
    folder: Path | None = None  # where the sites' trace files lie
    names: list[str] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "names", [site["name"] for site in self.sites])

    @property
    def nodes(self) -> dict[str, str]:
        """Node id -> site."""
        return {f"node-{re.sub(r'[^a-z0-9]+', '-', name.lower())}": name for name in self.names}

    def coordinator(self) -> dict[str, Any]:
        """The fields of the coordinator's file that belong to the scenario."""
        start = self.start_utc.isoformat().replace("+00:00", "Z")
        return {"trace": {"start": start, "scale": self.scale}, "links": self._links()}

    def _links(self) -> list[dict[str, Any]]:
        """All pairs, as they are here: loopback. Its energy is the agents' own work, which their meters count."""
        pairs = [(a, b) for index, a in enumerate(self.names) for b in self.names[index + 1 :]]
        return [
            {"source": a, "destination": b, "bandwidth_bytes_per_s": 5e8, "latency_s": 0.0, "energy_j_per_byte": 0.0}
            for a, b in pairs
        ]

    def forecasts(self, clock: TraceClock) -> dict[str, SiteForecast]:
        """The sites' forecasts as the coordinator computes them."""
        configs = [config.parse(site, SiteConfig, where="scenario") for site in self.sites]
        return {one.name: open_site(one, clock, self.folder) for one in configs}

    def windows(self, clock: TraceClock, start: datetime, end: datetime) -> dict[str, list[Span]]:
        """Every site's windows between two real moments, in real seconds after the first."""

        def span(first: datetime, last: datetime) -> Span:
            return Span(start_s=(first - start).total_seconds(), end_s=(last - start).total_seconds())

        return {
            name: [span(one.start_utc, one.end_utc) for one in forecast.timeline(start, end, points=2).windows]
            for name, forecast in self.forecasts(clock).items()
        }


def of_the_sun(day_s: float, places: tuple[Place, ...] = PLACES) -> Scenario:
    """Clear sky over three solar parks; a day of it takes ``day_s`` real seconds."""
    scale = DAY_S / day_s
    scenario = Scenario(
        sites=[_solar_site(place) for place in places],
        start_utc=SUN_DAY,
        scale=scale,
        title="three sites under the sun",
        source=(
            f"Windows are the hours in which a solar park of {SOLAR_OVERSIZE_RATIO:g} x the site's load gives more "
            f"than the load under a clear sky, computed from the sun's position on {SUN_DAY:%d %B %Y}. Outside, "
            "the grid's mean of 2021-2023 holds (Electricity Maps, ODbL v1.0)."
        ),
    )
    first, second = places[0].name, places[-1].name
    return _starting(scenario, _opening(scenario, second, while_open=first), day_s)


def _starting(scenario: Scenario, opening: datetime, day_s: float) -> Scenario:
    start = opening - timedelta(seconds=LEAD_RATIO * day_s * scenario.scale)
    return Scenario(
        sites=scenario.sites,
        start_utc=start,
        scale=scenario.scale,
        title=scenario.title,
        source=scenario.source,
    )


def _opening(scenario: Scenario, name: str, *, while_open: str) -> datetime:
    """The trace's time at which a site's window opens while another's is open."""
    clock = TraceClock(SUN_DAY, SUN_DAY, 1.0)
    forecasts = scenario.forecasts(clock)
    windows = forecasts[name].timeline(SUN_DAY, SUN_DAY + timedelta(days=3), points=2).windows
    for window in windows:
        if window.start_utc > SUN_DAY and forecasts[while_open].window(window.start_utc):
            return window.start_utc
    raise InvalidInput(f"cannot plan the day: {name}'s window never opens while {while_open}'s is open")


def _solar_site(place: Place) -> dict[str, Any]:
    return {
        "name": place.name,
        "latitude": place.latitude,
        "longitude": place.longitude,
        "load_w": NODE_MAX_W,
        "solar_capacity_w": SOLAR_OVERSIZE_RATIO * NODE_MAX_W,
        "grid_intensity_g_per_kwh": place.grid_g_per_kwh,
        "grid_renewable_ratio": place.grid_renewable_ratio,
        "window": {"rule": "surplus"},
    }


def agent_fields() -> dict[str, Any]:
    """What the agents' files say besides LocalFleet's defaults: one machine's power, declared and shared by three."""
    model: Mapping[str, Any] = {"idle_w": NODE_IDLE_W, "max_w": NODE_MAX_W, "scope": "tree"}
    # "unowned": idle draw stays at its site in the comparison, whichever site the job is at.
    power = {"batch_s": 1.0, "sources": ["model"], "model": model, "idle_rule": "unowned"}
    return {"power": power}


def power_sentence() -> str:
    """How energy comes about here, for the report."""
    return (
        f"Estimated from a declared model of this machine: {IDLE_W:g} W idle, a third of it at each site, and up to "
        f"{MAX_W - IDLE_W:g} W more with the processor time of each agent, its jobs included. Coordinator, view "
        "and the uninterrupted run are in no site's account."
    )
