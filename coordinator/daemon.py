"""The coordinator process: its life from ready to stopped; ``serve`` is its one loop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from pathlib import Path

from heliotrope.foundation import failpoints
from heliotrope.foundation.clock import SystemClock
from heliotrope.foundation.sdnotify import Notifier

from .config import CoordinatorConfig
from .wiring import wire_up

log = logging.getLogger("heliotrope.coordinator")


def run(config: CoordinatorConfig, folder: Path) -> None:
    """Until SIGTERM or SIGINT. ``folder``: what relative paths of the configuration are relative to."""
    failpoints.arm()
    asyncio.run(serve(config, folder))


async def serve(config: CoordinatorConfig, folder: Path) -> None:
    """The one loop: ready, fed to the watchdog while the state thread beats, stopped in reverse order."""
    coordinator = wire_up(config, folder, SystemClock())
    coordinator.engine.start()
    await coordinator.warden.refresh()  # before anybody is let in: what was revoked stays out over a restart
    await coordinator.server.start()
    coordinator.feeder.start()
    warden = asyncio.create_task(coordinator.warden.run())
    if coordinator.metrics is not None:
        coordinator.metrics.start()
    notifier = Notifier.from_environment()
    notifier.ready(f"serving on {coordinator.address}")
    log.info("coordinator ready on %s", coordinator.address)
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    interval_s = (notifier.watchdog_interval_s or 20.0) / 2
    while not stopping.is_set():
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stopping.wait(), interval_s)
        # The state thread answers, or the watchdog is left to bite.
        await coordinator.engine.run(lambda _tx: None, ensure=False)
        notifier.watchdog()
    notifier.stopping()
    warden.cancel()
    await asyncio.to_thread(coordinator.feeder.stop)
    if coordinator.metrics is not None:
        coordinator.metrics.stop()
    coordinator.sessions.close_all()
    await coordinator.server.stop(grace=2.0)
    coordinator.engine.stop()
    coordinator.database.close()
