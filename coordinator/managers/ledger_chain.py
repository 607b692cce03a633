"""Puts entries at the ends of their nodes' chains."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from heliotrope.foundation import ledger as books
from heliotrope.foundation.ledger import VERSION, Entry

from ..state.database import Transaction


def append(tx: Transaction, node_id: str, entries: Iterable[Entry]) -> None:
    """In this order; their sequence numbers are given here, whatever they say."""
    sequence, previous = tx.ledger.tail(node_id)
    chained: list[tuple[Entry, bytes]] = []
    for entry in entries:
        sequence += 1
        numbered = msgspec.structs.replace(entry, sequence=sequence)
        previous = books.entry_hash(previous, books.canonical(numbered))
        chained.append((numbered, previous))
    tx.ledger.append(chained)


def append_gap(
    tx: Transaction, node_id: str, site: str, start_ms: int, end_ms: int, lost_count: int, reason: str
) -> None:
    """Records that will never come, with the span that they covered as far as it is known."""
    entry = Entry(
        version=VERSION,
        node_id=node_id,
        sequence=1,
        kind="gap",
        start_ms=start_ms,
        length_ms=end_ms - start_ms,
        site=site,
        device="",
        scope="",
        source="",
        estimated=False,
        metered="it",
        job_id="",
        energy_uj=0,
        covered_us=0,
        span_us=0,
        reserved_us=0,
        lost_count=lost_count,
        note=reason[:500] or None,
    )
    append(tx, node_id, [entry])
