"""Packs a folder so that the same files give the same archive: sorted, nobody's, without times."""

from __future__ import annotations

import gzip
import tarfile
from pathlib import Path


def pack(folder: Path, archive: Path, *, name: str) -> None:
    """Write ``folder`` as ``name/`` into ``archive`` (.tar.gz), whole or not at all."""
    archive.parent.mkdir(parents=True, exist_ok=True)
    beside = archive.with_name(f".{archive.name}.new")
    try:
        with (
            beside.open("wb") as raw,
            gzip.GzipFile("", "wb", 6, raw, mtime=0) as packed,
            tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as opened,
        ):
            for path in [folder, *sorted(folder.rglob("*"))]:
                opened.add(path, str(Path(name, path.relative_to(folder))), recursive=False, filter=_plain)
        beside.replace(archive)
    finally:
        beside.unlink(missing_ok=True)


def _plain(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = "root"
    entry.mtime = 0
    entry.mode = 0o755 if entry.isdir() or entry.mode & 0o100 else 0o644
    return entry
