"""The ledger: entries in one hash chain per node, their signed heads, and sums. Nothing here changes a row."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import Connection, bindparam, case, func, insert, select

from heliotrope.foundation.ledger import START_HASH, Entry, Head

from .ledger_model import JobEnergy, SignedHead, Sums
from .ledger_schema import ledger_entries as entries
from .ledger_schema import ledger_heads as heads
from .ledger_schema import ledger_signers as signers

_FIELDS = Entry.__struct_fields__
_GROUP = ("site", "node_id", "job_id", "source", "estimated", "metered", "pue_ppm")
_ADDED = ("energy_uj", "covered_us", "span_us", "reserved_us")
_MAYBE = ("carbon_ng", "carbon_static_ng", "renewable_uj", "embodied_ng", "lost_count")
_WITHOUT = {
    "unknown_carbon_uj": ("carbon_ng", "energy_uj"),
    "unknown_static_uj": ("carbon_static_ng", "energy_uj"),
    "unknown_renewable_uj": ("renewable_uj", "energy_uj"),
    "unknown_embodied_us": ("embodied_ng", "reserved_us"),
}


# Built once: they run for every node and interval.
_TAIL = (
    select(entries.c.sequence, entries.c.hash)
    .where(entries.c.node_id == bindparam("node"))
    .order_by(entries.c.sequence.desc())
    .limit(1)
)
_KEY = ("start_ms", "site", "device", "scope", "source", "job_id")
_FIRSTS = select(entries.c.sequence, *(entries.c[name] for name in _KEY)).where(
    entries.c.start_ms == bindparam("start"),
    entries.c.node_id == bindparam("node"),
    entries.c.kind.in_(("first", "late")),
)


class Ledger:
    """The repository of closed intervals."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    # -- chains

    def tail(self, node_id: str) -> tuple[int, bytes]:
        """(sequence, hash) of the node's newest entry; (0, the start's hash) before the first."""
        row = self._connection.execute(_TAIL, {"node": node_id}).first()
        return (int(row[0]), bytes(row[1])) if row else (0, START_HASH)

    def append(self, chained: Sequence[tuple[Entry, bytes]]) -> None:
        """Entries with their hashes, in the order of their chains."""
        if chained:
            rows = [{**{name: getattr(entry, name) for name in _FIELDS}, "hash": hash_} for entry, hash_ in chained]
            self._connection.execute(insert(entries), rows)

    def firsts(self, node_id: str, start_ms: int) -> dict[tuple[int, str, str, str, str, str], int]:
        """Key -> sequence of the entry that closed it first, of one node's interval."""
        rows = self._connection.execute(_FIRSTS, {"node": node_id, "start": start_ms})
        return {tuple(row[1:]): int(row[0]) for row in rows}

    def chain(self, node_id: str, after: int, last: int, limit: int) -> list[tuple[Entry, bytes]]:
        """Entries with their hashes, of sequence above ``after`` up to ``last``."""
        query = select(entries).where(
            entries.c.node_id == node_id, entries.c.sequence > after, entries.c.sequence <= last
        )
        rows = self._connection.execute(query.order_by(entries.c.sequence).limit(limit)).mappings()
        return [(Entry(**{name: row[name] for name in _FIELDS}), bytes(row["hash"])) for row in rows]

    def nodes(self) -> list[str]:
        """Nodes with a chain."""
        query = select(entries.c.node_id).where(entries.c.sequence == 1).order_by(entries.c.node_id)
        return [str(name) for name in self._connection.execute(query).scalars()]

    # -- heads

    def signed_sequence(self, node_id: str) -> int:
        """The newest entry that a head of this node is about; 0: none."""
        query = select(heads.c.sequence).where(heads.c.node_id == node_id).order_by(heads.c.sequence.desc()).limit(1)
        return int(self._connection.execute(query).scalar() or 0)

    def add_heads(self, signed: Sequence[SignedHead]) -> None:
        if signed:
            names = Head.__struct_fields__
            rows = [{**{n: getattr(one.head, n) for n in names}, "signature": one.signature} for one in signed]
            self._connection.execute(insert(heads), rows)

    def heads(self, node_id: str) -> list[SignedHead]:
        """Of one chain, by sequence."""
        query = select(heads).where(heads.c.node_id == node_id).order_by(heads.c.sequence)
        return [_signed(dict(row)) for row in self._connection.execute(query).mappings()]

    def add_signer(self, serial: str, certificate_pem: str) -> None:
        """A coordinator's certificate; again changes nothing."""
        if self._connection.execute(select(signers.c.serial).where(signers.c.serial == serial)).first() is None:
            self._connection.execute(insert(signers).values(serial=serial, certificate_pem=certificate_pem))

    def signers(self) -> list[tuple[str, str]]:
        """(serial, certificate in PEM)."""
        query = select(signers.c.serial, signers.c.certificate_pem).order_by(signers.c.serial)
        return [(str(serial), str(pem)) for serial, pem in self._connection.execute(query)]

    # -- sums

    def span(self) -> tuple[int, int] | None:
        """(start of the first interval, start of the last) of all entries, in ms."""
        row = self._connection.execute(select(func.min(entries.c.start_ms), func.max(entries.c.start_ms))).first()
        return None if row is None or row[0] is None else (int(row[0]), int(row[1]))

    def sums(self, bucket_ms: int, start_ms: int, end_ms: int, job_id: str = "") -> Iterator[Sums]:
        """Entries of intervals that begin in [start, end), by bucket, site, node, job, source."""
        bucket = (entries.c.start_ms // bucket_ms * bucket_ms).label("bucket_ms")
        group = [bucket, *(entries.c[name] for name in _GROUP)]
        added = [func.sum(entries.c[name]).label(name) for name in _ADDED]
        added += [func.coalesce(func.sum(entries.c[name]), 0).label(name) for name in _MAYBE]
        for label, (unknown, counted) in _WITHOUT.items():
            added.append(func.sum(case((entries.c[unknown].is_(None), entries.c[counted]), else_=0)).label(label))
        late = func.sum(case((entries.c.kind != "first", entries.c.energy_uj), else_=0)).label("late_uj")
        query = select(*group, *added, late).where(entries.c.start_ms >= start_ms, entries.c.start_ms < end_ms)
        if job_id:
            query = query.where(entries.c.job_id == job_id)
        for row in self._connection.execute(query.group_by(*group)).mappings():
            yield Sums(**{name: _plain(value) for name, value in row.items()})

    def renewable_shares(self, start_ms: int, end_ms: int) -> dict[tuple[str, int], int]:
        """(site, interval) -> renewable share [ppm] of the site's power, where it is known."""
        columns = (entries.c.site, entries.c.start_ms)
        query = select(*columns, func.max(entries.c.renewable_ppm)).where(
            entries.c.start_ms >= start_ms, entries.c.start_ms < end_ms, entries.c.renewable_ppm.is_not(None)
        )
        return {(str(s), int(at)): int(ppm) for s, at, ppm in self._connection.execute(query.group_by(*columns))}

    def of_job(self, job_id: str, start_ms: int) -> list[JobEnergy]:
        """What a job used in intervals that begin at ``start_ms`` or later."""
        names = ("start_ms", "length_ms", "node_id", "energy_uj")
        query = select(*(entries.c[name] for name in names))
        query = query.where(entries.c.job_id == job_id, entries.c.start_ms >= start_ms)
        return [JobEnergy(**row) for row in self._connection.execute(query.order_by(entries.c.start_ms)).mappings()]


def _signed(row: dict[str, Any]) -> SignedHead:
    signature = bytes(row.pop("signature"))
    return SignedHead(head=Head(**row), signature=signature)


def _plain(value: Any) -> Any:
    """PostgreSQL adds up to Decimals."""
    return value if value is None or isinstance(value, str | bool) else int(value)
