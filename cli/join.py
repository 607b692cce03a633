"""``heliotrope agent join``: from a join token to an identity and a configuration with which the agent starts."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import click

from heliotrope.agent import joining
from heliotrope.agent.config import AgentConfig
from heliotrope.foundation import config as configuration
from heliotrope.foundation import identity, jointoken, records
from heliotrope.foundation.clock import SystemClock
from heliotrope.foundation.errors import Denied, InvalidInput
from heliotrope.foundation.identity import Identity
from heliotrope.foundation.jointoken import JoinToken

from . import connection, output
from .installation import CONFIGURATION

_PATH = click.Path(path_type=Path)
_INSTALLED = CONFIGURATION / "agent.toml"
_NEW = 'coordinator = {coordinator}\nidentity = "identity"\nstate_dir = "state"\nsite = {site}\n'


@click.command()
@click.argument("token", metavar="TOKEN")
@click.argument("coordinator", metavar="COORDINATOR")
@click.option("--config", "path", type=_PATH, metavar="FILE", help=f"The agent's TOML [{_INSTALLED}, if it is there].")
@click.option("--out", type=_PATH, metavar="DIR", help="Only write the identity, to DIR; touch no configuration.")
@click.option("--site", default="", metavar="NAME", help="The node's site [else the token's, else the file's].")
@click.option("--replace", is_flag=True, help="Put the new identity in the place of this node's old one.")
@output.json_option
def join(
    *, token: str, coordinator: str, path: Path | None, out: Path | None, site: str, replace: bool, as_json: bool
) -> None:
    """Join the fleet at COORDINATOR (HOST:PORT) with TOKEN, a file from `heliotrope ca join-token`, or - for stdin.

    The machine makes its own key; it never leaves it. The same command may be given again until it succeeds.
    """
    connection.check_address(coordinator)
    opened = _opened(token)
    if out is not None and path is not None:
        raise InvalidInput(
            "field --out: the configuration names the identity's folder; give --config or --out, not both"
        )
    if out is None:
        path = _config_path(path)
        text = _configured(path, opened, coordinator, site)
        folder = path.parent / _parsed(text, path).identity
    else:
        folder = out
    joined = joining.join(opened, coordinator, folder, replace=replace)
    if out is None and path is not None:
        _save(path, text)
    _show(joined, folder, path, as_json)


def _opened(text: str) -> JoinToken:
    """Never from the command line itself: any user of the machine reads that in /proc."""
    if text.startswith(jointoken.PREFIX):
        raise InvalidInput(
            "field TOKEN: the token itself is on the command line, where every user of this machine can read it; make "
            "a new one, put it into a file (0600) and name that, or give - and pass it on stdin"
        )
    if text == "-":
        read = sys.stdin.read(jointoken.SIZE_LIMIT_BYTES + 1)
    else:
        read = identity.read_private(Path(text)).decode("utf-8", "replace")
    return jointoken.unpack(read, now_utc=SystemClock().utc())


def _config_path(path: Path | None) -> Path:
    if path is None and not _INSTALLED.exists():
        raise InvalidInput(
            f"cannot join: there is no {_INSTALLED}; install the service first (heliotrope install --agent), name the "
            "agent's file with --config, or only a folder for the identity with --out"
        )
    path = path or _INSTALLED
    if path.suffix == ".json":
        raise InvalidInput(f"field --config: {path} is JSON, join edits TOML only; give --out, and edit it yourself")
    return path


def _configured(path: Path, token: JoinToken, coordinator: str, site: str) -> str:
    """The file's text with the coordinator and the site in it; everything else, comments too, as it was."""
    site = site or token.site
    if not path.exists():
        if not site:
            raise InvalidInput(f"field site: a new {path} needs the node's site; give --site NAME")
        return _NEW.format(coordinator=_quoted(coordinator), site=_quoted(site))
    before = _parsed(text := _read(path), path)
    changes = {"coordinator": coordinator, **({"site": site} if site else {})}
    for key, value in changes.items():
        if getattr(before, key) != value:
            text = _with(text, key, value, path)
    return text


def _with(text: str, key: str, value: str, path: Path) -> str:
    """One top-level key's line anew, its comment kept. Raises InvalidInput when there is no such plain line."""
    pattern = re.compile(rf"^{key}[ \t]*=[ \t]*(\"[^\"\\\n]*\"|'[^'\n]*')", re.MULTILINE)
    changed, count = pattern.subn(lambda _: f"{key} = {_quoted(value)}", text, count=1)
    if not count or getattr(_parsed(changed, path), key) != value:
        raise InvalidInput(f"{path}: field {key}: cannot be changed for you; write {key} = {_quoted(value)} yourself")
    return changed


def _quoted(value: str) -> str:
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"cannot read {path}: {error}; check its permissions") from error


def _parsed(text: str, path: Path) -> AgentConfig:
    return configuration.parse(configuration.parse_text(text, path), AgentConfig, where=str(path))


def _save(path: Path, text: str) -> None:
    if path.exists() and _read(path) == text:
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        mode = path.stat().st_mode & 0o777 if path.exists() else 0o644
        records.write_durably(path, text.encode(), mode=mode)
        path.chmod(mode)
    except OSError as error:
        raise Denied(
            f"cannot write {path}: {error.strerror}; this machine has joined, give the command again as a user who "
            "may write there"
        ) from error


def _show(joined: Identity, folder: Path, path: Path | None, as_json: bool) -> None:
    fields: dict[str, object] = {
        "name": str(joined.name),
        "serial": joined.serial,
        "folder": str(folder),
        "config": str(path) if path is not None else None,
        "expires_utc": joined.expires_utc,
    }
    if as_json:
        output.print_json(fields)
        return
    shown = {**fields, "config": fields["config"] or "", "expires_utc": output.format_time(joined.expires_utc)}
    output.print_fields([(name.removesuffix("_utc"), str(value)) for name, value in shown.items() if value])
    if path == _INSTALLED and os.geteuid() == 0:
        click.echo("\nnext: systemctl enable --now heliotrope-agent")
