"""What is known of one feed between two fetches, on disk and in memory, and the series that follows from it."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TypeVar

import msgspec
import numpy as np

from heliotrope.foundation import records
from heliotrope.foundation.errors import Corrupt

from .. import baseline
from ..csvtrace import RANGES, Range
from ..series import Scope, Series
from . import answers
from .answers import Answer, Sample
from .budget import Spent
from .feeds import FIELD_UNITS, AnyFeed, Feed, FieldName, Prometheus, kind_of, label
from .times import DAY_S

T = TypeVar("T")
log = logging.getLogger("heliotrope.coordinator.forecasts")

FORMAT = 1
HISTORY_S = 8 * DAY_S  # a week for the baseline, and a day more
LEVEL_S = 2 * DAY_S
BASELINE_S = 2 * DAY_S
CLOCK_SLACK_S = 300.0


class Kept(msgspec.Struct, frozen=True):
    """The last good answer, with the history that older ones left. Times are Unix seconds; None: never yet."""

    format: int = FORMAT
    observed: tuple[Sample, ...] = ()
    forecast: tuple[Sample, ...] = ()
    issued_s: float | None = None
    fetched_s: float | None = None
    marks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Live:
    """One feed as the site sees it. From ``stale_from_s`` on the series is used no more.

    ``failure``: why the last attempt brought nothing; empty if it did.
    """

    field: FieldName
    label: str
    series: Series
    forecast_from: str  # provider | baseline
    issued_s: float | None = None
    fetched_s: float | None = None
    stale_from_s: float = 0.0
    observed_until_s: float = 0.0
    estimated_ratio: float = 0.0
    marks: tuple[str, ...] = ()
    failure: str = ""

    def stale_because(self, now_s: float) -> str:
        """Why it cannot be used at that moment; empty while it can."""
        if now_s < self.stale_from_s:
            return ""
        last = f"; last attempt: {self.failure}" if self.failure else ""
        if self.issued_s is None:
            return f"has brought nothing yet{last}"
        age_h = (now_s - self.issued_s) / 3600.0
        good_h = (self.stale_from_s - self.issued_s) / 3600.0
        return f"is stale: issued {age_h:.3g} h ago, good for {good_h:.3g} h{last}"


def limits_of(field: FieldName) -> Range:
    """The range of a field in our own unit, for values that were brought into it already."""
    unit = FIELD_UNITS[field]
    return next(one for one in RANGES.values() if one.unit == unit and one.factor == 1.0)


def take(kept: Kept, feed: AnyFeed, field: FieldName, answer: Answer, now_s: float) -> Kept:
    """With a new answer. Raises Trouble where its level says that the unit changed."""
    recent = [sample for sample in kept.observed if sample.time_s >= now_s - LEVEL_S]
    if field == "intensity" and answer.kind == "average":  # a marginal one may fall to nothing within the hour
        answers.check_level(label(feed), recent, answer.observed or answer.forecast)
    marks = [*answer.marks, *answers.gap_marks(answer.observed), *answers.gap_marks(answer.forecast)]
    issued_s = now_s if answer.issued_s is None else answer.issued_s
    if issued_s > now_s + CLOCK_SLACK_S:
        marks.append(f"issued {issued_s - now_s:.0f} s in the future; counted from when it came")
    history_s = feed.history_s if isinstance(feed, Prometheus) else HISTORY_S
    return Kept(
        observed=answers.merge(kept.observed, answer.observed, now_s - history_s),
        forecast=answer.forecast,
        issued_s=min(issued_s, now_s),
        fetched_s=now_s,
        marks=tuple(marks),
    )


def live(kept: Kept, feed: AnyFeed, field: FieldName, *, scope: Scope, failure: str = "") -> Live:
    """The series of what is kept: observed, then the provider's forecast or the baseline's."""
    limits = limits_of(field)
    name = label(feed)
    from_baseline = not kept.forecast and bool(kept.observed)
    forecast = _baseline(kept.observed) if from_baseline else kept.forecast
    kind = kind_of(feed) if field == "intensity" else "average"
    parts = [*kept.observed, *kept.forecast]
    return Live(
        field=field,
        label=name,
        series=answers.series(name, limits, kept.observed, forecast, kind=kind, scope=scope),
        forecast_from="baseline" if from_baseline else "provider",
        issued_s=kept.issued_s,
        fetched_s=kept.fetched_s,
        stale_from_s=0.0 if kept.issued_s is None else kept.issued_s + feed.stale_after_s,
        observed_until_s=kept.observed[-1].time_s if kept.observed else 0.0,
        estimated_ratio=sum(sample.estimated for sample in parts) / len(parts) if parts else 0.0,
        marks=kept.marks,
        failure=failure,
    )


def _baseline(observed: tuple[Sample, ...]) -> tuple[Sample, ...]:
    step_s = answers.step_s(observed)
    times_s = np.array([sample.time_s for sample in observed])
    values = np.array([np.nan if sample.value is None else sample.value for sample in observed])
    ahead_s = times_s[-1] + step_s * np.arange(1, int(BASELINE_S / step_s) + 1)
    predicted = baseline.predict(times_s, values, ahead_s)
    return tuple(
        Sample(time_s, None if np.isnan(value) else value, True)
        for time_s, value in zip(ahead_s.tolist(), predicted.tolist(), strict=True)
    )


class Cache:
    """Feeds' answers and accounts' budgets as files that survive a restart; what is configured no more is removed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def feed(self, key: str) -> Kept:
        """What was kept of a feed; nothing where there is none, or it cannot be read."""
        return self._load(self._path("feed", key), Kept) or Kept()

    def put_feed(self, key: str, kept: Kept) -> None:
        records.save(self._path("feed", key), kept)

    def spent(self, account: str) -> Spent:
        return self._load(self._path("account", account), Spent) or Spent()

    def put_spent(self, account: str, spent: Spent) -> None:
        records.save(self._path("account", account), spent)

    def load(self, key: str, kind: type[msgspec.Struct]) -> msgspec.Struct | None:
        """Another kind of record, such as the events of a VTN."""
        return self._load(self._path("events", key), kind)

    def put(self, key: str, record: msgspec.Struct) -> None:
        records.save(self._path("events", key), record)

    def keep_only(self, feeds: set[str], accounts: set[str], events: set[str]) -> None:
        """Remove every other file: the folder stays as large as the configuration."""
        wanted = {self._path("feed", key) for key in feeds} | {self._path("account", key) for key in accounts}
        wanted |= {self._path("events", key) for key in events}
        for path in self._folder.iterdir():
            if path not in wanted:
                path.unlink(missing_ok=True)

    def _path(self, what: str, key: str) -> Path:
        return self._folder / f"{what}-{sha256(key.encode()).hexdigest()[:32]}.json"

    def _load(self, path: Path, kind: type[T]) -> T | None:
        try:
            return records.load(path, kind)
        except FileNotFoundError:
            return None
        except (Corrupt, OSError) as error:
            log.warning("%s; it is fetched again", error)
            return None


def feed_key(site: str, field: FieldName, feed: Feed, scope: Scope) -> str:
    """One per series: another zone, unit or scope is another history. How often it is fetched is not part of it."""
    parts = msgspec.structs.asdict(feed)
    kept = {name: value for name, value in parts.items() if name in _IDENTITY}
    return msgspec.json.encode([FORMAT, site, field, type(feed).__name__, scope, kept], order="sorted").decode()


_IDENTITY = {"zone", "region", "region_id", "url", "query", "unit", "domain", "step_s", "stated_kind", "stated_scope"}
