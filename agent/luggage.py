"""A job's outputs on their way to its next node: gathered where it stopped, put into its folder where it goes on.

    source, the job stopped    work/ -> jobs/JOB/outgoing/ (hard links) -> pinned and registered, as a checkpoint is
    destination                pulled as a checkpoint is -> jobs/JOB/incoming/ -> moved into work/, file by file

What cannot be carried (pipes, devices, links that lead elsewhere, other accounts' files) stays behind and is logged: an
output is no reason to stop a move. The checkpoint folder is no output, unless one names something in it.
"""

from __future__ import annotations

import logging
import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

from heliotrope.foundation.errors import HeliotropeError
from heliotrope.foundation.model import Checkpoint
from heliotrope.foundation.tickets import Ticket

from .checkpoints.walk import Found, open_inside, walk
from .held import HeldJob, HeldJobs
from .outputs import matches
from .vault import Lent, Vault

log = logging.getLogger("heliotrope.agent.luggage")

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Luggage:
    """The outputs of this node's jobs as they travel. Call its methods while the job does not run."""

    def __init__(self, held: HeldJobs, vault: Vault) -> None:
        """``vault``: one of its own, in which nothing but outputs is registered."""
        self._held = held
        self._vault = vault

    def gather(self, job_id: str, epoch: int) -> Checkpoint | None:
        """What the job file's ``outputs`` name and the job wrote, registered for a peer to pull; None: nothing."""
        held = self._held.get(job_id)
        work, outgoing = self._held.work(job_id), self._held.folder(job_id) / "outgoing"
        shutil.rmtree(outgoing, ignore_errors=True)
        try:
            owner = self._held.owner(job_id)
            outgoing.mkdir(mode=0o755)
            count = sum(_gather_one(work, path, outgoing, owner) for path in _paths(held, work))
            if not count:
                return None
            if owner is not None:
                os.chown(outgoing, *owner)
            taken = self._vault.add(job_id, epoch, outgoing, None)
            self._vault.prune(job_id, 1)
            return taken
        finally:
            shutil.rmtree(outgoing, ignore_errors=True)  # the pin keeps the files

    def has(self, job_id: str, outputs: Checkpoint) -> bool:
        """Whether they were put into the job's folder here."""
        held = self._held.find(job_id)
        return held is not None and held.outputs_digest == outputs.manifest_digest

    def incoming(self, job_id: str) -> Path:
        """Where they are pulled to."""
        return self._held.folder(job_id) / "incoming"

    def put(self, job_id: str, outputs: Checkpoint) -> None:
        """Move what was pulled into the job's folder; what lies there under the same name was older."""
        incoming = self.incoming(job_id)
        for found in walk(incoming):
            if found.path and not stat.S_ISDIR(found.status.st_mode):
                _put_one(self._held.work(job_id), found, self._held.owner(job_id))
        shutil.rmtree(incoming, ignore_errors=True)
        self._held.update(job_id, outputs_digest=outputs.manifest_digest)

    def forget_job(self, job_id: str) -> None:
        self._vault.forget_job(job_id)

    def open_source(self, ticket: Ticket, reference: str) -> Lent:
        """For the transfer server. Raises NotFound, Denied."""
        return self._vault.open_source(ticket, reference)


def _paths(held: HeldJob, work: Path) -> Iterator[Path]:
    """What the patterns match, relative to the working folder; a pattern without a match is not written yet."""
    checkpoints = work / held.spec.checkpoint.directory
    for pattern in held.spec.outputs:
        for path in matches(work, pattern):
            if checkpoints != path and path not in checkpoints.parents:
                yield path.relative_to(work)
            else:
                yield from _around(work, path, checkpoints)


def _around(work: Path, folder: Path, checkpoints: Path) -> Iterator[Path]:
    """What lies in a folder but for the checkpoints in it."""
    for path in sorted(folder.iterdir()) if folder != checkpoints else ():
        if path in checkpoints.parents:
            yield from _around(work, path, checkpoints)
        elif path != checkpoints:
            yield path.relative_to(work)


def _gather_one(work: Path, path: Path, outgoing: Path, owner: tuple[int, int] | None) -> int:
    """Link one output, with what is below it, into ``outgoing``; how many files that were."""
    count = 0
    try:
        parent = open_inside(work, os.fsencode(path.parent), is_folder=True)
    except OSError as error:
        log.warning("output %s stays behind: %s", path, error.strerror)
        return 0
    try:
        for found in walk(Path(f"/proc/self/fd/{parent}") / path.name):
            count += _link(found, outgoing / path / os.fsdecode(found.path), outgoing, owner)
    except (OSError, HeliotropeError) as error:
        log.warning("output %s stays behind in part: %s", path, error)
    finally:
        os.close(parent)
    return count


def _link(found: Found, target: Path, root: Path, owner: tuple[int, int] | None) -> int:
    mode = found.status.st_mode
    if stat.S_ISDIR(mode):
        _make_folders(target, root, owner)
        return 0
    _make_folders(target.parent, root, owner)
    if owner is not None and found.status.st_uid != owner[0]:
        log.warning("output %s stays behind: it belongs to uid %d", target.relative_to(root), found.status.st_uid)
        return 0
    if stat.S_ISLNK(mode):
        aim = found.link_target()
        if aim.startswith(b"/") or b".." in aim.split(b"/"):
            log.warning("output %s stays behind: it is a link that may lead elsewhere", target.relative_to(root))
            return 0
    if not os.path.lexists(target):  # two patterns may match it
        os.link(found.name, target, src_dir_fd=found.parent, follow_symlinks=False)
    return 1


def _make_folders(folder: Path, root: Path, owner: tuple[int, int] | None) -> None:
    for one in reversed([folder, *folder.parents]):
        if one.is_relative_to(root) and one != root and not one.is_dir():
            one.mkdir(mode=0o755)
            if owner is not None:
                os.chown(one, *owner)


def _put_one(work: Path, found: Found, owner: tuple[int, int] | None) -> None:
    """No step follows a link: the folder is the job's, and its earlier stay here may have left anything."""
    *folders, name = found.path.split(b"/")
    here = os.open(work, _FOLDER)
    try:
        for part in folders:
            inner = _enter(here, part, owner)
            os.close(here)
            here = inner
        _clear(here, name, is_folder=True)
        os.rename(found.name, name, src_dir_fd=found.parent, dst_dir_fd=here)
    finally:
        os.close(here)


def _enter(parent: int, name: bytes, owner: tuple[int, int] | None) -> int:
    _clear(parent, name, is_folder=False)
    try:
        os.mkdir(name, 0o755, dir_fd=parent)
        made = True
    except FileExistsError:
        made = False
    folder = os.open(name, _FOLDER, dir_fd=parent)
    if made and owner is not None:
        os.fchown(folder, *owner)
    return folder


def _clear(parent: int, name: bytes, *, is_folder: bool) -> None:
    """Remove what lies there if it is a folder (``is_folder``), or if it is anything else."""
    try:
        status = os.stat(name, dir_fd=parent, follow_symlinks=False)
    except FileNotFoundError:
        return
    if stat.S_ISDIR(status.st_mode) is is_folder:
        shutil.rmtree(name, dir_fd=parent) if is_folder else os.unlink(name, dir_fd=parent)
