"""The transfer protocol's messages. The end that has the state is the sender, the one that wants it the receiver;
either may dial.

1. dialler -> Hello (versions, its role, the ticket); listener -> Welcome (versions chosen) or Failure.
2. receiver -> ManifestRequest; sender -> Wait while it prepares, then ManifestReply and the manifest in PART messages.
3. receiver -> Want (chunk indices, each with the index of a base chunk or -1), as many ahead as its memory allows;
   sender -> one FRAME per wanted chunk, in any order. The receiver's wants are the back-pressure: nothing unasked is
   sent.
4. receiver -> Progress and Renew (a fresh ticket) now and then, Bye at the end; either -> Failure, then both hang up.

On the wire a message is kind (1 byte), length (4), chunk index (4, 0 unless FRAME), then that many bytes.
"""

from __future__ import annotations

import struct
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

PROTOCOL_VERSION = 1
HEADER = struct.Struct(">BII")
CONTROL, PART, FRAME = 1, 2, 3

CONTROL_BYTES_LIMIT = 256 << 10
PART_BYTES_LIMIT = 4 << 20
MANIFEST_BYTES_LIMIT = 512 << 20
FRAME_BYTES_LIMIT = (16 << 20) + (64 << 10)
WANTS_LIMIT = 1024

Versions = Annotated[tuple[Annotated[int, Meta(ge=0, le=1 << 16)], ...], Meta(max_length=64)]
Ticket = Annotated[bytes, Meta(max_length=4096)]
Digest = Annotated[bytes, Meta(max_length=32)]
Bytes = Annotated[int, Meta(ge=0, le=1 << 62)]
Role = Literal["send", "receive"]


class _Message(msgspec.Struct, frozen=True, array_like=True, tag=True, forbid_unknown_fields=True):
    pass


class Hello(_Message, frozen=True):
    """First word of the end that dials. ``role``: what it will do itself."""

    protocols: Versions
    frames: Versions
    codecs: Versions
    role: Role
    ticket: Ticket


class Welcome(_Message, frozen=True):
    """The highest versions that both ends know."""

    protocol: int
    frame: int


class ManifestRequest(_Message, frozen=True):
    """``base``: digest of a manifest that the receiver holds, or empty; ``have``: the digest it has already, or
    empty.
    """

    reference: Annotated[str, Meta(max_length=512)]
    base: Digest = b""
    have: Digest = b""


class ManifestReply(_Message, frozen=True):
    """``size_bytes``: length of the manifest that follows, 0 if the receiver has it; ``base``: deltas can be made."""

    digest: Annotated[bytes, Meta(min_length=32, max_length=32)]
    size_bytes: Annotated[int, Meta(ge=0, le=MANIFEST_BYTES_LIMIT)]
    base: bool


class Want(_Message, frozen=True):
    """(chunk index, index of the base manifest's chunk to code against or -1), in the order they are needed."""

    chunks: Annotated[
        tuple[tuple[Annotated[int, Meta(ge=0, lt=1 << 32)], Annotated[int, Meta(ge=-1, lt=1 << 32)]], ...],
        Meta(min_length=1, max_length=WANTS_LIMIT),
    ]


class Renew(_Message, frozen=True):
    """A ticket that replaces the one in the Hello, for the same move."""

    ticket: Ticket


class Progress(_Message, frozen=True):
    """What the receiver has verified so far, for the sender's own display."""

    done_bytes: Bytes
    total_bytes: Bytes


class Wait(_Message, frozen=True):
    """The sender is alive and busy (reading a large checkpoint)."""


class Bye(_Message, frozen=True):
    """The receiver has all it wants from this connection."""


class Failure(_Message, frozen=True):
    """The end of the conversation. ``kind``: a class of the error catalogue."""

    kind: Annotated[str, Meta(max_length=64)]
    text: Annotated[str, Meta(max_length=4096)]


Message = Hello | Welcome | ManifestRequest | ManifestReply | Want | Renew | Progress | Wait | Bye | Failure

_decoder = msgspec.msgpack.Decoder(Message)


def encode(message: Message) -> bytes:
    """Header and body of a control message."""
    body = msgspec.msgpack.encode(message)
    return HEADER.pack(CONTROL, len(body), 0) + body


def decode(body: bytes | bytearray | memoryview) -> Message:
    """The control message in ``body``. Raises msgspec.DecodeError (ValidationError names the field)."""
    try:
        message: Message = _decoder.decode(body)
    except UnicodeDecodeError as error:  # msgspec lets it through where a tag is not text
        raise msgspec.DecodeError(str(error)) from error
    return message


LIMITS = {CONTROL: CONTROL_BYTES_LIMIT, PART: PART_BYTES_LIMIT, FRAME: FRAME_BYTES_LIMIT}
