"""Walks an exported ledger and says where it is broken first: hashes, sums, references, signatures.

What a clean result proves, and what it cannot, is in docs/ledger.md.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

import msgspec
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding

from . import certificates
from . import ledger as books
from .errors import Corrupt, Denied, InvalidInput
from .identity import Role, member_name
from .ledger import START_HASH, Entry, Head
from .ledger_export import EndLine, EntryLine, HeadLine, LedgerLine, Line, SignerLine, decode

# What parts of a certificate raise that are only looked at when they are used.
_UNREADABLE = (ValueError, TypeError, x509.InvalidVersion, x509.DuplicateExtension, UnsupportedAlgorithm)


class ChainResult(msgspec.Struct, kw_only=True):
    """One node's chain. ``signed_sequence``: the last entry that a verified head covers; 0: none."""

    node_id: str
    entry_count: int = 0
    correction_count: int = 0
    late_count: int = 0
    gap_count: int = 0
    energy_uj: int = 0
    last_hash: str = ""
    head_count: int = 0
    signed_sequence: int = 0
    signed_utc: str | None = None


class AuditResult(msgspec.Struct, kw_only=True):
    """``problem`` is the first thing that is wrong, empty when nothing is; ``trusted`` if signers were checked."""

    fleet: str = ""
    chains: list[ChainResult] = []
    trusted: bool = False
    problem: str = ""
    broken_node: str | None = None
    broken_sequence: int | None = None


