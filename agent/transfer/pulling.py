"""One pull from beginning to end: plan, threads, verification, the final name."""

from __future__ import annotations

import os
import threading
from pathlib import Path

from heliotrope.agent.checkpoints.manifest import Manifest, digest
from heliotrope.agent.checkpoints.pairing import pair
from heliotrope.agent.checkpoints.reader import CheckpointReader
from heliotrope.agent.checkpoints.restore import observe
from heliotrope.agent.checkpoints.store import ChunkStore
from heliotrope.foundation.clock import Clock
from heliotrope.foundation.errors import Conflict, Corrupt, DeadlineExceeded, OutOfSpace, Unreachable

from . import wire
from .ahead import Ahead
from .budget import Budget
from .connection import Connection
from .crew import Crew
from .dialler import Dialler, Speak
from .growth import first_count
from .intake import Intake
from .partial import Partial, remove_partial
from .receiver import Terms, checked_manifest, take_manifest
from .result import OnProgress, PullOptions, PullResult
from .work import Totals, Work

# Of the memory: what has come and waits for a decoder. The rest is for what is on its way, which a long link needs.
BACKLOG_SHARE = 16
_BACK_OFF_S = 0.2


class Pull:
    """Fetches one checkpoint; :meth:`run` once."""

    def __init__(
        self,
        dialler: Dialler,
        reference: str,
        destination: Path,
        *,
        store: ChunkStore | None,
        base: CheckpointReader | None,
        options: PullOptions,
        cancel: threading.Event,
        on_progress: OnProgress | None,
        clock: Clock,
    ) -> None:
        self._dialler = dialler
        self._reference = reference
        self._destination = destination
        self._store = store
        self._base = base
        self._options = options
        self._cancel = cancel
        self._on_progress = on_progress
        self._clock = clock
        self._start_s = clock.monotonic_s()
        self._ahead = Ahead(dialler.connect, clock)

    def run(self) -> PullResult:
        """See :func:`heliotrope.agent.transfer.client.pull`."""
        self._dialler.on_rtt = lambda rtt_s: self._ahead.start(self._first_count(rtt_s) - 1)
        try:
            return self._run()
        finally:
            self._ahead.close()

    def _run(self) -> PullResult:
        connection, manifest, has_base = self._open()
        try:
            if self._destination.is_symlink() or self._destination.exists():
                return self._there_already(manifest, connection)
            partial = Partial(self._destination, manifest)
        except BaseException:
            connection.close()
            raise
        try:
            work = Work(manifest, self._clock, self._options.memory_bytes // BACKLOG_SHARE)
            self._dialler.finished = lambda: work.over  # an error in one thread must not leave others waiting
            self._check_space(manifest, partial)
            crew = self._crew(work, manifest, partial, has_base)
            crew.run(connection, self._first_count(self._dialler.rtt_s))
            network_s = self._clock.monotonic_s() - self._start_s
            self._finish(manifest, partial)
        except OutOfSpace:
            partial.discard()
            raise
        finally:
            connection.close()
            partial.close()
        return self._result(manifest, work.totals, network_s, crew.connection_count)

    def _open(self) -> tuple[Connection, Manifest, bool]:
        """The first connection and the manifest; tried again until ``give_up_s``."""
        request = wire.ManifestRequest(self._reference, self._base.digest if self._base else b"")
        while True:
            try:
                connection = self._dialler(lambda greeted: greeted.send(request))
                try:
                    found, has_base, data = take_manifest(connection)
                    return connection, checked_manifest(found, data), has_base
                except BaseException:
                    connection.close()
                    raise
            except Unreachable:
                if self._clock.monotonic_s() - self._start_s > self._options.give_up_s:
                    raise
            except DeadlineExceeded:
                self._check_cancel()
                raise
            self._cancel.wait(_BACK_OFF_S)
            self._check_cancel()

    def _first_count(self, rtt_s: float) -> int:
        return self._options.connections or first_count(rtt_s, self._options.connection_limit)

    def _dial(self, speak: Speak) -> Connection:
        return self._dialler(speak, self._ahead.take())

    def _crew(self, work: Work, manifest: Manifest, partial: Partial, has_base: bool) -> Crew:
        budget = Budget(self._options.memory_bytes)
        journaled = frozenset(partial.journaled())
        intake = Intake(work, partial, self._store, self._base, budget, self._dialler.buffers, journaled)
        terms = Terms(
            reference=self._reference,
            digest=digest(manifest),
            base_digest=self._base.digest if self._base else b"",
            has_base=has_base,
            pairs=pair(manifest, self._base.manifest) if self._base else {},
            budget=budget,
            clock=self._clock,
            ticket=self._dialler.ticket,
            give_up_s=self._options.give_up_s,
            stop=self._cancel.is_set,
            sleep=self._cancel.wait,
            rtt_s=self._dialler.rtt_s,
        )
        return Crew(
            work, intake, terms, self._dialler, self._dial, self._options, self._check_cancel, self._on_progress
        )

    def _check_cancel(self) -> None:
        if self._cancel.is_set():
            raise Conflict(
                f"cannot fetch {self._destination}: it was cancelled; call again to go on from what is there"
            )

    def _check_space(self, manifest: Manifest, partial: Partial) -> None:
        needed_bytes = manifest.data_bytes - partial.held_bytes()
        disk = os.statvfs(partial.folder)
        free_bytes = disk.f_bavail * disk.f_frsize - self._options.reserve_bytes
        if needed_bytes > free_bytes:
            raise OutOfSpace(
                f"cannot fetch {self._destination}: it needs {needed_bytes} bytes, {max(0, free_bytes)} are free "
                "beyond the "
                "reserve; free the disk or choose another node"
            )

    def _finish(self, manifest: Manifest, partial: Partial) -> None:
        """Seal, read back, give it its name."""
        partial.seal(self._options.owner)
        try:
            _require_equal(partial.tree, manifest, self._destination, self._options.decoder_count)
        except Corrupt:
            partial.discard()
            raise
        partial.publish()

    def _there_already(self, manifest: Manifest, connection: Connection) -> PullResult:
        """The destination exists: fine if it is this very checkpoint (the call was repeated), else Conflict."""
        wire_bytes = connection.received_bytes + connection.sent_bytes
        connection.send(wire.Bye())
        try:
            _require_equal(self._destination, manifest, self._destination, self._options.decoder_count)
        except Corrupt as error:
            raise Conflict(
                f"cannot fetch {self._destination}: something else is there; remove it or name another place"
            ) from error
        remove_partial(self._destination)
        totals = Totals(done_bytes=manifest.data_bytes, reused_bytes=manifest.data_bytes, wire_bytes=wire_bytes)
        return self._result(manifest, totals, self._clock.monotonic_s() - self._start_s, 1)

    def _result(self, manifest: Manifest, totals: Totals, network_s: float, connection_count: int) -> PullResult:
        return PullResult(
            manifest_digest=digest(manifest),
            manifest=manifest,
            state_bytes=manifest.state_bytes,
            wire_bytes=totals.wire_bytes,
            fetched_bytes=totals.fetched_bytes,
            reused_bytes=totals.reused_bytes,
            resumed_bytes=totals.resumed_bytes,
            delta_bytes=totals.delta_bytes,
            chunks=sum(len(entry.chunks) for entry in manifest.entries),
            network_s=network_s,
            duration_s=self._clock.monotonic_s() - self._start_s,
            connections=connection_count,
            cuts=totals.cuts,
        )


def _require_equal(tree: Path, manifest: Manifest, destination: Path, threads: int) -> None:
    """Read the tree back; raise Corrupt naming what differs unless its manifest's digest is the expected one."""
    found = observe(tree, manifest, threads=threads)
    if digest(found.manifest) == digest(manifest):
        return
    there = {entry.path: entry for entry in found.manifest.entries}
    wrong = [entry.path or "the root" for entry in manifest.entries if there.get(entry.path) != entry]
    what = repr(wrong[0]) if wrong else "something that does not belong there"
    raise Corrupt(f"cannot verify {destination}: {what} is not as sent; check the disk and fetch it again")
