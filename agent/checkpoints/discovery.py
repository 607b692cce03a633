"""Finds the whole checkpoints in a job's checkpoint folder, by the job file's rule for "whole".

The folder belongs to an untrusted job: symlinks and special files are no checkpoints and are never followed, what
vanishes while we look was not there, and a marker file is read only if it is a small regular file.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from heliotrope.foundation.errors import Conflict
from heliotrope.foundation.jobspec import CheckpointRules

TEMPORARY_ENDS = (".tmp", ".partial")
_MARKER_LIMIT_BYTES = 4096
# step-00000123 (ours), global_step100 (DeepSpeed), checkpoint-500 (HF), epoch=3-step=1000.ckpt (Lightning),
# iter_0000100 (Megatron)
_STEP = re.compile(r"(?:step|checkpoint|ckpt|iter|iteration)s?[-_=]?(\d{1,18})(?!\d)", re.IGNORECASE)


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """One whole checkpoint: a file or a folder directly in the checkpoint folder.

    ``modified_utc`` is the newest modification of the entry and what lies directly in it; ``step`` is the job's
    announcement, else what the name says, else None.
    """

    name: str
    path: Path
    modified_utc: datetime
    step: int | None


def find(directory: Path, rules: CheckpointRules, announced: Mapping[str, int | None] | None = None) -> list[Found]:
    """The whole checkpoints in ``directory``, newest last. ``announced``: names from the job's messages, with steps.

    A missing directory has none. Raises Conflict if it cannot be read.
    """
    said = announced or {}
    try:
        names = sorted(os.listdir(directory))  # noqa: PTH208 - names, not paths
    except FileNotFoundError:
        return []
    except OSError as error:
        raise Conflict(
            f"cannot look for checkpoints in {directory}: {error.strerror}; make it a folder that the agent may read"
        ) from error
    candidates = [name for name in names if not is_temporary(name)]
    whole: Iterable[str] = candidates
    if rules.complete == "message":
        whole = [name for name in candidates if name in said]
    elif rules.complete == "marker":
        whole = _marked(directory, rules.marker, candidates)
    found = [entry for name in whole if (entry := _entry(directory / name, said.get(name))) is not None]
    return sorted(found, key=lambda entry: (entry.modified_utc, -1 if entry.step is None else entry.step, entry.name))


def is_temporary(name: str) -> bool:
    """Whether the name says "not whole": it starts with a dot or ends in .tmp or .partial."""
    return name.startswith(".") or name.endswith(TEMPORARY_ENDS)


def step_in(name: str) -> int | None:
    """The step that an entry's name tells, by the customs of the common frameworks; None if it tells none."""
    told = _STEP.findall(name)
    return int(told[-1]) if told else None


def _marked(directory: Path, marker: str, candidates: list[str]) -> Iterator[str]:
    """Entries that hold the marker file, and the one that a marker file in the directory itself names."""
    named = _named_by(directory / marker, candidates)
    for name in candidates:
        if name != marker and (name == named or _is_regular(directory / name / marker)):
            yield name


def _named_by(marker: Path, candidates: list[str]) -> str:
    """The entry whose name the marker file holds (DeepSpeed), or whose step (Megatron); empty if none."""
    text = _read_marker(marker).strip().rstrip("/")
    text = text.removeprefix("./")
    if text in candidates:
        return text
    if text.isascii() and text.isdigit() and len(text) <= 18:
        return next((name for name in candidates if name != marker.name and step_in(name) == int(text)), "")
    return ""


def _read_marker(marker: Path) -> str:
    try:
        handle = os.open(marker, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            return ""
        return os.read(handle, _MARKER_LIMIT_BYTES).decode(errors="replace")
    except OSError:
        return ""
    finally:
        os.close(handle)


def _is_regular(path: Path) -> bool:
    """Whether a regular file lies there, with no symlink as it or as the entry around it."""
    try:
        return stat.S_ISDIR(path.parent.lstat().st_mode) and stat.S_ISREG(path.lstat().st_mode)
    except OSError:
        return False


def _entry(path: Path, step: int | None) -> Found | None:
    """The entry as found; None if it is gone, or neither a file nor a folder."""
    try:
        own = path.lstat()
        if not (stat.S_ISREG(own.st_mode) or stat.S_ISDIR(own.st_mode)):
            return None
        newest_ns = max(own.st_mtime_ns, _newest_inside_ns(path) if stat.S_ISDIR(own.st_mode) else 0)
    except OSError:
        return None
    modified_utc = datetime.fromtimestamp(newest_ns / 1e9, UTC)
    return Found(
        name=path.name, path=path, modified_utc=modified_utc, step=step_in(path.name) if step is None else step
    )


def _newest_inside_ns(folder: Path) -> int:
    with os.scandir(folder) as entries:
        return max((entry.stat(follow_symlinks=False).st_mtime_ns for entry in entries), default=0)
