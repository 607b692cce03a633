"""Tells watchers that something changed, from the state thread to the event loop."""

from __future__ import annotations

import asyncio
import contextlib


class Changes:
    """A counter that can be waited on; a burst of changes wakes a watcher once."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._event = asyncio.Event()

    def notify(self) -> None:
        """From any thread."""
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody watches any more
            self._loop.call_soon_threadsafe(self._wake)

    async def wait(self, *, timeout_s: float) -> None:
        """Until the next change, at most ``timeout_s``."""
        event = self._event
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(event.wait(), timeout_s)

    def _wake(self) -> None:
        self._event.set()
        self._event = asyncio.Event()
