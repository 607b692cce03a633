"""What is examined: the daemons of this machine as their configurations say, and where its files are."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from heliotrope.foundation.clock import Clock, SystemClock
from heliotrope.foundation.identity import Role

from ..config import AgentConfig


@dataclass(frozen=True)
class Daemon:
    """What an agent and a coordinator have in common; paths are absolute. ``listen``: HOST:PORT."""

    role: Role
    identity_dir: Path
    state_dir: Path
    listen: str


@dataclass(frozen=True)
class Subject:
    """``daemons``: none when no configuration was named, then only the machine itself is examined.

    ``installed_utc``: when this software came onto the machine; a clock that says less is wrong. The roots are other
    folders only in tests.
    """

    installed_utc: datetime
    daemons: tuple[Daemon, ...] = ()
    agent: AgentConfig | None = None
    peers: tuple[str, ...] = ()
    clock: Clock = field(default_factory=SystemClock)
    proc_root: Path = Path("/proc")
    sys_root: Path = Path("/sys")
    run_root: Path = Path("/run")

    @property
    def agent_daemon(self) -> Daemon | None:
        return next((one for one in self.daemons if one.role is Role.AGENT), None)


def installed_utc() -> datetime:
    """The modification time of this very file: when it was unpacked, or what the package's builder stamped on it."""
    return datetime.fromtimestamp(Path(__file__).stat().st_mtime, UTC)


def split_address(text: str) -> tuple[str, int] | None:
    """HOST:PORT, or [V6]:PORT; None for anything else."""
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not (port.isascii() and port.isdigit()) or int(port) > 65535:
        return None
    return host, int(port)


def existing(path: Path) -> Path:
    """The path itself, or the nearest folder above it that is there."""
    return next(one for one in (path, *path.parents) if one.exists())
