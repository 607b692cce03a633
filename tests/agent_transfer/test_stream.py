"""TLS by large reads and writes: real sockets and certificates, peers that dribble, stall, hang up or are strangers."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from heliotrope.agent.transfer.stream import READ_BYTES, TlsStream
from heliotrope.foundation import authority, identity, tls
from heliotrope.foundation.identity import Role

from .conftest import Fleet

SIZE_BYTES = 3 * READ_BYTES + 12_345


@pytest.fixture
def sockets() -> Iterator[tuple[socket.socket, socket.socket]]:
    left, right = socket.socketpair()
    for each in (left, right):
        each.settimeout(10)
    with left, right:
        yield left, right


def both(fleet: Fleet, left: socket.socket, right: socket.socket) -> tuple[TlsStream, TlsStream]:
    with ThreadPoolExecutor(1) as pool:
        serving = pool.submit(TlsStream, left, fleet.server_context, server_side=True)
        return TlsStream(right, fleet.client_context), serving.result()


def read(stream: TlsStream, size_bytes: int) -> bytes:
    data = bytearray(size_bytes)
    done = 0
    while done < size_bytes and (count := stream.recv_into(memoryview(data)[done:])):
        done += count
    return bytes(data[:done])


def send(stream: TlsStream, data: bytes) -> None:
    left_bytes = stream.push(memoryview(data))
    while left_bytes:
        left_bytes = stream.flush()


def test_what_is_sent_arrives_and_each_end_knows_the_other(
    fleet: Fleet, sockets: tuple[socket.socket, socket.socket]
) -> None:
    client, server = both(fleet, *sockets)
    assert tls.peer(client.certified()).name == fleet.source.name
    assert tls.peer(server.certified()).name == fleet.destination.name
    data = bytes(range(256)) * (SIZE_BYTES // 256)
    with ThreadPoolExecutor(1) as pool:
        sending = pool.submit(send, server, data)
        assert read(client, len(data)) == data
        sending.result()
    send(client, b"and back")
    assert read(server, 8) == b"and back"


def test_what_was_read_ahead_is_pending(fleet: Fleet, sockets: tuple[socket.socket, socket.socket]) -> None:
    client, server = both(fleet, *sockets)
    assert client.pending() == 0
    server.push(memoryview(b"one"))
    server.push(memoryview(b"two"))  # two records, one packet
    while server.flush():
        pass
    assert read(client, 3) == b"one"
    assert client.pending() > 0
    assert read(client, 3) == b"two"
    assert client.pending() == 0


def test_a_far_end_that_stalls_loses_nothing(fleet: Fleet, sockets: tuple[socket.socket, socket.socket]) -> None:
    client, server = both(fleet, *sockets)
    server.settimeout(0.01)
    data = b"x" * (64 * READ_BYTES)
    server.push(memoryview(data))
    with pytest.raises(TimeoutError):
        while server.flush():
            pass
    server.settimeout(10)
    with ThreadPoolExecutor(1) as pool:
        sending = pool.submit(lambda: [None for _ in iter(server.flush, 0)])
        assert read(client, len(data)) == data
        sending.result()


def test_a_record_that_comes_in_two_parts_is_waited_for(
    fleet: Fleet, sockets: tuple[socket.socket, socket.socket]
) -> None:
    client, server = both(fleet, *sockets)
    near, far = socket.socketpair()  # between them, a wire that holds bytes back
    with near, far:
        server.push(memoryview(b"a whole record"))
        server._plain = near
        while server.flush():
            pass
        record = far.recv(4096)
        sockets[0].sendall(record[:7])
        client.settimeout(0.01)
        with pytest.raises(TimeoutError):
            client.recv_into(memoryview(bytearray(100)))
        sockets[0].sendall(record[7:])
        client.settimeout(10)
        assert read(client, 14) == b"a whole record"


def test_a_far_end_that_hangs_up_ends_the_reading(fleet: Fleet, sockets: tuple[socket.socket, socket.socket]) -> None:
    client, server = both(fleet, *sockets)
    send(server, b"last words")
    server.close()
    assert read(client, 100) == b"last words"


def test_a_changed_byte_is_an_error(fleet: Fleet, sockets: tuple[socket.socket, socket.socket]) -> None:
    client, server = both(fleet, *sockets)
    near, far = socket.socketpair()
    with near, far:
        server.push(memoryview(b"a whole record"))
        server._plain = near
        while server.flush():
            pass
        record = bytearray(far.recv(4096))
        record[-1] ^= 1
        sockets[0].sendall(record)
        with pytest.raises(ssl.SSLError):
            client.recv_into(memoryview(bytearray(100)))


def test_a_stranger_is_refused_and_told(
    fleet: Fleet, sockets: tuple[socket.socket, socket.socket], tmp_path: Path
) -> None:
    ca = authority.create(tmp_path / "ca", "test")
    ca.issue(Role.AGENT, "node-b").save(tmp_path / "node-b")
    stranger = tls.server_context(identity.load(tmp_path / "node-b"))
    with ThreadPoolExecutor(1) as pool:
        serving = pool.submit(TlsStream, sockets[0], stranger, server_side=True)
        with pytest.raises(ssl.SSLCertVerificationError):
            TlsStream(sockets[1], fleet.client_context)
        with pytest.raises(ssl.SSLError, match="alert"):
            serving.result()


def test_a_handshake_by_drops_ends_with_the_timeout_of_the_whole(
    fleet: Fleet, sockets: tuple[socket.socket, socket.socket]
) -> None:
    class Clock:
        """Each look at it is four seconds later."""

        now_s = 0.0

        def monotonic_s(self) -> float:
            self.now_s += 4
            return self.now_s

        boottime_s = monotonic_s

        def utc(self) -> None: ...

    left, right = sockets
    hello = b"\x16\x03\x01\x02\x00\x01"  # the head of a ClientHello of 512 bytes
    right.sendall(hello)
    left.settimeout(8)  # over at the second look after these few bytes
    with pytest.raises(TimeoutError, match="handshake"):
        TlsStream(left, fleet.server_context, server_side=True, clock=Clock())  # type: ignore[arg-type]
