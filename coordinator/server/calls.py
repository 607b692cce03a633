"""The calls that are open, so that those of a member who is no longer trusted can be ended."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from heliotrope.foundation.errors import HeliotropeError
from heliotrope.foundation.peer import Peer


@dataclass(eq=False)
class OpenCall:
    """One rpc under way. ``refusal``: why it was ended, told to the caller as the rpc's status."""

    peer: Peer
    task: asyncio.Task[Any]
    refusal: HeliotropeError | None = None


class OpenCalls:
    """Touched by the event loop only."""

    def __init__(self) -> None:
        self._open: set[OpenCall] = set()

    @contextlib.contextmanager
    def entered(self, peer: Peer) -> Iterator[None]:
        """Around a call, in its task. Raises the refusal when :meth:`end_refused` ended it."""
        task = asyncio.current_task()
        assert task is not None
        call = OpenCall(peer, task)
        self._open.add(call)
        try:
            yield
        except asyncio.CancelledError:
            if call.refusal is not None:
                raise call.refusal from None
            raise
        finally:
            self._open.discard(call)

    def end_refused(self, admit: Callable[[Peer], None]) -> list[Peer]:
        """End the calls of those whom ``admit`` raises about now; their peers."""
        ended = []
        for call in list(self._open):
            try:
                admit(call.peer)
            except HeliotropeError as error:
                call.refusal = error
                call.task.cancel()
                ended.append(call.peer)
        return ended
