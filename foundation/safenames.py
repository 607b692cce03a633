"""Texts of a job file that become paths, patterns or words for the system: what is wrong with one, in words.

A job file comes from outside. Whatever passes here stays below the folder that it is joined to, on every node, and
raises nothing when it is used. Each function returns "" for a good text, else what follows "field X: 'text' ".
"""

from __future__ import annotations

import re
import signal
from pathlib import PurePosixPath

PATH_BYTES_LIMIT = 1024  # of one path of a job file: room for the node's own folders below the kernel's 4096
NAME_BYTES_LIMIT = 255  # of one component, the kernel's own
_ACCOUNT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@-]{0,254}\$?")
REQUEST_SIGNALS = frozenset(signal.Signals.__members__) - {"SIGKILL", "SIGSTOP", "SIGCHLD"}


def text_fault(text: str) -> str:
    """What no program argument, variable or path can hold."""
    if "\0" in text:
        return "holds a NUL byte; remove it"
    try:
        text.encode()
    except UnicodeEncodeError:
        return "is not valid Unicode; write it in UTF-8"
    return ""


def inside_fault(text: str) -> str:
    """A path that must stay inside the folder it is relative to; "." is that folder."""
    if not text:
        return "is empty; name a path inside the job's folder"
    path = PurePosixPath(text)
    if path.is_absolute() or ".." in path.parts:
        return "leaves the job's folder; name a path inside it"
    return text_fault(text) or _length_fault(path)


def pattern_fault(text: str) -> str:
    """A path inside the folder in which ``*``, ``?``, ``[...]`` and ``**`` may stand for several."""
    if any("**" in part and part != "**" for part in PurePosixPath(text).parts):
        return "has ** beside other letters; ** stands for folders and is a part of its own, as in data/**/*.txt"
    return inside_fault(text)


def name_fault(text: str) -> str:
    """The bare name of a file: no folder, nothing that leads elsewhere."""
    if not text:
        return "is empty; give the file's name"
    if "/" in text or text in (".", ".."):
        return "is not a file's bare name; leave out the folder"
    return text_fault(text) or _length_fault(PurePosixPath(text))


def absolute_fault(text: str) -> str:
    """A path of the node itself, written in the one way that names it."""
    if not text.startswith("/"):
        return "is not absolute; begin it with /"
    if text != "/" and (any(part in ("", ".", "..") for part in text[1:].split("/"))):
        return "has empty parts, . or ..; write the plain path"
    if "\n" in text:
        return "holds a line break; remove it"
    return text_fault(text) or _length_fault(PurePosixPath(text))


def account_fault(text: str) -> str:
    """A local account's name."""
    return "" if _ACCOUNT.fullmatch(text) else "is not an account's name; use letters, digits, '_', '.', '@' and '-'"


def variable_fault(text: str) -> str:
    """The name of an environment variable that a job may set."""
    if text.startswith("HELIOTROPE_"):
        return "names starting with HELIOTROPE_ are set by the agent; choose another"
    if not text or "=" in text:
        return "is not a variable's name; it needs a letter and no '='"
    return text_fault(text)


def signal_fault(text: str) -> str:
    """A signal that can carry a request."""
    return "" if text in REQUEST_SIGNALS else "is not a signal that can carry a request; write SIGUSR1 or SIGUSR2"


def _length_fault(path: PurePosixPath) -> str:
    if len(str(path).encode()) > PATH_BYTES_LIMIT:
        return f"is longer than {PATH_BYTES_LIMIT} bytes; shorten it"
    if any(len(part.encode()) > NAME_BYTES_LIMIT for part in path.parts):
        return f"has a part longer than {NAME_BYTES_LIMIT} bytes; shorten it"
    return ""
