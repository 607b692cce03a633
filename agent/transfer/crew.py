"""The threads of a pull: receivers (as many as the link rewards) and decoders; and the loop that watches them."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from heliotrope.foundation.errors import Denied

from .connection import Connection
from .dialler import Dialler
from .growth import Growth
from .intake import Intake
from .receiver import Dial, Receiver, Terms
from .result import OnProgress, Progress, PullOptions
from .work import Work

log = logging.getLogger("heliotrope.agent.transfer")

_REPORT_S = 0.25
_RATE_MEMORY_RATIO = 0.7


class Crew:
    """Runs the threads until the work is over. ``connection_count``: most connections at a time."""

    def __init__(
        self,
        work: Work,
        intake: Intake,
        terms: Terms,
        dialler: Dialler,
        dial: Dial,
        options: PullOptions,
        check_cancel: Callable[[], None],
        on_progress: OnProgress | None,
    ) -> None:
        self.connection_count = 0
        self._work = work
        self._intake = intake
        self._terms = terms
        self._dialler = dialler
        self._dial = dial
        self._options = options
        self._check_cancel = check_cancel
        self._on_progress = on_progress
        self._threads: list[threading.Thread] = []
        self._rate_bytes_per_s = 0.0
        self._seen = (terms.clock.monotonic_s(), 0, 0)
        self._growth: Growth | None = None

    def run(self, connection: Connection, count: int) -> None:
        """Do all the work. ``connection``: the one that fetched the manifest, of ``count`` to begin with. Raises the
        first error of any thread.
        """
        work = self._work
        self._intake.begin()
        if self._options.connections is None:
            self._growth = Growth(count, self._options.connection_limit, self._terms.clock.monotonic_s())
        self._share_memory(count)
        try:
            self._receive(connection)
            for _ in range(count - 1):
                self._receive()
            for _ in range(self._options.decoder_count):
                self._spawn(self._intake.run, "transfer-decoder")
            while not work.over:
                work.watch()
                self._check_cancel()
                self._check_limit()
                self._dialler.check_sender()
                self._adapt()
                self._report(last=False)
        finally:
            work.stop()
            for thread in self._threads:
                thread.join()
            self._dialler.buffers.clear()
        if work.error is not None:
            raise work.error
        self._report(last=True)

    def _share_memory(self, count: int) -> None:
        # What is asked for costs twice its size (frame and chunk), thrice with a base.
        self._terms.share_bytes = self._options.memory_bytes // (2 * count)

    def _receive(self, ready: Connection | None = None) -> None:
        """One more connection; the one that is ``ready`` reports to the sender."""
        self.connection_count += 1
        receiver = Receiver(self._work, self._intake, self._terms, self._dial, reports=ready is not None)
        self._spawn(lambda: receiver.run(ready), "transfer-receiver")

    def _spawn(self, target: Callable[[], None], name: str) -> None:
        thread = threading.Thread(target=target, name=name, daemon=True)
        thread.start()
        self._threads.append(thread)

    def _check_limit(self) -> None:
        if self._work.totals.wire_bytes > self._dialler.byte_limit:
            raise Denied(
                f"cannot fetch on: more than the {self._dialler.byte_limit} bytes of the ticket came; ask for more"
            )

    def _adapt(self) -> None:
        """More connections as long as the last ones made it faster."""
        if self._growth is None:
            return
        judged = self._growth.observe(self._terms.clock.monotonic_s(), self._work.totals.wire_bytes)
        if judged.text:
            log.info("transfer of %s: %s", self._terms.reference[:16], judged.text)
        if judged.more:
            self._share_memory(self.connection_count + judged.more)
        for _ in range(judged.more):
            self._receive()

    def _report(self, *, last: bool) -> None:
        totals, now_s = self._work.totals, self._terms.clock.monotonic_s()
        since_s, since_wire, since_done = self._seen
        passed_s = now_s - since_s
        if self._on_progress is None or (passed_s < _REPORT_S and not last):
            return
        if passed_s > 0:
            rate = (totals.wire_bytes - since_wire) / passed_s
            self._rate_bytes_per_s += (1 - _RATE_MEMORY_RATIO) * (rate - self._rate_bytes_per_s)
        done_rate = (totals.done_bytes - since_done) / passed_s if passed_s > 0 else 0.0
        self._seen = (now_s, totals.wire_bytes, totals.done_bytes)
        total_bytes = sum(chunk.size_bytes for _, chunk in self._work.places)
        left_bytes = total_bytes - totals.done_bytes
        left_s = 0.0 if left_bytes == 0 else left_bytes / done_rate if done_rate > 0 else None
        ratio = totals.fetched_bytes / totals.wire_bytes if totals.wire_bytes else 1.0
        self._on_progress(
            Progress(totals.done_bytes, total_bytes, totals.wire_bytes, self._rate_bytes_per_s, ratio, left_s)
        )
