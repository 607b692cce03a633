"""Where an end's processor time goes: the calls that do a part's work are wrapped by clocks of their thread."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from typing import Any

from heliotrope.agent.checkpoints import reader
from heliotrope.agent.transfer import intake, sender
from heliotrope.agent.transfer.connection import Connection

# Part -> where its calls are looked up. None of them calls another one of the list.
PARTS: dict[str, list[tuple[object, str]]] = {
    "link": [(Connection, "_read"), (Connection, "_write")],
    "digest": [(reader, "blake3"), (intake, "blake3")],
    "coding": [(sender, "encode_parts"), (intake, "decode")],
    "file": [(os, name) for name in ("open", "close", "preadv", "pwrite", "pwritev", "fdatasync", "fsync")],
}


class Meter:
    """Seconds of processor time by part, over all threads of this process, from :meth:`start` on."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._spent_s = dict.fromkeys(PARTS, 0.0)

    def start(self) -> None:
        """Wrap the calls; there is no way back, the process is one for measuring."""
        for part, places in PARTS.items():
            for owner, name in places:
                setattr(owner, name, self._timed(part, getattr(owner, name)))

    def spent_s(self) -> dict[str, float]:
        """So far, by part."""
        with self._lock:
            return dict(self._spent_s)

    def _timed(self, part: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*arguments: Any, **named: Any) -> Any:
            start_s = time.thread_time()
            try:
                return call(*arguments, **named)
            finally:
                spent_s = time.thread_time() - start_s
                with self._lock:
                    self._spent_s[part] += spent_s

        return timed
