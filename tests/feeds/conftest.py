"""The replay server on a real socket, with a clock that stands, and clients that talk to it."""

from __future__ import annotations

import asyncio
import json
import math
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from heliotrope.cli.replay import faults, serving
from heliotrope.cli.replay.server import Replay
from heliotrope.cli.replay.traces import TraceFile, Traces
from heliotrope.coordinator.forecasts.live import feedtask, web
from heliotrope.coordinator.forecasts.live.feeds import AnyFeed, FieldName
from heliotrope.coordinator.forecasts.live.feedtask import Account, FeedTask
from heliotrope.coordinator.forecasts.live.kept import Cache, Live
from heliotrope.coordinator.forecasts.openadr.config import DemandResponse
from heliotrope.coordinator.forecasts.openadr.vtn import Demand, VtnTask
from heliotrope.coordinator.forecasts.series import Scope

NOW = datetime(2026, 3, 10, 12, 20, tzinfo=UTC)
FIRST = datetime(2026, 3, 1, tzinfo=UTC)
HOURS = 14 * 24
ZONES = ("DE", "CAISO_NORTH", "GB", "13", "METER", "10Y1001A1001A82H")


def intensity(hour: int) -> float:
    """A day's curve in whole numbers, and a slow rise, so that no two hours of the fortnight are equal."""
    return round(300 + 120 * math.cos(2 * math.pi * hour / 24)) + hour / 8


def hour_of(moment: datetime) -> int:
    return int((moment - FIRST) / timedelta(hours=1))


class HandClock:
    """Stands until it is turned."""

    def __init__(self) -> None:
        self.now = NOW

    def utc(self) -> datetime:
        return self.now

    def monotonic_s(self) -> float:
        return self.now.timestamp()

    def boottime_s(self) -> float:
        return self.now.timestamp()

    def turn(self, **spans: float) -> None:
        self.now += timedelta(**spans)


@dataclass
class Bench:
    """One server, one folder, one clock."""

    base: str
    folder: Path
    clock: HandClock
    replay: Replay
    delivered: list[Live] = field(default_factory=list)
    demands: list[Demand] = field(default_factory=list)

    @property
    def key_file(self) -> str:
        return str(self.folder / "key")

    def order(self, *texts: str) -> None:
        self.replay.orders.clear()
        self.replay.orders.add([faults.parse(text) for text in texts])

    def task(self, feed: AnyFeed, name: FieldName = "intensity", scope: Scope = "direct", **options: Any) -> FeedTask:
        cache = Cache(self.folder / "cache")
        account = Account(feedtask.account_key(feed), feed.requests_per_day)
        account.spent = cache.spent(account.key)
        deliver: Callable[[str, Live], None] = lambda _site, live: self.delivered.append(live)  # noqa: E731
        return FeedTask("north", name, feed, scope, account, cache, self.clock, deliver, self.folder, **options)

    def vtn(self, **settings: Any) -> VtnTask:
        config = DemandResponse(vtn_url=f"{self.base}/openadr3", client_id="me", secret_file=self.key_file, **settings)
        deliver: Callable[[str, Demand], None] = lambda _site, demand: self.demands.append(demand)  # noqa: E731
        return VtnTask("north", config, Cache(self.folder / "cache"), self.clock, deliver, self.folder)

    def events(self, *events: dict[str, Any]) -> None:
        path = self.folder / "events.json"
        path.write_text(json.dumps(events), encoding="utf-8")
        self.replay.events_file = path

    def asked(self, part: str) -> int:
        """How often paths with that part were asked."""
        return sum(count for path, count in self.replay.requests.items() if part in path)


class Caller:
    """One loop and one client for all steps: a client reads the machine's authorities, a tenth of a second each."""

    def __init__(self) -> None:
        self._runner = asyncio.Runner()
        self._client = web.client()

    def step(self, task: FeedTask | VtnTask) -> float:
        return self._runner.run(task.step(self._client))

    def close(self) -> None:
        self._runner.run(self._client.aclose())
        self._runner.close()


@cache
def caller() -> Caller:
    return Caller()


def step(task: FeedTask | VtnTask) -> float:
    """One attempt of a task; the seconds until its next."""
    return caller().step(task)


def write_traces(folder: Path) -> dict[str, TraceFile]:
    """A fortnight of hours in which every zone has the same values."""
    head = ",".join(["datetime_utc", *ZONES])
    tables: dict[str, list[str]] = {"intensity": [head], "renewable": [head], "price": [head], "generation": [head]}
    for hour in range(HOURS):
        stamp = (FIRST + timedelta(hours=hour)).strftime("%Y-%m-%d %H:%M:%S")
        value = intensity(hour)
        row = {"intensity": value, "renewable": value / 10, "price": value / 5 - 40, "generation": value * 100}
        for name, lines in tables.items():
            lines.append(",".join([stamp, *[f"{row[name]:.4f}"] * len(ZONES)]))
    found = {}
    units = {"intensity": "g_per_kwh", "renewable": "percent", "price": "price_per_mwh", "generation": "w"}
    for name, lines in tables.items():
        path = folder / f"{name}.csv"
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        found[name] = TraceFile(path, units[name])  # type: ignore[arg-type]
    return found


@dataclass
class Served:
    """The server that all tests of a process share: a start and a stop for each would take longer than the tests."""

    base: str
    replay: Replay
    clock: HandClock


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    clock = HandClock()
    replay = Replay(Traces(write_traces(tmp_path_factory.mktemp("traces"))), clock_s=clock.monotonic_s)
    listening = serving.listen("127.0.0.1", 0)
    server = serving.server(replay)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        yield Served(f"http://127.0.0.1:{listening.getsockname()[1]}", replay, clock)
    finally:
        caller().close()
        server.should_exit = True
        thread.join()
        listening.close()


@pytest.fixture
def bench(served: Served, tmp_path: Path) -> Bench:
    """The server as if it had just started, and a folder with its key."""
    served.replay.orders.clear()
    served.replay.requests.clear()
    served.replay.events_file = None
    served.clock.now = NOW
    key = tmp_path / "key"
    key.write_text("replay\n", encoding="ascii")
    key.chmod(0o600)
    return Bench(served.base, tmp_path, served.clock, served.replay)
