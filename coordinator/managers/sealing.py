"""Closes intervals into the nodes' chains, and signs the chains' heads."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from datetime import UTC
from functools import partial
from itertools import groupby

from heliotrope.foundation import certificates
from heliotrope.foundation import ledger as books
from heliotrope.foundation.identity import Identity
from heliotrope.foundation.ledger import Entry, Head

from ..forecasts.series import unix_s
from ..state.database import Transaction
from ..state.ledger_model import OpenLine, SignedHead
from . import ledger_chain
from .valuation import Valuation
from .world import World

log = logging.getLogger("heliotrope.coordinator.ledger")

LOOK_S = 2.0  # between two looks for intervals to close
LINES_LIMIT = 500  # closed at once: the state thread has others to serve
HEADS_LIMIT = 200


class Sealing:
    """A manager: at rest it costs one query every few seconds."""

    def __init__(self, world: World, identity: Callable[[], Identity]) -> None:
        self._world = world
        self._identity = identity
        self._look_at_s = 0.0
        self._sign_at_s = 0.0
        self._to_sign: list[str] | None = None  # what is left of the round under way; None: none is

    def ensure(self, tx: Transaction) -> bool:
        """Close what is due, then sign what is due; a part at a time."""
        now_s = self._world.clock.monotonic_s()
        if now_s >= self._look_at_s and not self.seal(tx):
            tx.after_commit(lambda: self._look_again(now_s + LOOK_S))
        if now_s >= self._sign_at_s and not self.sign(tx):
            tx.after_commit(lambda: self._sign_again(now_s + self._world.config.ledger.sign_every_s))
        return False

    def seal(self, tx: Transaction) -> bool:
        """Close intervals that ended, and to which nothing was added, a grace ago. True: there are more."""
        now_ms = round(unix_s(self._world.utc()) * 1000)
        grace_ms = round(self._world.config.ledger.grace_s * 1000)
        lines = tx.open_energy.due(now_ms - grace_ms, LINES_LIMIT)
        valuation = Valuation(self._world)
        by_node = sorted(lines, key=lambda line: (line.node_id, line.start_ms, line.device, line.job_id, line.source))
        for node_id, found in groupby(by_node, key=lambda line: line.node_id):
            entries = list(_entries(tx, valuation, node_id, found, grace_ms))
            ledger_chain.append(tx, node_id, entries)
            tx.after_commit(partial(self._count, entries))
        tx.open_energy.drop(lines)
        return len(lines) == LINES_LIMIT

    def _count(self, entries: list[Entry]) -> None:
        for entry in entries:
            self._world.meters.booked(
                entry.site,
                entry.energy_uj,
                entry.renewable_uj or 0,
                entry.energy_uj if entry.carbon_ng is None else 0,
                entry.carbon_ng or 0,
                entry.carbon_static_ng or 0,
            )

    def sign(self, tx: Transaction) -> bool:
        """Go on with the round over all nodes, a part at a time. True: it is not over."""
        waiting = self._to_sign if self._to_sign is not None else sorted(node.node_id for node in tx.nodes.all())
        self.sign_heads(tx, waiting[:HEADS_LIMIT])
        left = waiting[HEADS_LIMIT:]
        tx.after_commit(lambda: self._sign_next(left))
        return bool(left)

    def sign_heads(self, tx: Transaction, node_ids: Iterable[str]) -> None:
        """Bring these nodes' heads up to their chains."""
        identity = self._identity()
        signed: list[SignedHead] = []
        for node_id in node_ids:
            sequence, hash_ = tx.ledger.tail(node_id)
            if sequence > tx.ledger.signed_sequence(node_id):
                head = Head(
                    fleet=identity.name.fleet,
                    node_id=node_id,
                    sequence=sequence,
                    hash=hash_.hex(),
                    signed_utc=self._world.utc().astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
                    signer=identity.serial,
                )
                signed.append(SignedHead(head=head, signature=books.sign_head(head, identity)))
        if signed:
            certificate = certificates.parse(identity.certificate_pem, "the coordinator's certificate")
            tx.ledger.add_signer(identity.serial, books.certificate_text(certificate))
            tx.ledger.add_heads(signed)

    def _sign_next(self, left: list[str]) -> None:
        self._to_sign = left or None

    def _look_again(self, at_s: float) -> None:
        self._look_at_s = at_s

    def _sign_again(self, at_s: float) -> None:
        self._sign_at_s = at_s


def _entries(
    tx: Transaction, valuation: Valuation, node_id: str, lines: Iterable[OpenLine], grace_ms: int
) -> Iterable[Entry]:
    for start_ms, found in groupby(lines, key=lambda line: line.start_ms):
        firsts = tx.ledger.firsts(node_id, start_ms)
        for line in found:
            key = (line.start_ms, line.site, line.device, line.scope, line.source, line.job_id)
            first = firsts.get(key)
            late = line.opened_ms > line.start_ms + line.length_ms + grace_ms
            kind: books.Kind = "correction" if first is not None else "late" if late else "first"
            yield valuation.entry(tx, line, kind, first)
