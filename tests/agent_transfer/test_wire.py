"""The messages: what is sent comes back, what is not one of them is refused."""

from __future__ import annotations

import contextlib

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from heliotrope.agent.transfer import wire

MESSAGES: list[wire.Message] = [
    wire.Hello((1,), (1, 2), (1,), "receive", b"ticket"),
    wire.Welcome(1, 1),
    wire.ManifestRequest("newest", b"b" * 32, b""),
    wire.ManifestReply(b"d" * 32, 100, True),
    wire.Want(((1, -1), (2, 7))),
    wire.Renew(b"t"),
    wire.Progress(1, 2),
    wire.Wait(),
    wire.Bye(),
    wire.Failure("Corrupt", "cannot"),
]


@pytest.mark.parametrize("message", MESSAGES)
def test_every_message_comes_back(message: wire.Message) -> None:
    data = wire.encode(message)
    kind, length, index = wire.HEADER.unpack(data[: wire.HEADER.size])
    assert (kind, length, index) == (wire.CONTROL, len(data) - wire.HEADER.size, 0)
    assert wire.decode(data[wire.HEADER.size :]) == message


@given(st.binary(max_size=200), st.integers(0, len(MESSAGES) - 1), st.integers(0, 40))
def test_damaged_messages_are_refused_or_harmless(junk: bytes, which: int, cut: int) -> None:
    body = wire.encode(MESSAGES[which])[wire.HEADER.size :]
    for data in (junk, body[:cut] + junk, body[:-1]):
        with contextlib.suppress(msgspec.DecodeError):
            assert isinstance(wire.decode(data), wire.Message)


@pytest.mark.parametrize(
    "message",
    [
        wire.Want(()),
        wire.Want(tuple((n, -1) for n in range(wire.WANTS_LIMIT + 1))),
        wire.Want(((-1, 0),)),
        wire.Want(((0, -2),)),
        wire.Hello((1,) * 65, (1,), (1,), "receive", b""),
        wire.Hello((1,), (1,), (1,), "receive", b"x" * 5000),
        wire.ManifestReply(b"short", 1, True),
        wire.ManifestReply(b"d" * 32, wire.MANIFEST_BYTES_LIMIT + 1, True),
        wire.Failure("K", "x" * 5000),
    ],
)
def test_limits_hold(message: wire.Message) -> None:
    with pytest.raises(msgspec.ValidationError):
        wire.decode(wire.encode(message)[wire.HEADER.size :])
