"""One scrape of the agent: every room is asked, in its own thread where it has one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from heliotrope.foundation import ownfigures
from heliotrope.foundation.clock import Clock
from heliotrope.foundation.keyring import Keyring
from heliotrope.foundation.metrics import Samples

from ..checkpoints.store import ChunkStore
from ..held import HeldJobs
from ..power.caps.keeper import Keeper
from ..power.monitor import PowerMonitor
from ..runner import Runner
from ..session import Session
from ..spool import Spool
from ..transfer.server import TransferServer
from ..transfer.traffic import Traffic
from . import families as f
from . import own, work
from .energy import EnergyTotals, collect_power

LOOP_S = 5.0  # an event loop that takes longer to answer is a failed scrape, which says more than old figures


@dataclass(frozen=True)
class Node:
    """Which node this is."""

    keyring: Keyring
    site: str
    state_dir: Path
    clock: Clock


@dataclass(frozen=True)
class Rooms:
    """Whom to ask."""

    node: Node
    held: HeldJobs
    store: ChunkStore
    runner: Runner
    monitor: PowerMonitor
    keeper: Keeper
    server: TransferServer
    traffic: Traffic
    spool: Spool
    session: Session


class AgentCollector:
    """Called by scrapes, in threads of their own."""

    def __init__(self, rooms: Rooms, totals: EnergyTotals, loop: asyncio.AbstractEventLoop) -> None:
        self._rooms = rooms
        self._totals = totals
        self._loop = loop
        self._spool_age = own.SpoolAge(rooms.spool, rooms.node.clock)

    def collect(self) -> Samples:
        """Raises TimeoutError when the event loop does not answer."""
        rooms, samples = self._rooms, Samples()
        self._in_loop(lambda: self._collect_from_loop(samples))
        self._totals.collect(samples)
        collect_power(samples, rooms.monitor, rooms.node.clock)
        work.collect_caps(samples, rooms.keeper.active(), rooms.node.clock)
        work.collect_transfers(samples, rooms.traffic, rooms.server)
        own.collect_spool(samples, rooms.spool, self._spool_age)
        own.collect_cost(samples)
        ownfigures.collect(samples, "agent", rooms.node.keyring.current, rooms.node.state_dir)
        samples.add(f.STORE, rooms.store.used_bytes)
        return samples

    def _collect_from_loop(self, samples: Samples) -> None:
        rooms, name = self._rooms, self._rooms.node.keyring.current.name
        samples.add(f.NODE, 1, name.fleet, name.id, rooms.node.site)
        work.collect_jobs(samples, rooms.runner, rooms.held, rooms.node.clock)
        own.collect_session(samples, rooms.session, rooms.node.clock)

    def _in_loop(self, ask: Callable[[], None]) -> None:
        async def run() -> None:
            ask()

        asyncio.run_coroutine_threadsafe(run(), self._loop).result(LOOP_S)
