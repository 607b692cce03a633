"""Reading one small sysfs file, with the kernel's errors sorted into the room's three kinds."""

from __future__ import annotations

import errno
from pathlib import Path

from ..reading import ErrorKind, SensorError

# A sensor's file vanishes with its driver; a refused one stays refused until the daemon gets the capability.
_STOP = {errno.ENOENT, errno.ENODEV, errno.ENXIO, errno.EACCES, errno.EPERM, errno.EOPNOTSUPP}


def read_text(path: Path) -> str:
    """The file's stripped text. Raises SensorError naming the file."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip("\0 \t\r\n")
    except OSError as error:
        kind = ErrorKind.STOP if error.errno in _STOP else ErrorKind.RETRY
        remedy = (
            "; give the agent CAP_DAC_READ_SEARCH"
            if error.errno in (errno.EACCES, errno.EPERM)
            else "; check the driver"
        )
        raise SensorError(kind, f"cannot read {path}: {error.strerror}{remedy}") from error


def read_int(path: Path) -> int:
    """The file's whole number. Raises SensorError."""
    text = read_text(path)
    try:
        return int(text)
    except ValueError as error:
        raise SensorError(
            ErrorKind.RETRY, f"cannot read {path}: {text[:40]!r} is no whole number; check the driver"
        ) from error


def read_label(path: Path, otherwise: str = "") -> str:
    """The file's text, or ``otherwise`` where there is no such file."""
    try:
        return read_text(path)
    except SensorError:
        return otherwise


def number_in(name: str) -> int:
    """The digits in a file name as a number, for ordering ``power2_input`` before ``power10_input``."""
    return int("".join(c for c in name if c.isdigit()) or "0")
