"""The ledger as lines for whoever wants to check it, a page at a time and beside the state thread."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial

from heliotrope.foundation import ledger_export as lines
from heliotrope.foundation.errors import NotFound
from heliotrope.foundation.ledger import VERSION
from heliotrope.v1 import operator_pb2 as pb

from ..engine import Engine
from ..managers.sealing import Sealing
from ..state.database import Transaction
from ..state.ledger_model import SignedHead

PAGE = 1000  # entries in one piece: some 400 kB


class LedgerExport:
    """Signs first, so that an export is covered to its last entry."""

    def __init__(self, engine: Engine, sealing: Sealing, fleet: str) -> None:
        self._engine = engine
        self._sealing = sealing
        self._fleet = fleet

    async def pieces(self, node_id: str) -> AsyncIterator[pb.LedgerPiece]:
        """Of one node, or of all. Raises NotFound for a node without entries."""
        tails = await self._engine.run(lambda tx: self._begin(tx, node_id), ensure=False)
        signers = await self._engine.read(lambda tx: tx.ledger.signers())
        begin: list[lines.Line] = [lines.LedgerLine(version=VERSION, fleet=self._fleet, node_id=node_id)]
        yield _piece([*begin, *(lines.SignerLine(serial=serial, certificate_pem=pem) for serial, pem in signers)])
        entry_count = head_count = 0
        for name, last in tails.items():
            heads = await self._engine.read(partial(_heads, node_id=name))
            heads = [one for one in heads if one.head.sequence <= last]
            head_count += len(heads)
            sequence = 0
            while sequence < last:
                page = await self._engine.read(partial(_page, node_id=name, after=sequence, last=last, heads=heads))
                yield _piece(page)
                sequence = min(sequence + PAGE, last)
            entry_count += last
        yield _piece([lines.EndLine(entry_count=entry_count, head_count=head_count)])

    def _begin(self, tx: Transaction, node_id: str) -> dict[str, int]:
        """Node -> its newest entry now: what is added later is not part of this export."""
        names = [node_id] if node_id else tx.ledger.nodes()
        if node_id and not tx.ledger.tail(node_id)[0]:
            raise NotFound(f"cannot export the ledger of node {node_id}: it has no entry; see `heliotrope node list`")
        self._sealing.sign_heads(tx, names)
        return {name: tx.ledger.tail(name)[0] for name in names}


def _heads(tx: Transaction, node_id: str) -> list[SignedHead]:
    return tx.ledger.heads(node_id)


def _page(tx: Transaction, node_id: str, after: int, last: int, heads: list[SignedHead]) -> list[lines.Line]:
    """Entries, each followed by its head if it has one."""
    by_sequence = {one.head.sequence: one for one in heads}
    page: list[lines.Line] = []
    for entry, hash_ in tx.ledger.chain(node_id, after, last, PAGE):
        page.append(lines.EntryLine(entry=entry, hash=hash_.hex()))
        signed = by_sequence.get(entry.sequence)
        if signed is not None:
            page.append(lines.HeadLine(head=signed.head, signature=signed.signature.hex()))
    return page


def _piece(page: list[lines.Line]) -> pb.LedgerPiece:
    return pb.LedgerPiece(lines=b"".join(lines.encode(line) for line in page))
