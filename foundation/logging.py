"""Logging for the daemons: one line per record, UTC, ``key=value`` fields or JSON, and no secrets.

Modules log through the standard library (``logging.getLogger(__name__)``) and pass what varies as fields::

    log.info("job started", extra=fields(job_id=job_id, epoch=epoch))

A level says who must act: error, a person now; warning, a person some day; info, nobody; debug, a developer.
"""

from __future__ import annotations

import json
import logging
import os
import re
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, TextIO

from .errors import InvalidInput

LEVELS = ("debug", "info", "warning", "error")

_PACKAGE = "heliotrope"
_PRIORITIES = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3, logging.CRITICAL: 2}
_HIDDEN = "(hidden)"
_SECRET_FIELD = re.compile(
    r"(^|_)(token|password|passphrase|secret|credentials?|authorization|cookie|(private|api)_key|key_pem|ticket)(_|$)",
    re.IGNORECASE,
)
_SECRET_TEXT = (
    (re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL), _HIDDEN),
    (re.compile(r"(?i)(\w+://)[^\s/@:]+:[^\s/@]+@"), rf"\1{_HIDDEN}@"),
    (re.compile(r"(?i)\b(bearer|basic) [\w.~+/=-]{8,}"), rf"\1 {_HIDDEN}"),
)
_BARE = re.compile(r"[^\s\"=\\\x00-\x1f\x7f]+")


def fields(**values: Any) -> dict[str, dict[str, Any]]:
    """What to pass as ``extra``: fields of the record, with the unit in the name as everywhere."""
    return {"fields": values}


def setup(
    *,
    level: str = "info",
    json_lines: bool = False,
    stream: TextIO | None = None,
    environment: Mapping[str, str] = os.environ,
) -> None:
    """Send all records to ``stream`` (default: stderr), one line each; replaces what was set up before.

    Our own records from ``level`` on; other packages' from warning on. When the stream is the systemd journal, which
    adds its own time, a line begins with the priority instead (``<4>``). Raises InvalidInput for an unknown level.
    """
    if level not in LEVELS:
        raise InvalidInput(f"field log level: {level!r} is not one of {', '.join(LEVELS)}; choose one of them")
    target = sys.stderr if stream is None else stream
    handler = logging.StreamHandler(target)
    handler.setFormatter(LineFormatter(json_lines=json_lines, journal=is_journal(target, environment)))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger(_PACKAGE).setLevel(level.upper())
    logging.captureWarnings(True)


def is_journal(stream: TextIO, environment: Mapping[str, str]) -> bool:
    """Whether ``stream`` is the journal: JOURNAL_STREAM holds the device and inode it would have (systemd.exec(5))."""
    try:
        status = os.fstat(stream.fileno())
    except (OSError, ValueError):  # closed, or a stream without a file such as io.StringIO
        return False
    return environment.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"


class LineFormatter(logging.Formatter):
    """A record as one line: ``TIME LEVEL component: text key=value ...``, or as one JSON object."""

    def __init__(self, *, json_lines: bool, journal: bool) -> None:
        super().__init__()
        self._json_lines = json_lines
        self._journal = journal

    def format(self, record: logging.LogRecord) -> str:
        values = {name: _safe(name, value) for name, value in getattr(record, "fields", {}).items()}
        if record.exc_info and record.exc_info[1] is not None:
            values["error"] = _scrub(f"{type(record.exc_info[1]).__name__}: {record.exc_info[1]}")
            values["trace"] = _scrub(self.formatException(record.exc_info))
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        level = record.levelname.lower()
        component = record.name.removeprefix(f"{_PACKAGE}.")
        text = _scrub(record.getMessage())
        prefix = f"<{_PRIORITIES.get(record.levelno, 6)}>" if self._journal else ""
        if self._json_lines:
            head = {} if self._journal else {"time": time}
            line = {**head, "level": level, "component": component, "message": text, **_apart(values)}
            return prefix + json.dumps(line, default=str)
        parts = [] if self._journal else [time]
        parts += [level, f"{component}:", _one_line(text)]
        parts += [f"{name}={_quoted(value)}" for name, value in values.items()]
        return prefix + " ".join(parts)


def _apart(values: dict[str, Any]) -> dict[str, Any]:
    """Fields beside the fixed keys; one that would shadow a fixed key gets an underscore behind it."""
    fixed = {"time", "level", "component", "message"}
    return {f"{name}_" if name in fixed else name: value for name, value in values.items()}


def _safe(name: str, value: Any) -> Any:
    if _SECRET_FIELD.search(name):
        return _HIDDEN
    if isinstance(value, bytes | bytearray | memoryview):
        return f"({len(value)} bytes)"  # may be key material, and helps nobody in a log
    if value is None or isinstance(value, bool | int | float):
        return value
    return _scrub(str(value))


def _scrub(text: str) -> str:
    for pattern, replacement in _SECRET_TEXT:
        text = pattern.sub(replacement, text)
    return text


def _one_line(text: str) -> str:
    """Line breaks and control characters as escapes: a text from outside cannot forge a line or steer a terminal."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text)


def _quoted(value: Any) -> str:
    text = str(value)
    if _BARE.fullmatch(text) and text.isprintable():
        return text
    return '"' + _one_line(text.replace("\\", "\\\\").replace('"', '\\"')) + '"'
