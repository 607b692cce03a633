"""An exported ledger: one JSON object a line, each in its one canonical text, so that not a byte of it is free.

Lines: ``ledger`` first, then every ``signer``, then ``entry`` and ``head`` by node, and ``end`` with the counts last.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import msgspec
from msgspec import Meta

from .errors import Corrupt, Incompatible
from .ledger import VERSION, Entry, Head

LINE_LIMIT_BYTES = 64 * 1024

Hex = Annotated[str, Meta(pattern=r"^([0-9a-f]{2})+$")]


class _Line(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="type"):
    pass


class LedgerLine(_Line, frozen=True, kw_only=True, tag="ledger"):
    """The beginning. ``node_id``: the one node that was asked for, or empty for all."""

    version: int
    fleet: str
    node_id: str = ""


class SignerLine(_Line, frozen=True, kw_only=True, tag="signer"):
    """A coordinator's certificate."""

    serial: str
    certificate_pem: str


class EntryLine(_Line, frozen=True, kw_only=True, tag="entry"):
    """An entry and its hash, which chains it to the one before."""

    entry: Entry
    hash: Hex


class HeadLine(_Line, frozen=True, kw_only=True, tag="head"):
    """A signed head, after the entry that it is about."""

    head: Head
    signature: Hex


class EndLine(_Line, frozen=True, kw_only=True, tag="end"):
    """What a whole export ends with."""

    entry_count: int
    head_count: int


Line = LedgerLine | SignerLine | EntryLine | HeadLine | EndLine

_ENCODER = msgspec.json.Encoder(order="sorted")
_DECODER: msgspec.json.Decoder[Line] = msgspec.json.Decoder(Line)


def encode(line: Line) -> bytes:
    """With its line feed."""
    return _ENCODER.encode(line) + b"\n"


def decode(data: bytes, number: int) -> Line:
    """A line without its line feed. Raises Corrupt naming the line, Incompatible for a newer ledger."""
    if len(data) > LINE_LIMIT_BYTES:
        raise Corrupt(f"line {number}: {len(data)} bytes are more than any line of a ledger has; fetch it anew")
    try:
        line = _DECODER.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Corrupt(f"line {number}: {error}; this is not what a coordinator exported") from error
    if isinstance(line, LedgerLine) and line.version != VERSION:
        raise Incompatible(f"line {number}: a ledger of version {line.version}, this software knows {VERSION}; upgrade")
    if _ENCODER.encode(line) != data:
        raise Corrupt(f"line {number}: it says the same in other bytes; somebody wrote it anew")
    return line


def split(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Lines without their line feeds, out of pieces of any size. Raises Corrupt for a last line that is cut."""
    rest = b""
    for piece in pieces:
        *lines, rest = (rest + piece).split(b"\n")
        yield from lines
    if rest:
        raise Corrupt("the last line of the ledger is cut; fetch it anew")
