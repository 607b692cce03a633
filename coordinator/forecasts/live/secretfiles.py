"""Secrets from files: mode 0600, or a systemd credential; never from the command line, and never in a message."""

from __future__ import annotations

import os
from pathlib import Path

from heliotrope.foundation import identity
from heliotrope.foundation.errors import InvalidInput, NotFound

CREDENTIAL = "credential:"
LIMIT_BYTES = 4096


def read(name: str, folder: Path | None, field: str) -> str:
    """The secret that ``name`` says: a path (relative ones in ``folder``) or ``credential:NAME``.

    Read anew for each use, so that a replaced key counts at once. Raises NotFound, Denied (others may read it), or
    InvalidInput naming ``field``.
    """
    data = _credential(name, field) if name.startswith(CREDENTIAL) else identity.read_private(_path(name, folder))
    try:
        text = data.decode("ascii").strip()
    except UnicodeDecodeError as error:
        raise InvalidInput(f"field {field}: the secret in {name} is not ASCII text; write the key alone") from error
    if not text or len(data) > LIMIT_BYTES or not text.isprintable():
        raise InvalidInput(f"field {field}: {name} holds no single-line secret; write the key alone into it")
    return text


def _path(name: str, folder: Path | None) -> Path:
    path = Path(name).expanduser()
    return path if folder is None or path.is_absolute() else folder / path


def _credential(name: str, field: str) -> bytes:
    """A credential that systemd put there for this service alone; its mode is systemd's business."""
    place = os.environ.get("CREDENTIALS_DIRECTORY", "")
    key = name.removeprefix(CREDENTIAL)
    if not place or "/" in key or key in ("", ".", ".."):
        raise NotFound(
            f"field {field}: no systemd credential {key!r}; add LoadCredential={key or 'NAME'}:FILE to the service"
        )
    return identity.read_public(Path(place) / key)
