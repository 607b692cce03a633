"""Strict configuration: TOML (or JSON) in, frozen structures out, every error naming the file and the field."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from .errors import InvalidInput

T = TypeVar("T")


def load(path: Path, kind: type[T]) -> T:
    """Read a configuration file into ``kind`` (a ``msgspec.Struct`` with ``forbid_unknown_fields``).

    Raises InvalidInput: missing or unreadable file, a syntax error with its line, an unknown key, a wrong type.
    """
    return parse(read_table(path), kind, where=str(path))


def read_table(path: Path) -> dict[str, Any]:
    """The file's top-level table; ``.json`` is JSON, anything else TOML. Raises InvalidInput."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise InvalidInput(f"cannot read {path}: {error.strerror}; check the path and its permissions") from error
    except UnicodeDecodeError as error:
        raise InvalidInput(f"cannot read {path}: not UTF-8 at byte {error.start}; save it as UTF-8") from error
    return parse_text(text, path)


def parse_text(text: str, path: Path) -> dict[str, Any]:
    """The top-level table of a file's text; ``path`` tells its syntax and names it in errors. Raises InvalidInput."""
    try:
        table = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except (tomllib.TOMLDecodeError, json.JSONDecodeError) as error:
        raise InvalidInput(f"cannot read {path}: {error}; correct the syntax there") from error
    if not isinstance(table, dict):
        raise InvalidInput(f"cannot read {path}: the top level is not a table; start it with key = value lines")
    return table


def parse(table: dict[str, Any], kind: type[T], *, where: str) -> T:
    """Check a table against ``kind``; ``where`` names its origin in the error. Raises InvalidInput."""
    try:
        return msgspec.convert(table, kind)
    except msgspec.ValidationError as error:
        raise InvalidInput(f"{where}: {explain(error)}") from error


def explain(error: msgspec.ValidationError) -> str:
    """Turn msgspec's "... - at `$.a.b`" into "field a.b: ..."."""
    text = str(error)
    cause, marker, path = text.partition(" - at `")
    field = path.rstrip("`").removeprefix("$").removeprefix(".")
    if "unknown field" in cause:
        name = cause.split("`")[-2]
        field = f"{field}.{name}" if field else name
        return f"field {field}: no such field; check its spelling or remove it"
    if "missing required field" in cause:
        name = cause.split("`")[-2]
        field = f"{field}.{name}" if field else name
        return f"field {field}: required but missing; add it"
    return f"field {field or '(top level)'}: {cause[:1].lower()}{cause[1:]}" if marker else cause
