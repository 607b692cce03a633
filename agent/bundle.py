"""A job's files: fetched, checked against their digest, and unpacked so that nothing leaves the job's folder."""

from __future__ import annotations

import os
import shutil
import tarfile
from collections.abc import AsyncIterator
from pathlib import Path

from blake3 import blake3

from heliotrope.foundation import records
from heliotrope.foundation.errors import Corrupt, InvalidInput


async def fetch(pieces: AsyncIterator[bytes], digest: bytes, size_bytes: int, target: Path) -> None:
    """Write the archive to ``target``, whole or not at all. Raises Corrupt when it is not what was announced."""
    part = target.with_suffix(".part")
    seen, received_bytes = blake3(), 0
    try:
        with part.open("wb") as file:
            async for piece in pieces:
                received_bytes += len(piece)
                if received_bytes > size_bytes:
                    break
                seen.update(piece)
                file.write(piece)
        if received_bytes != size_bytes or seen.digest() != digest:
            raise Corrupt(
                f"cannot take the job's files: {received_bytes} of {size_bytes} bytes came, digest "
                f"{seen.hexdigest()[:16]} instead of {digest.hex()[:16]}; it is fetched again with the next attempt"
            )
        records.sync_file(part)
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def unpack(archive: Path, folder: Path, owner: tuple[int, int] | None = None) -> None:
    """Unpack into ``folder`` (which must not exist), whole by rename; ``owner``: (uid, gid) of the job's user.

    Raises InvalidInput naming the member for anything but plain files, folders and links that stay inside: a bundle
    comes from outside and may try.
    """
    making = folder.with_name(f".{folder.name}.unpacking")
    shutil.rmtree(making, ignore_errors=True)
    making.mkdir(parents=True, mode=0o755)
    try:
        with tarfile.open(archive, "r:") as tar:
            for member in tar:
                _extract(tar, member, making)
    except tarfile.FilterError as error:
        shutil.rmtree(making, ignore_errors=True)
        raise InvalidInput(f"field files: cannot unpack the job's files: {error}; leave it out") from error
    except (tarfile.TarError, OSError, InvalidInput):
        shutil.rmtree(making, ignore_errors=True)
        raise
    if owner is not None:
        for path in (making, *making.rglob("*")):
            os.chown(path, *owner, follow_symlinks=False)
    making.rename(folder)
    records.sync_folder(folder.parent)


def _extract(tar: tarfile.TarFile, member: tarfile.TarInfo, folder: Path) -> None:
    if not (member.isfile() or member.isdir() or member.issym()):
        raise InvalidInput(f"field files: {member.name!r} is no file, folder or link; leave it out")
    tar.extract(member, folder, filter="data", set_attrs=True)
