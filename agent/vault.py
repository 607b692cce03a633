"""The node's checkpoints: registered under an identity, pinned, their chunks findable, served to peers with a ticket.

A checkpoint that the job made is pinned by hard links before anything reads it, so that the job's own pruning cannot
take it away; one that came from a peer lies in ``received`` and belongs to nobody else.
"""

from __future__ import annotations

import os
import shutil
import threading
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from blake3 import blake3

from heliotrope.foundation import failpoints
from heliotrope.foundation.errors import Corrupt, Denied, HeliotropeError, NotFound
from heliotrope.foundation.model import Checkpoint
from heliotrope.foundation.records import sync_folder
from heliotrope.foundation.tickets import Ticket

from .checkpoints import manifest as manifests
from .checkpoints import scan
from .checkpoints.damage import DamageBook, DamagedChunk, DamageRecord, reference_name
from .checkpoints.manifest import Manifest
from .checkpoints.pins import Pins
from .checkpoints.reader import CheckpointReader
from .checkpoints.registry import CheckpointRecord, CheckpointRegister
from .checkpoints.store import ChunkStore
from .held import HeldJobs

failpoints.register("vault.mend.aside")

DIGEST_THREADS = min(os.cpu_count() or 1, 8)


class Lent:
    """A checkpoint while a peer reads it: not pruned until it is closed. ``on_damage``: told a bad chunk's index."""

    def __init__(
        self,
        reader: CheckpointReader,
        on_close: Callable[[bytes], None],
        on_damage: Callable[[CheckpointReader, int, HeliotropeError], None],
    ) -> None:
        self.manifest, self.digest, self.places = reader.manifest, reader.digest, reader.places
        self._reader = reader
        self._on_close = on_close
        self._on_damage = on_damage
        self._closed = False

    def read_into(self, index: int, buffer: memoryview) -> None:
        try:
            self._reader.read_into(index, buffer)
        except (Corrupt, NotFound) as error:
            self._on_damage(self._reader, index, error)
            raise

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._on_close(self.digest)


