"""What one site's power is and will be: intensity, renewable share, windows, on real time.

Accounting (papers/feasibility.md; ours): of a site's load, own generation covers min(load, generation); the rest is
grid import, renewable by the grid's hourly share. Own generation carries its life-cycle factor where life-cycle
intensity is used. A window never counts as 100 %. Figures are per unit of energy at the site's meter: whoever books a
node's energy multiplies by PUE once, first. A battery is not modelled yet.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import msgspec
import numpy as np

from .clock import TraceClock
from .learning import ErrorModel
from .live.kept import Live
from .openadr.limits import LimitSeries
from .openadr.vtn import Demand
from .series import Floats, Series, unix_s
from .siteconfig import SiteConfig
from .sources import RULE_FIELDS, Sources, open_sources
from .windows import Window, Windows, find

SAMPLE_S = 300.0  # trace seconds between samples of a mean: the solar series' step
SAMPLES_LIMIT = 20_000


class Outlook(msgspec.Struct, frozen=True):
    """A site as the planner needs it, all durations in real seconds; None is unknown.

    ``profile_ratio[k]`` is the mean non-renewable share [0..1] in real seconds [k, k+1) x ``profile_step_s`` from now.
    The window history is of the window lengths: 5th percentile and longest.
    """

    intensity_g_per_kwh: float | None
    nonrenewable_ratio: float | None
    profile_ratio: tuple[float, ...]
    profile_step_s: float
    window_remaining_s: float
    next_window_s: float | None
    window_p05_s: float | None
    window_longest_s: float | None
    note: str
    windows_s: tuple[tuple[float, float], ...] = ()  # [start, end) from now, the open one first, up to the horizon


@dataclass(frozen=True)
class Timeline:
    """What a page draws: (n,) real times, intensity [g/kWh] and renewable share, windows in real time."""

    times: tuple[datetime, ...]
    intensity_g_per_kwh: tuple[float | None, ...]
    renewable_ratio: tuple[float | None, ...]
    windows: tuple[Window, ...]


class SiteForecast:
    """One site's forecast on a trace clock; every ``utc`` argument is real time, every duration real seconds.

    What a live feed said is used while it is fresh at ``utc``, and is unknown afterwards, its windows with it.
    """

    def __init__(
        self,
        config: SiteConfig,
        clock: TraceClock,
        sources: Sources,
        learnt: Mapping[str, ErrorModel] | None = None,
    ) -> None:
        self.config = config
        self.clock = clock
        self.learnt: Mapping[str, ErrorModel] = learnt or {}  # errors of the feeds' forecasts, by field
        self._sources = sources
        self._windows: Windows = find(sources.rule_series(config), config.window)

    @property
    def live(self) -> Mapping[str, Live]:
        """The site's feeds as they are, by field."""
        return self._sources.live

    @property
    def demand(self) -> Demand | None:
        """The VTN's newest word; None where none is configured."""
        return self._sources.demand

    @property
    def limits(self) -> LimitSeries:
        """What the site's meter may show, by demand-response events; times are real Unix seconds."""
        return self._sources.demand.series if self._sources.demand else LimitSeries()

    def with_live(self, live: Live, learnt: ErrorModel | None = None) -> SiteForecast:
        """The same site after a feed brought something, or failed to."""
        models = self.learnt if learnt is None else {**self.learnt, live.field: learnt}
        return SiteForecast(self.config, self.clock, self._sources.with_live(live), models)

    def with_demand(self, demand: Demand, utc: datetime) -> SiteForecast:
        """The same site after its VTN was asked."""
        response = self.config.demand_response
        use_price = response is not None and response.use_price
        sources = self._sources.with_demand(demand, unix_s(self.clock.trace(utc)), use_price=use_price)
        return SiteForecast(self.config, self.clock, sources, self.learnt)

    def feeds_age_s(self, utc: datetime, otherwise_s: float) -> float:
        """Seconds since the oldest live feed's answer was issued; ``otherwise_s`` where none has answered."""
        now_s = unix_s(self.clock.trace(utc))
        ages_s = [now_s - live.issued_s for live in self._sources.live.values() if live.issued_s is not None]
        return max(0.0, *ages_s) if ages_s else otherwise_s

    def intensity_now_g_per_kwh(self, utc: datetime) -> float:
        """Carbon intensity of the site's load now, own generation included; NaN if unknown."""
        return float(self._intensity(self._usable(utc), self._at(utc))[0])

    def renewable_ratio(self, utc: datetime) -> float:
        """Renewable share of the site's load now, 0..1; NaN if unknown."""
        return float(self._renewable(self._usable(utc), self._at(utc))[0])

    def mean_intensity_g_per_kwh(self, utc: datetime, duration_s: float) -> float:
        """Mean intensity of a constant load over the next real seconds; NaN if any part is unknown."""
        return float(np.mean(self._intensity(self._usable(utc), self._samples(utc, duration_s))))

    def mean_renewable_ratio(self, utc: datetime, duration_s: float) -> float:
        """Mean renewable share of a constant load over the next real seconds; NaN if any part is unknown."""
        return float(np.mean(self._renewable(self._usable(utc), self._samples(utc, duration_s))))

    def window(self, utc: datetime) -> Window | None:
        """The window open now, in real time."""
        if self._rule_is_stale(utc):
            return None
        return self._real_window(self._windows.window_at(self.clock.trace(utc)))

    def next_window(self, utc: datetime) -> Window | None:
        """The first window that opens after now, in real time."""
        if self._rule_is_stale(utc):
            return None
        return self._real_window(self._windows.next_window(self.clock.trace(utc)))

    def window_remaining_s(self, utc: datetime) -> float:
        """How long the open window still lasts; 0 if none is open."""
        if self._rule_is_stale(utc):
            return 0.0
        return self.clock.real_s(self._windows.remaining_s(self.clock.trace(utc)))

    def next_window_in_s(self, utc: datetime) -> float | None:
        """How long until the next window opens; None if none is known."""
        window = self.next_window(utc)
        return None if window is None else unix_s(window.start_utc) - unix_s(utc)

    def outlook(self, utc: datetime, horizon_s: float, steps: int = 96) -> Outlook:
        """The site's future as the planner's input, ``steps`` means over ``horizon_s`` real seconds.

        The profile ends where the forecast does: its length says how much of the horizon is known.
        """
        step_s = horizon_s / steps
        stamps = self._samples(utc, horizon_s, steps)
        means = 1.0 - np.mean(self._renewable(self._usable(utc), stamps).reshape(steps, -1), axis=1)
        known = int(np.argmax(np.isnan(means))) if np.any(np.isnan(means)) else steps
        longest_s, p05_s = self._windows.length_quantile_s(1.0), self._windows.length_quantile_s(0.05)
        return Outlook(
            intensity_g_per_kwh=_known(self.intensity_now_g_per_kwh(utc)),
            nonrenewable_ratio=_known(1.0 - self.renewable_ratio(utc)),
            profile_ratio=tuple(np.clip(means[:known], 0.0, 1.0).tolist()),
            profile_step_s=step_s,
            window_remaining_s=self.window_remaining_s(utc),
            next_window_s=self.next_window_in_s(utc),
            window_p05_s=None if p05_s is None else self.clock.real_s(p05_s),
            window_longest_s=None if longest_s is None else self.clock.real_s(longest_s),
            note=self.unknown_because(utc),
            windows_s=self._windows_s(utc, horizon_s),
        )

    def timeline(self, start: datetime, end: datetime, points: int = 200) -> Timeline:
        """``points`` equidistant samples over [start, end] real time, and the windows in between."""
        times = [start + (end - start) * (k / max(points - 1, 1)) for k in range(points)]
        stamps = np.array([unix_s(self.clock.trace(time)) for time in times])
        windows = self._windows.between(self.clock.trace(start), self.clock.trace(end))
        return Timeline(
            times=tuple(times),
            intensity_g_per_kwh=tuple(_known(value) for value in self._intensity(self._sources, stamps).tolist()),
            renewable_ratio=tuple(_known(value) for value in self._renewable(self._sources, stamps).tolist()),
            windows=tuple(Window(self.clock.real(w.start_utc), self.clock.real(w.end_utc)) for w in windows),
        )

    def left_s(self, utc: datetime) -> dict[str, float]:
        """Field -> real seconds for which its series still has values, 0 past its end; not of those that repeat."""
        now_s = unix_s(self.clock.trace(utc))
        ends = {field: series.end_s for field, series in self._sources.named() if not series.repeat}
        return {field: max(0.0, self.clock.real_s(end_s - now_s)) for field, end_s in ends.items()}

    def unknown_because(self, utc: datetime) -> str:
        """Why a figure is unknown now, for people; empty if all are known."""
        stamp = self._at(utc)
        named = ((field, series) for field, series in self._usable(utc).named() if np.isnan(series.at_s(stamp)[0]))
        return "; ".join(self._unknown_because(field, series, float(stamp[0])) for field, series in named)

    def _unknown_because(self, field: str, series: Series, stamp_s: float) -> str:
        live = self._sources.live.get(field)
        if live is None:
            return f"{field} ({series.name}) {_cause(series, stamp_s)}"
        return f"{field} ({live.label}) {live.stale_because(stamp_s) or _cause(live.series, stamp_s)}"

    def with_load(self, load_w: float) -> SiteForecast:
        """The same site at another IT load [W]: the metered one instead of the declared one, once it is known."""
        return SiteForecast(msgspec.structs.replace(self.config, load_w=load_w), self.clock, self._sources, self.learnt)

    def _usable(self, utc: datetime) -> Sources:
        return self._sources.usable(unix_s(self.clock.trace(utc)))

    def _rule_is_stale(self, utc: datetime) -> bool:
        live = self._sources.live.get(RULE_FIELDS[self.config.window.rule])
        return live is not None and bool(live.stale_because(unix_s(self.clock.trace(utc))))

    def _at(self, utc: datetime) -> Floats:
        return np.array([unix_s(self.clock.trace(utc))])

    def _samples(self, utc: datetime, duration_s: float, parts: int = 1) -> Floats:
        """Trace times in the middle of equal slices of the span (a midpoint rule), equally many in each part."""
        first_s = unix_s(self.clock.trace(utc))
        length_s = self.clock.trace_s(duration_s)
        each = int(np.clip(np.ceil(length_s / parts / SAMPLE_S), 1, max(SAMPLES_LIMIT // parts, 1)))
        middles = (np.arange(each * parts, dtype=np.float64) + 0.5) * (length_s / (each * parts))
        samples: Floats = first_s + middles
        return samples

    def _own_ratio(self, sources: Sources, stamps: Floats) -> Floats:
        """Share of the load that own generation covers."""
        own_w = sources.generation.at_s(stamps)
        load_w = self.config.load_w * self.config.pue
        if load_w <= 0:
            return np.zeros(stamps.shape)
        ratio: Floats = np.minimum(own_w, load_w) / load_w
        return ratio

    def _renewable(self, sources: Sources, stamps: Floats) -> Floats:
        own = self._own_ratio(sources, stamps)
        return own + _grid_part(own, sources.renewable.at_s(stamps))

    def _intensity(self, sources: Sources, stamps: Floats) -> Floats:
        own = self._own_ratio(sources, stamps)
        return own * self.config.own_factor_g_per_kwh() + _grid_part(own, sources.intensity.at_s(stamps))

    def _windows_s(self, utc: datetime, horizon_s: float) -> tuple[tuple[float, float], ...]:
        """In real seconds from now; one that outlasts the horizon has the end that it really has."""
        now = self.clock.trace(utc)
        begun = self._windows.between(now, self.clock.trace(utc + timedelta(seconds=horizon_s)))
        found = []
        for window in begun:
            whole = self._windows.window_at(window.start_utc) or window
            start_s, end_s = (unix_s(moment) - unix_s(now) for moment in (window.start_utc, whole.end_utc))
            found.append((self.clock.real_s(start_s), self.clock.real_s(end_s)))
        return tuple(found)

    def _real_window(self, window: Window | None) -> Window | None:
        return window and Window(self.clock.real(window.start_utc), self.clock.real(window.end_utc))


def open_site(config: SiteConfig, clock: TraceClock, folder: Path | None = None) -> SiteForecast:
    """Read a site's traces (relative files are looked up in ``folder``) and build its forecast.

    Raises InvalidInput naming site and field, or the trace's file, line and column.
    """
    return SiteForecast(config, clock, open_sources(config, clock.start_trace_utc, folder))


def _grid_part(own_ratio: Floats, grid: Floats) -> Floats:
    """The grid's contribution; an unknown grid does not matter while nothing is imported."""
    part: Floats = np.where(own_ratio >= 1.0, 0.0, (1.0 - own_ratio) * grid)
    return part


def _cause(series: Series, stamp_s: float) -> str:
    if stamp_s < series.start_s:
        return "has not begun"
    return "has ended" if stamp_s >= series.end_s else "has no value for this time"


def _known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
