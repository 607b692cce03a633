"""Room for checkpoints, and whether the file system keeps the promises that durable state is built on.

The features are tried in a folder of its own below the state's, which is removed again.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from heliotrope.foundation import records

from ..config import StoreConfig
from .finding import Figure, Finding, error, ok, skipped, warning
from .subject import Subject, existing

_SPARSE_BYTES = 64 << 20
_FEW_INODES = 10_000  # a checkpoint of a sharded model has hundreds of files, a job's environment tens of thousands


def findings(subject: Subject) -> Iterator[Finding]:
    if not subject.daemons:
        yield skipped("disk.room", "no configuration was given")
    for daemon in subject.daemons:
        folder = existing(daemon.state_dir)
        status = os.statvfs(folder)
        yield writable(folder, bool(status.f_flag & os.ST_RDONLY))
        is_agent = daemon is subject.agent_daemon and subject.agent is not None
        store = subject.agent.store if is_agent and subject.agent else StoreConfig()
        free_bytes, total_bytes = status.f_bavail * status.f_frsize, status.f_blocks * status.f_frsize
        yield room(folder, free_bytes, total_bytes, store if is_agent else None)
        yield inodes(folder, status.f_favail, status.f_files)
        if folder == daemon.state_dir and not status.f_flag & os.ST_RDONLY:
            yield from features(folder)
            if is_agent:
                yield one_file_system(folder)


def writable(folder: Path, is_read_only: bool) -> Finding:
    if is_read_only:
        text = f"{folder} lies on a file system that is mounted read-only"
        return error("disk.mount", text, "Mount it read-write; if it became so by itself, check the disk (dmesg).")
    return ok("disk.mount", f"{folder} is mounted read-write")


def room(folder: Path, free_bytes: int, total_bytes: int, store: StoreConfig | None) -> Finding:
    """Free bytes against the reserve that is kept, and the quota against the disk. ``store`` None: a coordinator."""
    figures: dict[str, Figure] = {"free_bytes": free_bytes, "total_bytes": total_bytes}
    text = f"{free_bytes / 1e9:.1f} GB of {total_bytes / 1e9:.1f} GB free at {folder}"
    reserve_bytes = StoreConfig().reserve_bytes
    if store is not None:
        reserve_bytes, quota_bytes = store.reserve_bytes, int(store.quota_bytes)
        figures |= {"reserve_bytes": reserve_bytes, "quota_bytes": quota_bytes}
        text += f", {reserve_bytes / 1e9:.1f} GB of it reserved"
        binds = "the quota" if quota_bytes < total_bytes - reserve_bytes else "the disk, not the quota,"
        text += f"; {binds} limits the store"
    if free_bytes <= reserve_bytes:
        remedy = "Free the disk, or put the state on a larger one; no job is taken before that."
        return error("disk.room", text, remedy, **figures)
    if free_bytes < 2 * reserve_bytes or free_bytes < total_bytes / 20:
        return warning("disk.room", text, "Free the disk before it is full.", **figures)
    return ok("disk.room", text, **figures)


def inodes(folder: Path, free_count: int, total_count: int) -> Finding:
    figures: dict[str, Figure] = {"free_count": free_count, "total_count": total_count}
    if total_count == 0:
        return ok("disk.inodes", f"the file system of {folder} does not limit the number of files", **figures)
    text = f"{free_count} of {total_count} inodes free at {folder}"
    if free_count < _FEW_INODES:
        return error("disk.inodes", text, "Remove files, or make the file system anew with more inodes.", **figures)
    return ok("disk.inodes", text, **figures)


def features(folder: Path) -> Iterator[Finding]:
    """What durable records, pins and restored checkpoints are built on."""
    try:
        scratch = tempfile.TemporaryDirectory(prefix=".doctor-", dir=folder)
    except OSError as cause:
        yield skipped("disk.features", f"cannot try anything in {folder}: {cause.strerror}; run as its owner")
        return
    with scratch as name:
        for check, probe, bad, remedy in _PROBES:
            try:
                probe(Path(name))
            except OSError as cause:
                yield bad(f"disk.{check}", f"{folder}: {cause.strerror or cause}", remedy)
            else:
                yield ok(f"disk.{check}", f"works in {folder}")


def _try_links(folder: Path) -> None:
    (folder / "original").write_bytes(b"x")
    (folder / "second").hardlink_to(folder / "original")
    if (folder / "second").stat().st_nlink != 2:
        raise OSError("a hard link does not count as one")


def _try_rename(folder: Path) -> None:
    for name in ("old", "new"):
        (folder / name).write_text(name)
    (folder / "new").replace(folder / "old")
    if (folder / "old").read_text() != "new" or (folder / "new").exists():
        raise OSError("a rename over a file did not replace it")


def _try_sync(folder: Path) -> None:
    (folder / "synced").write_bytes(b"x")
    records.sync_file(folder / "synced")
    records.sync_folder(folder)


def _try_sparse(folder: Path) -> None:
    path = folder / "sparse"
    path.touch()
    os.truncate(path, _SPARSE_BYTES)
    taken_bytes = path.stat().st_blocks * 512
    if taken_bytes > _SPARSE_BYTES // 2:
        raise OSError(f"a hole of {_SPARSE_BYTES} bytes takes {taken_bytes} bytes")


_MOVE = "Put the state on ext4, XFS or Btrfs."
_PROBES: tuple[tuple[str, Callable[[Path], None], Callable[[str, str, str], Finding], str], ...] = (
    ("rename", _try_rename, error, f"{_MOVE} Without it a crash leaves half-written records."),
    ("sync", _try_sync, error, f"{_MOVE} Without it a power cut loses what was acknowledged."),
    ("hard_links", _try_links, warning, f"{_MOVE} Without them every checkpoint is copied before it is read."),
    ("sparse", _try_sparse, warning, f"{_MOVE} Without holes restored checkpoints take their full size."),
)


def one_file_system(folder: Path) -> Finding:
    """Pins are hard links to what jobs wrote: across file systems they are copies."""
    devices = {path.stat().st_dev for path in (folder / "jobs", folder / "pins") if path.is_dir()}
    if len(devices) > 1:
        text = f"{folder}/jobs and {folder}/pins are different file systems: every checkpoint is copied to be read"
        return warning("disk.one_file_system", text, "Mount one file system at the state_dir, not below it.")
    return ok("disk.one_file_system", f"jobs and pins of {folder} are on one file system")
