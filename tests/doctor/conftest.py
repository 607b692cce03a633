"""Subjects to examine: real identities, real folders, trees of files in place of /proc and /sys."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from heliotrope.agent.config import AgentConfig
from heliotrope.agent.doctor.finding import Finding
from heliotrope.agent.doctor.subject import Daemon, Subject, installed_utc
from heliotrope.foundation import authority
from heliotrope.foundation.identity import Role


class SetClock:
    """A clock that stands at a chosen time."""

    def __init__(self, utc: datetime) -> None:
        self._utc = utc

    def monotonic_s(self) -> float:
        return 1000.0

    def boottime_s(self) -> float:
        return 1000.0

    def utc(self) -> datetime:
        return self._utc


@dataclass(frozen=True)
class Done:
    """How ``heliotrope doctor`` ended."""

    code: int
    out: str
    err: str

    @property
    def value(self) -> Any:
        return json.loads(self.out)


class Node:
    """A node's files as a person would lay them out, and the subject that they make."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.now_utc = datetime.now(UTC)
        self.state_dir = folder / "state"
        self.state_dir.mkdir(mode=0o711)
        self.fields: dict[str, Any] = {
            "coordinator": "127.0.0.1:1",
            "identity": "identity",
            "state_dir": "state",
            "site": "valley",
            "transfer": {"listen": "127.0.0.1:0", "advertise": ["127.0.0.1:7443"]},
            "jobs": {"user": "nobody"},
            "store": {"reserve_bytes": 1},
            "power": {"model": {"idle_w": 10.0, "max_w": 20.0}},
        }
        self.ca = authority.create(folder / "ca", "lab", clock=SetClock(self.now_utc))

    def issue(self, role: Role = Role.AGENT, name: str = "a", *, days: int = 100, folder: str = "identity") -> Path:
        self.ca.issue(role, name, days=days).save(self.folder / folder)
        return self.folder / folder

    def subject(self, **changes: Any) -> Subject:
        config = msgspec.convert(self.fields, AgentConfig)
        daemon = Daemon(Role.AGENT, self.folder / "identity", self.state_dir, config.transfer.listen)
        fields = {
            "installed_utc": installed_utc(),
            "daemons": (daemon,),
            "agent": config,
            "clock": SetClock(self.now_utc),
        }
        return Subject(**{**fields, **changes})

    def config(self) -> Path:
        path = self.folder / "agent.json"
        path.write_text(json.dumps(self.fields))
        return path

    def later(self, days: float) -> SetClock:
        return SetClock(self.now_utc + timedelta(days=days))


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


@pytest.fixture
def heliotrope() -> Callable[..., Done]:
    """Runs the real command; ``env`` is laid over the environment."""

    def run(*arguments: str | Path, env: dict[str, str] | None = None, prefix: tuple[str, ...] = ()) -> Done:
        command = [*prefix, sys.executable, "-m", "heliotrope.cli", *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **(env or {})}, check=False)
        return Done(done.returncode, done.stdout, done.stderr)

    return run


def by_check(found: Any) -> dict[str, Finding]:
    """The findings by name; a name that comes twice keeps the last."""
    return {one.check: one for one in found}


@pytest.fixture
def named() -> Callable[[Any], dict[str, Finding]]:
    return by_check


@pytest.fixture
def tree(tmp_path: Path) -> Callable[[dict[str, str]], Path]:
    """Writes files below a folder that stands in for /proc or /sys."""

    def write(files: dict[str, str]) -> Path:
        root = tmp_path / "root"
        root.mkdir(exist_ok=True)
        for name, text in files.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return root

    return write
