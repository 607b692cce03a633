"""Where the coordinator is and who asks: options of the command line, else the environment, else a file."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from heliotrope.foundation import config, identity
from heliotrope.foundation.errors import InvalidInput
from heliotrope.foundation.identity import Identity
from heliotrope.foundation.jobspec import Strict

COORDINATOR_VARIABLE = "HELIOTROPE_COORDINATOR"
IDENTITY_VARIABLE = "HELIOTROPE_IDENTITY"

_ADDRESS = re.compile(r"(\[[0-9a-fA-F:.%]+\]|[^:/\s\[\]]+):(\d{1,5})")


class OperatorConfig(Strict):
    """``~/.config/heliotrope/operator.toml``; a relative ``identity`` is relative to that file's folder."""

    coordinator: str = ""
    identity: str = ""


@dataclass(frozen=True)
class Target:
    """A coordinator's ``host:port`` and the identity to show there."""

    address: str
    identity: Identity


def find(coordinator: str | None, identity_folder: Path | None, environment: Mapping[str, str] = os.environ) -> Target:
    """Each of the two from the first place that names it. Raises InvalidInput, and what ``identity.load`` raises."""
    address = coordinator or environment.get(COORDINATOR_VARIABLE, "")
    folder = identity_folder or _folder(environment.get(IDENTITY_VARIABLE, ""))
    path = config_path(environment)
    if (not address or folder is None) and path.exists():
        known = config.load(path, OperatorConfig)
        address = address or known.coordinator
        folder = folder or (path.parent / Path(known.identity).expanduser() if known.identity else None)
    if not address:
        raise _missing("find the coordinator", "--coordinator HOST:PORT", COORDINATOR_VARIABLE, "coordinator", path)
    if folder is None:
        raise _missing("tell the coordinator who asks", "--identity DIR", IDENTITY_VARIABLE, "identity", path)
    check_address(address)
    return Target(address, identity.load(folder))


def check_address(address: str) -> None:
    """Raises InvalidInput unless it is HOST:PORT."""
    matched = _ADDRESS.fullmatch(address)
    if matched is None or not 0 < int(matched[2]) < 65536:
        raise InvalidInput(f"field coordinator: {address!r} is not HOST:PORT; write for instance 10.0.0.5:7440")


def config_path(environment: Mapping[str, str] = os.environ) -> Path:
    """The operator's own file, where the XDG base directory specification puts it."""
    base = environment.get("XDG_CONFIG_HOME") or Path(environment.get("HOME") or "~").expanduser() / ".config"
    return Path(base) / "heliotrope" / "operator.toml"


def _folder(text: str) -> Path | None:
    return Path(text) if text else None


def _missing(what: str, option: str, variable: str, key: str, path: Path) -> InvalidInput:
    return InvalidInput(f"cannot {what}: nothing names it; give {option}, set {variable}, or write {key} into {path}")
