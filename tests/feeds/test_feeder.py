"""The thread that fetches: it delivers, and neither a hanging service nor a defect keeps it from ending."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

import httpx

from heliotrope.coordinator.forecasts.feeder import Feeder
from heliotrope.coordinator.forecasts.live.feeds import UkCarbonIntensity
from heliotrope.coordinator.forecasts.live.kept import Live

from .conftest import Bench

PATIENCE_S = 60.0


def feeders() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "forecasts"]


def test_what_is_fetched_is_delivered_from_the_feeders_thread(bench: Bench) -> None:
    came = threading.Event()
    said: list[tuple[str, Live]] = []

    def deliver(_site: str, live: Live) -> None:
        said.append((threading.current_thread().name, live))
        came.set()

    task = bench.task(UkCarbonIntensity(url=f"{bench.base}/uk"))
    task.deliver = deliver
    feeder = Feeder([task])
    feeder.start()
    assert came.wait(PATIENCE_S)
    feeder.stop()
    ((thread, live),) = said
    assert thread == "forecasts" and live.failure == "" and not feeders()


@dataclass
class Watched:
    """A feed's task that says when it began to ask; once, it breaks instead."""

    url: str
    name: str = "watched"
    began: threading.Event = field(default_factory=threading.Event)

    async def step(self, client: httpx.AsyncClient) -> float:
        self.began.set()
        await client.get(self.url)
        return 1.0


@dataclass
class Broken:
    """A defect of ours."""

    name: str = "broken"

    async def step(self, client: httpx.AsyncClient) -> float:
        raise ZeroDivisionError


def test_a_service_that_hangs_does_not_keep_the_coordinator_from_stopping(bench: Bench) -> None:
    bench.order("hang")
    task = Watched(f"{bench.base}/uk/intensity/2026-03-10T12:00Z/fw48h")
    feeder = Feeder([Broken(), task])
    feeder.start()
    assert task.began.wait(PATIENCE_S)
    assert feeders()
    feeder.stop()
    assert not feeders()


def test_without_feeds_there_is_no_thread() -> None:
    feeder = Feeder([])
    feeder.start()
    assert not feeders()
    feeder.stop()
