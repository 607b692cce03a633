# The supervisor starts in milliseconds, so no pathlib here.
# ruff: noqa: PTH108
"""JSON lines over Unix sockets, for the supervisor (standard library only).

A socket's address holds 107 bytes, a run folder's path may be longer: bind and connect go through
/proc/self/fd/N/NAME, where N is the folder.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import struct
from collections.abc import Callable, Iterator
from typing import Any

from .loop import Loop

LINE_LIMIT_BYTES = 64 * 1024
PEER_LIMIT = 32  # connections at a time on one socket


@contextlib.contextmanager
def short_address(path: str) -> Iterator[str]:
    """An address of any path's socket that fits, valid inside the block. Raises OSError if the folder is missing."""
    folder, name = os.path.split(path)
    handle = os.open(folder or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{handle}/{name}"
    finally:
        os.close(handle)


def listen(path: str, *, mode: int, owner: tuple[int, int] | None = None) -> socket.socket:
    """Bind a stream socket at ``path`` (replacing a dead one's) with these permissions. Raises OSError."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        before = os.umask(0o777 & ~mode)  # never open to others, not even between bind and chmod
        try:
            with short_address(path) as address:
                listener.bind(address)
        finally:
            os.umask(before)
        if owner is not None:
            os.chown(path, *owner)
        listener.listen(PEER_LIMIT)
    except BaseException:
        listener.close()
        raise
    return listener


class Peer:
    """One connection and who the kernel says is at its other end."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        self.pid, self.uid, _ = struct.unpack("3i", credentials)
        self.ready = False
        self.received = b""

    def send(self, message: dict[str, Any]) -> bool:
        """Send one line now; False if the other end does not take it (it is then hung up on)."""
        line = json.dumps(message).encode() + b"\n"
        try:
            return self.connection.send(line) == len(line)
        except OSError:
            return False


class LineServer:
    """Accepts connections of the allowed users on one socket and hands over each message that arrives."""

    def __init__(
        self,
        loop: Loop,
        listener: socket.socket,
        allowed_uids: frozenset[int],
        handle: Callable[[Peer, dict[str, Any]], None],
    ) -> None:
        self.peers: list[Peer] = []
        self._loop = loop
        self._listener = listener
        self._allowed_uids = allowed_uids
        self._handle = handle
        loop.watch(listener.fileno(), self._accept)

    def drain(self) -> None:
        """Take what has arrived but was not read yet: the job may have ended right after its last words."""
        with contextlib.suppress(BlockingIOError):
            while True:
                self._accept_one()
        for peer in list(self.peers):
            while peer in self.peers and self._read(peer):
                pass

    def close(self) -> None:
        """Hang up on everyone."""
        for peer in list(self.peers):
            self.drop(peer)
        self._loop.forget(self._listener.fileno())
        self._listener.close()

    def drop(self, peer: Peer) -> None:
        """Hang up on one."""
        if peer in self.peers:
            self.peers.remove(peer)
            self._loop.forget(peer.connection.fileno())
            peer.connection.close()

    def _accept(self) -> None:
        with contextlib.suppress(BlockingIOError):
            self._accept_one()

    def _accept_one(self) -> None:
        connection, _ = self._listener.accept()
        connection.setblocking(False)
        peer = Peer(connection)
        if peer.uid not in self._allowed_uids or len(self.peers) >= PEER_LIMIT:
            connection.close()
            return
        self.peers.append(peer)
        self._loop.watch(connection.fileno(), lambda: self._on_readable(peer))

    def _on_readable(self, peer: Peer) -> None:
        self._read(peer)

    def _read(self, peer: Peer) -> bool:
        """Handle one read's worth of lines; False when there was nothing to read or the peer is gone."""
        try:
            data = peer.connection.recv(LINE_LIMIT_BYTES)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        if not data:
            self.drop(peer)
            return False
        *lines, peer.received = (peer.received + data).split(b"\n")
        for line in lines:
            self._take(peer, line)
        if len(peer.received) > LINE_LIMIT_BYTES:
            peer.send(
                {"type": "error", "error": f"cannot read message: longer than {LINE_LIMIT_BYTES} bytes; split it"}
            )
            self.drop(peer)
        return True

    def _take(self, peer: Peer, line: bytes) -> None:
        try:
            message = json.loads(line, parse_constant=lambda _: None)
        except (ValueError, RecursionError):
            message = None
        if isinstance(message, dict):
            self._handle(peer, message)
        else:
            peer.send({"type": "error", "error": "cannot read message: not a JSON object in one line; correct it"})