class Audit:
    """One walk. ``ca_pem`` is the fleet's authority; without it signatures hold together and prove no origin.

    ``earlier`` are heads of an older export: the chain must still pass through each of them.
    """

    def __init__(self, ca_pem: bytes | None = None, earlier: Iterable[Head] = ()) -> None:
        self._ca_pem = ca_pem
        self._earlier = {(head.node_id, head.sequence): head.hash for head in earlier}
        self._signers: dict[str, x509.Certificate] = {}
        self._chains: dict[str, ChainResult] = {}
        self._node = ""
        self._last_hash = START_HASH
        self._keys: dict[tuple[int, str, str, str, str, str], int] = {}
        self._begun: LedgerLine | None = None
        self._ended = False
        self.heads: list[Head] = []

    def run(self, lines: Iterable[bytes]) -> AuditResult:
        """The whole export. Raises what fetching its lines raises, and Incompatible; the rest is told."""
        result = AuditResult(trusted=self._ca_pem is not None)
        try:
            for number, data in enumerate(lines, 1):
                self._checked(number, data)
            self._finish()
        except Corrupt as error:
            result.problem = str(error)
            if isinstance(error, _BrokenEntry):
                result.broken_node, result.broken_sequence = error.node_id, error.sequence
            elif self._node and not self._ended:
                result.problem = f"after entry {self._sequence()} of node {self._node}: {error}"
                result.broken_node, result.broken_sequence = self._node, self._sequence() + 1
        result.fleet = self._begun.fleet if self._begun else ""
        result.chains = list(self._chains.values())
        return result

    def _checked(self, number: int, data: bytes) -> None:
        try:
            self._take(decode(data, number))
        except _UNREADABLE as error:
            raise Corrupt(f"line {number}: a certificate in it cannot be read ({error})") from error
        except (Denied, InvalidInput) as error:
            raise Corrupt(str(error)) from error

    def _take(self, line: Line) -> None:
        if self._begun is None:
            if not isinstance(line, LedgerLine):
                raise Corrupt("line 1: an export begins with a line of type ledger; this one was cut")
            self._begun = line
            return
        if self._ended:
            raise Corrupt("there are lines after the end; somebody added to the export")
        match line:
            case LedgerLine():
                raise Corrupt("a second beginning; two exports were put together, verify them one by one")
            case SignerLine():
                self._take_signer(line)
            case EntryLine():
                self._take_entry(line)
            case HeadLine():
                self._take_head(line)
            case EndLine():
                self._take_end(line)

    def _take_signer(self, line: SignerLine) -> None:
        if line.serial in self._signers or self._chains:
            raise Corrupt(f"signer {line.serial}: it is there twice, or not before all entries; somebody moved lines")
        certificate = certificates.parse(line.certificate_pem.encode(), f"the certificate of signer {line.serial}")
        if (
            certificates.serial(certificate) != line.serial
            or books.certificate_text(certificate) != line.certificate_pem
            # A signature of whole bytes, as DER wants it: else a bit may change and the certificate means the same.
            or not certificate.public_bytes(Encoding.DER).endswith(b"\0" + certificate.signature)
        ):
            raise Corrupt(f"signer {line.serial}: its certificate is another one, or is written otherwise")
        self._signers[line.serial] = certificate

    def _take_entry(self, line: EntryLine) -> None:
        entry = line.entry
        if entry.node_id != self._node:
            self._begin(entry)
        chain = self._chains[self._node]
        if entry.sequence != chain.entry_count + 1:
            raise _broken(entry, f"it follows entry {chain.entry_count}; entries are missing or out of order")
        found = books.entry_hash(self._last_hash, books.canonical(entry))
        if found.hex() != line.hash:
            raise _broken(entry, f"its hash is {line.hash[:16]}..., its content's {found.hex()[:16]}...")
        self._check_figures(entry)
        self._check_reference(entry)
        self._last_hash = found
        self._count(chain, entry)
        if self._earlier.pop((entry.node_id, entry.sequence), line.hash) != line.hash:
            raise _broken(entry, "an earlier export has a signed head of another hash here: the past was rewritten")

    def _begin(self, entry: Entry) -> None:
        assert self._begun is not None
        if entry.node_id in self._chains:
            raise _broken(entry, "the node's chain began before another node's; lines are out of order")
        if self._begun.node_id not in ("", entry.node_id):
            raise _broken(entry, f"the export is of node {self._begun.node_id} alone")
        self._node, self._last_hash, self._keys = entry.node_id, START_HASH, {}
        self._chains[entry.node_id] = ChainResult(node_id=entry.node_id)

    def _check_figures(self, entry: Entry) -> None:
        pairs = (
            (
                "carbon_ng",
                entry.carbon_ng,
                books.carbon_ng,
                (entry.energy_uj, entry.pue_ppm, entry.intensity_ug_per_kwh),
            ),
            ("renewable_uj", entry.renewable_uj, books.renewable_uj, (entry.energy_uj, entry.renewable_ppm)),
            ("embodied_ng", entry.embodied_ng, books.embodied_ng, (entry.reserved_us, entry.embodied_ug_per_h)),
        )
        for name, said, compute, inputs in pairs:
            expected = None if None in inputs else compute(*inputs)
            if said != expected:
                raise _broken(entry, f"field {name}: it says {said}, its inputs make {expected}")

    def _check_reference(self, entry: Entry) -> None:
        if entry.kind == "gap":
            return
        known = self._keys.get(entry.key)
        if entry.kind == "correction" and (known is None or entry.corrects != known):
            raise _broken(entry, f"it corrects entry {entry.corrects}, which is not the first of its key")
        if entry.kind != "correction" and (known is not None or entry.corrects is not None):
            raise _broken(entry, f"it repeats the key of entry {known} without being a correction")
        self._keys.setdefault(entry.key, entry.sequence)

    def _count(self, chain: ChainResult, entry: Entry) -> None:
        chain.entry_count += 1
        chain.correction_count += entry.kind == "correction"
        chain.late_count += entry.kind == "late"
        chain.gap_count += entry.lost_count or 0
        chain.energy_uj += entry.energy_uj
        chain.last_hash = self._last_hash.hex()

    def _take_head(self, line: HeadLine) -> None:
        head = line.head
        assert self._begun is not None
        certificate = self._signers.get(head.signer)
        if certificate is None:
            raise Corrupt(
                f"the head of node {head.node_id} at entry {head.sequence}: its signer's certificate is missing"
            )
        books.check_head(head, bytes.fromhex(line.signature), certificate)
        if head.fleet != self._begun.fleet:
            raise Corrupt(f"the head of node {head.node_id}: it is of fleet {head.fleet}, not {self._begun.fleet}")
        self._check_signer(head, certificate)
        chain = self._chains.get(head.node_id)
        if chain is None or head.node_id != self._node or head.sequence != chain.entry_count:
            raise Corrupt(f"the head of node {head.node_id}: it is about entry {head.sequence}, which is not before it")
        if head.hash != self._last_hash.hex():
            raise Corrupt(f"the head of node {head.node_id} at entry {head.sequence}: signed for another hash")
        chain.head_count += 1
        chain.signed_sequence, chain.signed_utc = head.sequence, head.signed_utc
        self.heads.append(head)

    def _check_signer(self, head: Head, certificate: x509.Certificate) -> None:
        """The certificate was good when it signed; that it is expired today does not unsign anything."""
        if self._ca_pem is None:
            return
        try:
            signed_utc = datetime.fromisoformat(head.signed_utc)
        except ValueError as error:
            raise Corrupt(
                f"the head of node {head.node_id}: field signed_utc: {head.signed_utc!r} is no time"
            ) from error
        pem = books.certificate_text(certificate).encode()
        name = member_name(pem, self._ca_pem, signed_utc, f"the signer of node {head.node_id}'s head")
        if name.role is not Role.COORDINATOR or name.fleet != head.fleet:
            raise Corrupt(f"the head of node {head.node_id}: its signer {name} is no coordinator of {head.fleet}")

    def _take_end(self, line: EndLine) -> None:
        self._ended = True
        entry_count = sum(chain.entry_count for chain in self._chains.values())
        if (line.entry_count, line.head_count) != (entry_count, len(self.heads)):
            raise Corrupt(
                f"the export says {line.entry_count} entries and {line.head_count} heads, and has {entry_count} and "
                f"{len(self.heads)}; some are missing"
            )

    def _finish(self) -> None:
        if not self._ended:
            raise Corrupt("the export ends without a line of type end: it was cut; fetch it anew")
        for node_id, sequence in self._earlier:
            if self._begun is not None and self._begun.node_id in ("", node_id):
                raise Corrupt(f"entry {sequence} of node {node_id} is missing; an earlier export has its signed head")

    def _sequence(self) -> int:
        return self._chains[self._node].entry_count


class _BrokenEntry(Corrupt):
    """Something is wrong with one entry."""

    node_id = ""
    sequence = 0


def _broken(entry: Entry, cause: str) -> _BrokenEntry:
    error = _BrokenEntry(f"entry {entry.sequence} of node {entry.node_id} is broken: {cause}")
    error.node_id, error.sequence = entry.node_id, entry.sequence
    return error
