"""File names and link targets of a checkpoint, as text that travels unharmed and never leaves its folder.

POSIX names are bytes. A manifest holds them as UTF-8 text in which ``%`` and every byte that is not UTF-8 stand as
``%XX``: printable, reversible, and with one spelling per name, so that the manifest's digest is canonical.
"""

from __future__ import annotations

import posixpath
from collections.abc import Mapping

from heliotrope.foundation.errors import InvalidInput

NAME_BYTES_LIMIT = 255
PATH_BYTES_LIMIT = 4095
_HOPS_LIMIT = 40  # what the kernel follows before it answers ELOOP


def escape(name: bytes) -> str:
    """Bytes of a POSIX path as text; :func:`unescape` gives them back."""
    text = name.replace(b"%", b"%25").decode("utf-8", "surrogateescape")
    return "".join(f"%{ord(letter) - 0xDC00:02X}" if "\udc80" <= letter <= "\udcff" else letter for letter in text)


def unescape(text: str) -> bytes:
    """The bytes that :func:`escape` was given. Raises InvalidInput for text it cannot have made."""
    head, *rest = text.split("%")
    try:
        name = head.encode() + b"".join(bytes([int(part[:2], 16)]) + part[2:].encode() for part in rest)
    except ValueError as error:
        raise InvalidInput(f"cannot read path {text!r}: {error}; the manifest was not made by Heliotrope") from error
    if escape(name) != text:
        raise InvalidInput(f"cannot read path {text!r}: not its canonical spelling; the manifest is not Heliotrope's")
    return name


def check_path(text: str) -> bytes:
    """The bytes of a path inside a checkpoint (empty for its root). Raises InvalidInput if it could point outside."""
    name = unescape(text)
    if name == b"":
        return name
    parts = name.split(b"/")
    if len(name) > PATH_BYTES_LIMIT or any(len(part) > NAME_BYTES_LIMIT for part in parts):
        raise InvalidInput(f"cannot use path {text[:80]!r}...: longer than the file system allows; shorten the name")
    if b"\0" in name or any(part in (b"", b".", b"..") for part in parts):
        raise InvalidInput(f"cannot use path {text!r}: it is absolute or points outside; use plain relative names")
    return name


def check_links(links: Mapping[str, str]) -> None:
    """Check that no symlink (path -> target, both escaped) leads outside the checkpoint, through other links included.

    Raises InvalidInput naming the link. A dangling target inside the checkpoint is allowed, as on disk.
    """
    known = {check_path(path): unescape(target) for path, target in links.items()}
    for path, target in known.items():
        if not target or b"\0" in target or len(target) > PATH_BYTES_LIMIT or not _stays_inside(path, target, known):
            raise InvalidInput(
                f"cannot carry symlink {escape(path)!r} -> {escape(target)!r}: it leads outside the checkpoint; "
                "replace it by a relative link inside, or by the file itself"
            )


def _stays_inside(path: bytes, target: bytes, links: Mapping[bytes, bytes]) -> bool:
    """Walk the target as the kernel would, expanding links on the way; a lexical check misses ``a -> ..`` then
    ``a/..``.
    """
    if not path or target.startswith(b"/"):
        return False
    here: list[bytes] = [part for part in posixpath.dirname(path).split(b"/") if part]
    waiting = target.split(b"/")[::-1]
    hops = 1
    while waiting:
        part = waiting.pop()
        if part in (b"", b"."):
            continue
        if part == b"..":
            if not here:
                return False
            here.pop()
            continue
        here.append(part)
        onward = links.get(b"/".join(here))
        if onward is not None:
            hops += 1
            if hops > _HOPS_LIMIT:
                return True  # a loop: it leads nowhere, the kernel refuses to follow it
            if onward.startswith(b"/"):
                return False
            here.pop()
            waiting.extend(onward.split(b"/")[::-1])
    return True
