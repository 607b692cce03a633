"""The agent process: its one loop, from the start of every part to the stop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from pathlib import Path

from heliotrope.foundation import failpoints
from heliotrope.foundation.clock import SystemClock
from heliotrope.foundation.sdnotify import Notifier

from .config import AgentConfig
from .only_one import only_one
from .wiring import Agent, wire_up

log = logging.getLogger("heliotrope.agent")


def run(config: AgentConfig, folder: Path) -> None:
    """Until SIGTERM or SIGINT; jobs run on. ``folder``: what relative paths of the configuration are relative to."""
    failpoints.arm()
    asyncio.run(serve(config, folder))


async def serve(config: AgentConfig, folder: Path) -> None:
    """The one loop: adopt what runs, keep the session, feed the watchdog from here."""
    state_dir = (folder / config.state_dir).resolve()  # jobs are given absolute paths
    state_dir.mkdir(parents=True, exist_ok=True, mode=0o711)
    with only_one(state_dir):
        agent = wire_up(config, folder, state_dir, SystemClock())
        notifier = Notifier.from_environment()
        agent.server.start()
        agent.monitor.start()
        await agent.runner.adopt()
        await asyncio.to_thread(agent.keeper.adopt)
        agent.scrub.start()
        if agent.metrics is not None:
            agent.metrics.start()
        stopping = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stopping.set)
        session, renewal = asyncio.create_task(agent.session.run()), asyncio.create_task(agent.renewal.run())
        capping = asyncio.create_task(agent.capping.run())
        notifier.ready(f"transfers on port {agent.server.address[1]}")
        log.info("agent ready, transfers on port %d", agent.server.address[1])
        interval_s = (notifier.watchdog_interval_s or 20.0) / 2
        while not stopping.is_set() and not session.done() and not capping.done():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stopping.wait(), interval_s)
            notifier.watchdog()
        notifier.stopping()
        renewal.cancel()
        await close(agent, session, capping)


async def close(agent: Agent, session: asyncio.Task[None], capping: asyncio.Task[None]) -> None:
    """In reverse order; a defect that ended the session comes out here."""
    session.cancel()
    capping.cancel()
    if agent.metrics is not None:
        agent.metrics.stop()
    await asyncio.to_thread(agent.scrub.stop)
    await agent.executor.close()
    # While the sensor still holds the driver open: its last client's leaving may change limits, too.
    await agent.capping.close()
    await agent.link.close()
    await agent.runner.close()
    await asyncio.to_thread(agent.server.stop)
    await asyncio.to_thread(agent.monitor.stop)
    agent.spool.close()
    for task in (session, capping):
        with contextlib.suppress(asyncio.CancelledError):
            await task
