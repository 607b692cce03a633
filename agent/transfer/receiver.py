"""The receiving end of one connection: asks for chunks as far as memory allows, takes frames, survives cuts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from heliotrope.agent.checkpoints import manifest as manifests
from heliotrope.agent.checkpoints.manifest import Manifest
from heliotrope.foundation.clock import Clock
from heliotrope.foundation.errors import Conflict, Corrupt, HeliotropeError, Unreachable

from . import wire
from .budget import Budget, Stop
from .connection import Connection, Received
from .dialler import Speak
from .handshake import as_catalogued
from .intake import Intake
from .window import Window
from .work import Arrived, Work

Dial = Callable[[Speak], Connection]
"""Gives a greeted connection, whoever dialled; raises Unreachable when it is worth trying again."""

_REPORT_S = 1.0
_BACK_OFF_LEAST_S, _BACK_OFF_MOST_S = 0.1, 5.0
FRAME_SLACK_BYTES = 4096
ASKED_LIMIT = 1 << 14  # chunks of one connection; the sender refuses four times as many


def take_manifest(connection: Connection) -> tuple[bytes, bool, bytes]:
    """The answer to a ManifestRequest: (its digest, whether the sender has the base, its encoding, or nothing if
    the request says that we have it).
    """
    while isinstance(reply := connection.receive(), wire.Wait):
        pass
    if not isinstance(reply, wire.ManifestReply):
        raise Corrupt("cannot fetch the manifest: the sender answered something else; upgrade the older agent")
    data = bytearray()
    while len(data) < reply.size_bytes:
        part = connection.receive()
        if (
            not isinstance(part, Received)
            or part.kind != wire.PART
            or not 0 < len(part.data) <= reply.size_bytes - len(data)
        ):
            raise Corrupt("cannot fetch the manifest: the sender sent something else; upgrade the older agent")
        data += part.data
    return reply.digest, reply.base, bytes(data)


def checked_manifest(digest: bytes, data: bytes) -> Manifest:
    """The manifest in ``data``. Raises Corrupt when it is not the one announced, and what decoding raises."""
    manifest = manifests.decode(data)
    if manifests.digest(manifest) != digest:
        raise Corrupt("cannot use the manifest: its digest is another; the sender is at fault, try again")
    return manifest


@dataclass
class Terms:
    """What all receivers of a pull share. ``pairs``: chunk -> base chunk to code against; ``ticket``: the newest;
    ``has_base``: what the sender said on the first connection; ``share_bytes``: of the memory, for one connection.
    """

    reference: str
    digest: bytes
    base_digest: bytes
    has_base: bool
    pairs: dict[int, int]
    budget: Budget
    clock: Clock
    ticket: Callable[[], bytes]
    give_up_s: float
    stop: Stop
    sleep: Callable[[float], object]
    rtt_s: float
    share_bytes: int = 0


class Receiver:
    """One connection's life over all its reconnections; :meth:`run` is a thread's target."""

    def __init__(self, work: Work, intake: Intake, terms: Terms, dial: Dial, *, reports: bool) -> None:
        self._work = work
        self._intake = intake
        self._terms = terms
        self._dial = dial
        self._reports = reports
        self._asked: dict[int, tuple[int, int]] = {}
        self._asked_bytes = 0
        self._begun_bytes = 0  # of the frame that is coming in
        self._window = Window(terms.rtt_s, terms.clock.monotonic_s())
        self._ticket = terms.ticket()
        self._reported_s = terms.clock.monotonic_s()
        self._has_base = terms.has_base
        self._connected = False
        self._counted_bytes = 0

    def run(self, ready: Connection | None = None) -> None:
        """Work until all is done; ``ready``: a connection over which the manifest came already."""
        back_off_s = _BACK_OFF_LEAST_S
        try:
            while not self._over():
                before_bytes = self._work.totals.done_bytes
                try:
                    self._converse(ready)
                except Unreachable as error:
                    self._cut(error)
                    if self._work.totals.done_bytes > before_bytes:
                        back_off_s = _BACK_OFF_LEAST_S
                    self._terms.sleep(back_off_s)
                    back_off_s = min(2 * back_off_s, _BACK_OFF_MOST_S)
                ready = None
        except Exception as error:  # noqa: BLE001 - carried to the thread that called pull()
            if not self._over():
                self._work.stop(as_catalogued(error))
        finally:
            self._give_back()

    def _over(self) -> bool:
        return self._work.over or self._terms.stop()

    def _converse(self, ready: Connection | None) -> None:
        connection = ready or self._connect()
        self._connected = True
        self._counted_bytes = 0
        self._count(connection)  # greeting and manifest: no part of a frame
        self._window = Window(self._terms.rtt_s, self._terms.clock.monotonic_s(), connection.received_bytes)
        connection.on_received = lambda: self._received(connection)
        try:
            while not self._over():
                self._ask(connection)
                self._report(connection)
                if self._asked:
                    self._take(connection)
                else:
                    self._work.wait()
                self._count(connection)
            connection.send(wire.Bye())
        finally:
            self._count(connection)
            connection.close()

    def _received(self, connection: Connection) -> None:
        """In the middle of a frame, too: in whole frames the rate of a slow link is a riddle, and asking is late."""
        self._begun_bytes += self._count(connection)
        self._ask(connection)

    def _count(self, connection: Connection) -> int:
        """Bytes since the last time."""
        total_bytes = connection.received_bytes + connection.sent_bytes
        fresh_bytes = total_bytes - self._counted_bytes
        self._work.count_wire(fresh_bytes)
        self._counted_bytes = total_bytes
        self._window.observe(self._terms.clock.monotonic_s(), connection.received_bytes)
        return fresh_bytes

    def _connect(self) -> Connection:
        """A connection over which chunks were asked for in the same breath as the manifest."""
        terms = self._terms

        def speak(connection: Connection) -> None:
            connection.send(wire.ManifestRequest(terms.reference, terms.base_digest, terms.digest))
            self._ask(connection)

        connection = self._dial(speak)
        try:
            digest, self._has_base, _ = take_manifest(connection)
            if digest != self._terms.digest:
                raise Conflict(
                    f"cannot go on with {self._terms.reference!r}: the source has another checkpoint; start anew"
                )
        except BaseException:
            connection.close()
            raise
        return connection

    def _ask(self, connection: Connection) -> None:
        """Keep the window full; in batches, so that small chunks do not cost a message each."""
        window_bytes = self._window.size_bytes(self._terms.share_bytes)
        free_bytes = window_bytes - (self._asked_bytes - self._begun_bytes)
        if self._asked and (free_bytes < window_bytes // 4 or len(self._asked) >= ASKED_LIMIT):
            return
        wanted: list[tuple[int, int]] = []
        claimed = self._work.claim(free_bytes, wire.WANTS_LIMIT)
        for position, unit in enumerate(claimed):
            base_index = self._terms.pairs.get(unit, -1) if self._has_base and not self._intake.plain(unit) else -1
            size_bytes = self._work.places[unit][1].size_bytes
            cost_bytes = size_bytes * (3 if base_index >= 0 else 2) + FRAME_SLACK_BYTES
            budget = self._terms.budget
            first = not self._asked and not wanted
            if not (budget.take(cost_bytes, self._over) if first else budget.try_take(cost_bytes)):
                self._work.fetch(claimed[position:], first=True)
                break
            self._asked[unit] = (base_index, cost_bytes)
            self._asked_bytes += size_bytes
            wanted.append((unit, base_index))
        if wanted:
            connection.send(wire.Want(tuple(wanted)))

    def _take(self, connection: Connection) -> None:
        message = connection.receive()
        if isinstance(message, wire.Wait):
            return
        if not isinstance(message, Received) or message.kind != wire.FRAME or message.index not in self._asked:
            raise Corrupt("cannot take a frame: it was not asked for; upgrade the older agent")
        self._begun_bytes = 0
        base_index, cost_bytes = self._asked.pop(message.index)
        self._asked_bytes -= self._work.places[message.index][1].size_bytes
        self._work.arrive(Arrived(message.index, base_index, message, cost_bytes))

    def _report(self, connection: Connection) -> None:
        """Once a second: a renewed ticket, and on one connection how far it is."""
        now_s = self._terms.clock.monotonic_s()
        if now_s - self._reported_s < _REPORT_S:
            return
        self._reported_s = now_s
        ticket = self._terms.ticket()
        if ticket != self._ticket:
            connection.send(wire.Renew(ticket))
            self._ticket = ticket
        if self._reports:
            total_bytes = sum(chunk.size_bytes for _, chunk in self._work.places)
            connection.send(wire.Progress(self._work.totals.done_bytes, total_bytes))

    def _cut(self, error: HeliotropeError) -> None:
        if self._connected:  # a connection that could not be made is not cut
            self._work.count_cut()
            self._connected = False
        self._give_back()
        waited_s = self._terms.clock.monotonic_s() - self._work.progress_s
        if waited_s > self._terms.give_up_s:
            raise Unreachable(f"cannot fetch the checkpoint: nothing came for {waited_s:.0f} s: {error}") from error

    def _give_back(self) -> None:
        """Return what was asked for and did not come."""
        units = list(self._asked)
        self._terms.budget.give(sum(cost_bytes for _, cost_bytes in self._asked.values()))
        self._asked.clear()
        self._asked_bytes = self._begun_bytes = 0
        self._work.fetch(units, first=True)
