"""One agent per state folder."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from heliotrope.foundation.errors import Conflict


@contextlib.contextmanager
def only_one(state_dir: Path) -> Iterator[None]:
    """Two agents over one state would start every job twice. Raises Conflict."""
    handle = os.open(state_dir / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(handle)
        raise Conflict(f"cannot begin: another one uses {state_dir}; stop that agent first") from error
    try:
        yield
    finally:
        os.close(handle)