class Vault:
    """Safe to use from several threads; every public method leaves a whole state behind."""

    def __init__(
        self, register: CheckpointRegister, pins: Pins, store: ChunkStore, held: HeldJobs, *, kind: str = ""
    ) -> None:
        """``kind`` tells the references of two vaults over one store apart."""
        self._register = register
        self._pins = pins
        self._store = store
        self._held = held
        self._kind = kind
        self._lent: Counter[bytes] = Counter()  # by manifest digest: being sent, so not to be pruned
        self._lent_lock = threading.Lock()
        self._lock = threading.Lock()  # one registration at a time: two of one folder would give two identities
        self.damage = DamageBook(register.folder / "damaged")
        for name in self.damage.names():
            self._distrust(name)

    @property
    def store(self) -> ChunkStore:
        return self._store

    def add(self, job_id: str, epoch: int, path: Path, step: int | None) -> Checkpoint:
        """Register a whole checkpoint of this node's job; the same one again returns the identity it has.

        Raises Conflict when it changes while it is read, NotFound when the job removed it meanwhile.
        """
        with self._lock:
            known = self._known(job_id, epoch, path)
            if known is not None:
                return known
            pin = self._pins.pin(_pin_name(job_id, epoch, path.name, path), path, self._held.owner(job_id))
            try:
                before = self.newest_reader(job_id)
                manifest = scan.build(pin.root, threads=DIGEST_THREADS)
                record = self._register.add(
                    job_id,
                    epoch,
                    name=path.name,
                    path=pin.root,
                    manifest_digest=manifests.digest(manifest),
                    state_bytes=manifest.state_bytes,
                    step=step,
                    created_utc=datetime.fromtimestamp(path.lstat().st_mtime, UTC),
                    unchanged_bytes=manifests.shared_bytes(manifest, before.manifest) if before else None,
                )
            except BaseException:
                self._pins.unpin(pin.name)
                raise
            self._store.add_reference(self._reference(record), manifest, pin.root)
            return _checkpoint(record)

    def adopt(self, job_id: str, checkpoint: Checkpoint, path: Path, manifest: Manifest) -> None:
        """Register a verified checkpoint that came from a peer under the identity that it has."""
        record = CheckpointRecord(
            job_id,
            checkpoint.epoch,
            checkpoint.sequence,
            path.name,
            str(path),
            checkpoint.manifest_digest.hex(),
            checkpoint.state_bytes,
            checkpoint.step,
            checkpoint.created_utc,
            checkpoint.unchanged_bytes,
        )
        self._store.add_reference(self._reference(record), manifest, path)
        self._register.adopt(record)

    def checkpoints(self, job_id: str) -> tuple[Checkpoint, ...]:
        """Oldest first, without the damaged ones: those are nothing to start from."""
        return tuple(_checkpoint(record) for record in self._sound(job_id))

    def damaged(self, job_id: str) -> tuple[Checkpoint, ...]:
        """Registered here but damaged, oldest first."""
        names = self.damage.names()
        return tuple(_checkpoint(one) for one in self._register.checkpoints(job_id) if self._reference(one) in names)

    def is_damaged(self, job_id: str, checkpoint: Checkpoint) -> bool:
        """Whether that very checkpoint is registered here and damaged."""
        found = (one for one in self.damaged(job_id) if one.key == checkpoint.key)
        return any(one.manifest_digest == checkpoint.manifest_digest for one in found)

    def held(self) -> list[tuple[CheckpointRecord, CheckpointReader | None]]:
        """Every registered checkpoint with its chunks; None where the store lost its manifest."""
        readers = self._store.references()
        everything = (record for job_id in self._register.jobs() for record in self._register.checkpoints(job_id))
        return [(record, readers.get(self._reference(record))) for record in everything]

    def find(self, job_id: str, checkpoint: Checkpoint) -> Checkpoint | None:
        """The held checkpoint of that identity and content."""
        held = (one for one in self.checkpoints(job_id) if one.key == checkpoint.key)
        return next((one for one in held if one.manifest_digest == checkpoint.manifest_digest), None)

    def path(self, job_id: str, checkpoint: Checkpoint) -> Path:
        """Where its files are. Raises NotFound; Corrupt for one that is damaged."""
        record = self._record(job_id, checkpoint)
        self._refuse_damaged(record)
        return Path(record.path)

    def knows(self, job_id: str, epoch: int, path: Path) -> bool:
        """Whether this very entry of the job's checkpoint folder is registered."""
        return self._known(job_id, epoch, path) is not None

    def newest_reader(self, job_id: str) -> CheckpointReader | None:
        """The newest checkpoint here, as a base for deltas."""
        newest = max(self._sound(job_id), key=lambda record: record.identity, default=None)
        return self._store.reference_of(bytes.fromhex(newest.manifest_digest)) if newest else None

    def prune(self, job_id: str, keep_count: int, *, spare: tuple[tuple[int, int], ...] = ()) -> None:
        """Let go of all but the newest ``keep_count`` and those spared (being sent, a base, resumed from).

        Damaged ones do not count as kept, and stay (to be mended) while they are newer than the oldest that is.
        """
        kept = self._sound(job_id)[-keep_count:]
        for record in self._register.checkpoints(job_id):
            if len(kept) < keep_count or record.identity >= kept[0].identity:
                break
            if record.identity not in spare and not self._lent[bytes.fromhex(record.manifest_digest)]:
                self._drop(record)

    def forget_job(self, job_id: str) -> None:
        """Let go of everything of a job."""
        for record in self._register.checkpoints(job_id):
            self._drop(record)
        self._register.forget_job(job_id)

    # -- damage

    def note_damage(self, record: DamageRecord) -> None:
        """Withdraw a checkpoint: not offered, not served, its damaged chunks not counted as held."""
        self.damage.add(record)
        self._distrust(record.reference)

    def note_whole(self, record: CheckpointRecord) -> None:
        """It was read back whole: whatever was said of it is over."""
        name = self._reference(record)
        if self.damage.find(name) is not None:
            self.damage.remove(name)
            self._hold_again(record)

    def mend(self, job_id: str, checkpoint: Checkpoint, mended: Path, manifest: Manifest) -> None:
        """Put the whole copy ``mended`` in the place of the damaged one, under the same path.

        The old tree steps aside first: a crash between the two renames leaves a checkpoint that is still damaged by
        its record, and ``mended`` where the next attempt finds it. Raises NotFound if it was let go meanwhile.
        """
        with self._lock:
            record = self._record(job_id, checkpoint)
            path = Path(record.path)
            aside = mended.with_name(f".{mended.name}.aside")
            _remove_tree(aside)
            if path.is_symlink() or path.exists():
                path.rename(aside)
            failpoints.hit("vault.mend.aside")
            mended.rename(path)
            sync_folder(path.parent)
            sync_folder(mended.parent)
            self._store.add_reference(self._reference(record), manifest, path)
            self.damage.remove(self._reference(record))
            _remove_tree(aside)

    def _distrust(self, name: str) -> None:
        record = self.damage.find(name)
        if record is not None:
            self._store.distrust(name, [bytes.fromhex(chunk.digest) for chunk in record.chunks])

    def refresh(self, name: str) -> None:
        """Another process noted damage of that reference, or its end."""
        if name in self.damage.names():
            self._distrust(name)
            return
        for record, _ in self.held():
            if self._reference(record) == name:
                self._hold_again(record)

    def _hold_again(self, record: CheckpointRecord) -> None:
        reader = self._store.references().get(self._reference(record))
        if reader is not None:
            self._store.add_reference(self._reference(record), reader.manifest, reader.root)

    def _on_bad_read(self, damaged: CheckpointReader, index: int, error: HeliotropeError) -> None:
        """A peer's read met damage."""
        entry, chunk = damaged.places[index]
        for record, reader in self.held():
            if reader is not None and (reader.digest, reader.root) == (damaged.digest, damaged.root):
                bad = DamagedChunk(entry.path, chunk.offset, chunk.size_bytes, chunk.digest.hex(), str(error))
                self.note_damage(
                    DamageRecord(
                        job_id=record.job_id,
                        epoch=record.epoch,
                        sequence=record.sequence,
                        manifest_digest=record.manifest_digest,
                        chunk_count=1,
                        chunks=(bad,),
                        found_utc=datetime.now(UTC),
                    )
                )

    def _sound(self, job_id: str) -> list[CheckpointRecord]:
        names = self.damage.names()
        return [record for record in self._register.checkpoints(job_id) if self._reference(record) not in names]

    def _record(self, job_id: str, checkpoint: Checkpoint) -> CheckpointRecord:
        for record in self._register.checkpoints(job_id):
            if record.identity == checkpoint.key and record.manifest_digest == checkpoint.manifest_digest.hex():
                return record
        raise NotFound(
            f"cannot find checkpoint {checkpoint.epoch}.{checkpoint.sequence} of job {job_id} on this node; "
            "pull it from its holder"
        )

    def _refuse_damaged(self, record: CheckpointRecord) -> None:
        damage = self.damage.find(self._reference(record))
        if damage is not None:
            first = damage.chunks[0]
            raise Corrupt(
                f"cannot use checkpoint {record.epoch}.{record.sequence} of job {record.job_id}: {first.file!r} is "
                f"damaged at {first.offset} ({damage.chunk_count} places in all); it waits to be mended from a peer"
            )

    # -- for the transfer server

    def open_source(self, ticket: Ticket, reference: str) -> Lent:
        """The checkpoint that a peer asks for by its manifest's digest. Raises NotFound, Denied."""
        try:
            digest = bytes.fromhex(reference)
        except ValueError as error:
            raise NotFound(f"cannot open checkpoint {reference[:32]!r}: not a manifest digest") from error
        reader = self._of_job(ticket, digest)
        if reader is None:
            raise NotFound(f"cannot open checkpoint {reference[:16]} of job {ticket.job_id}: it is not on this node")
        for record in self._register.checkpoints(ticket.job_id):
            if record.manifest_digest == reference:
                self._refuse_damaged(record)
        return self._lend(reader)

    def open_base(self, ticket: Ticket, digest: bytes) -> Lent | None:
        """An older checkpoint of the same job, if it is still here."""
        reader = self._of_job(ticket, digest)
        return self._lend(reader) if reader else None

    def _lend(self, reader: CheckpointReader) -> Lent:
        with self._lent_lock:
            self._lent[reader.digest] += 1
        return Lent(reader, self._give_back, self._on_bad_read)

    def _give_back(self, digest: bytes) -> None:
        with self._lent_lock:
            self._lent[digest] -= 1

    def _of_job(self, ticket: Ticket, digest: bytes) -> CheckpointReader | None:
        text = digest.hex()
        if not any(record.manifest_digest == text for record in self._register.checkpoints(ticket.job_id)):
            others = [job for job in self._register.jobs() if job != ticket.job_id]
            if any(record.manifest_digest == text for job in others for record in self._register.checkpoints(job)):
                raise Denied(f"cannot open checkpoint {text[:16]}: the ticket is for job {ticket.job_id}")
            return None
        return self._store.reference_of(digest)

    def _known(self, job_id: str, epoch: int, path: Path) -> Checkpoint | None:
        try:
            name = _pin_name(job_id, epoch, path.name, path)
        except FileNotFoundError as error:
            raise NotFound(f"cannot read checkpoint {path}: the job removed it; ask for a new one") from error
        for record in self._register.checkpoints(job_id):
            if record.epoch == epoch and Path(record.path) == self._root(name):
                return _checkpoint(record)
        return None

    def _root(self, pin_name: str) -> Path:
        try:
            return self._pins.get(pin_name).root
        except NotFound:
            return Path()

    def _drop(self, record: CheckpointRecord) -> None:
        self._register.remove(record)
        self._store.remove_reference(self._reference(record))
        self._store.collect()
        self.damage.remove(self._reference(record))
        path = Path(record.path)
        for name in self._pins.names():
            if self._root(name) == path:
                self._pins.unpin(name)
                return
        received = self._held.folder(record.job_id) / "received"
        if path.is_relative_to(received):
            shutil.rmtree(path, ignore_errors=True)

    def _reference(self, record: CheckpointRecord) -> str:
        return reference_name(record.job_id, record.epoch, record.sequence) + self._kind


def _remove_tree(path: Path) -> None:
    """A checkpoint is a file or a folder; no error if there is nothing."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _checkpoint(record: CheckpointRecord) -> Checkpoint:
    return Checkpoint(
        epoch=record.epoch,
        sequence=record.sequence,
        manifest_digest=bytes.fromhex(record.manifest_digest),
        state_bytes=record.state_bytes,
        step=record.step or 0,
        created_utc=record.created_utc,
        unchanged_bytes=record.unchanged_bytes,
    )


def _pin_name(job_id: str, epoch: int, name: str, path: Path) -> str:
    """Jobs name entries as they like; names and inodes are used again, and then the time tells two apart."""
    status = path.lstat()
    return f"{job_id}.{epoch}.{blake3(os.fsencode(name)).hexdigest(8)}.{status.st_ino}.{status.st_mtime_ns}"
