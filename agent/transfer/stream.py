"""TLS over a socket by large reads and writes, for bytes in bulk.

``ssl.SSLSocket`` reads a TLS record of 16 KiB by two system calls and writes each by one of its own; here a read takes
what has come, up to ``READ_BYTES``, and a write gives the kernel all records of a piece at once. OpenSSL works on
memory in between (``ssl.MemoryBIO``): one copy more each way, which costs less than the calls
(docs/transfer.md has both figures).
"""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Callable
from typing import cast

from heliotrope.foundation.clock import Clock, SystemClock

READ_BYTES = 256 << 10  # with its copies it fits the second level cache of a core

_ReadInto = Callable[[int, memoryview], int]
_SYSTEM_CLOCK = SystemClock()


class TlsStream:
    """An established TLS connection. Used by one thread: OpenSSL allows no reading and writing at the same time.

    Errors are those of a socket: TimeoutError when the socket's timeout passed, OSError (``ssl.SSLError`` is one) when
    the connection is gone.
    """

    def __init__(
        self, plain: socket.socket, context: ssl.SSLContext, *, server_side: bool = False, clock: Clock = _SYSTEM_CLOCK
    ) -> None:
        """Shake hands within the socket's timeout, as a whole. The socket is this object's from then on.

        Raises OSError; ``ssl.SSLCertVerificationError`` when the far end is not one of ours.
        """
        self._plain = plain
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=server_side)
        self._raw = memoryview(bytearray(READ_BYTES))
        self._unsent = memoryview(b"")
        self._shake_hands(clock)

    def _shake_hands(self, clock: Clock) -> None:
        timeout_s = self._plain.gettimeout()
        end_s = None if timeout_s is None else clock.monotonic_s() + timeout_s
        while True:
            try:
                self._tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                self._tell()
            except ssl.SSLError:
                with contextlib.suppress(OSError):  # it may have hung up: our own error says more
                    self._tell()  # the alert, so that the far end learns why
                raise
            if end_s is not None:
                left_s = end_s - clock.monotonic_s()
                if left_s <= 0:
                    raise TimeoutError("the TLS handshake took too long")
                self._plain.settimeout(left_s)
            self._fill()
        self._tell()
        self._plain.settimeout(timeout_s)

    def settimeout(self, timeout_s: float) -> None:
        """How long a call may wait for the far end."""
        self._plain.settimeout(timeout_s)

    def fileno(self) -> int:
        """For select(): readable means that bytes came; ask :meth:`pending` first, they may be here already."""
        return self._plain.fileno()

    def pending(self) -> int:
        """Bytes that came and were not given out, records that are not whole included."""
        return self._tls.pending() + self._incoming.pending

    def certified(self) -> ssl.SSLObject:
        """What knows the far end's certificate."""
        return self._tls

    def recv_into(self, view: memoryview) -> int:
        """Put what has come into ``view``, at least a byte, waiting for it; 0 when the far end hung up."""
        while True:
            count = self._decrypt(view)
            if count is not None:
                return count
            if not self._fill():
                return 0

    def push(self, data: memoryview) -> int:
        """Encrypt ``data`` for the far end; :meth:`flush` sends it. Returns the bytes that wait to be sent."""
        self._tls.write(data)
        return len(self._unsent) + self._outgoing.pending

    def flush(self) -> int:
        """Send some of what was pushed; returns the bytes that still wait. After a TimeoutError call it again."""
        if not self._unsent:
            self._unsent = memoryview(self._outgoing.read())
        self._unsent = self._unsent[self._plain.send(self._unsent) :]
        return len(self._unsent) + self._outgoing.pending

    def linger(self, limit_s: float, clock: Clock = _SYSTEM_CLOCK) -> None:
        """After the last word: take what is still coming until the far end hangs up, at most so long.

        To close over unread bytes would reset the connection, and the last word might be lost with it.
        """
        end_s = clock.monotonic_s() + limit_s
        with contextlib.suppress(OSError):
            self._plain.shutdown(socket.SHUT_WR)
            while (left_s := end_s - clock.monotonic_s()) > 0:
                self._plain.settimeout(left_s)
                if not self._plain.recv_into(self._raw):
                    break

    def close(self) -> None:
        """Hang up without a goodbye."""
        self._plain.close()

    def _decrypt(self, view: memoryview) -> int | None:
        """Whole records that are here, as far as they fit; None when there is none, 0 after the far end's goodbye."""
        done = 0
        read, size_bytes = cast(_ReadInto, self._tls.read), len(view)  # its stub knows the one that gives bytes
        try:
            while done < size_bytes:
                count = read(size_bytes - done, view[done:])
                if not count:
                    break
                done += count
        except ssl.SSLWantReadError:
            if not done:
                return None
        except ssl.SSLEOFError:
            return done
        return done

    def _fill(self) -> int:
        """Wait for bytes of the far end; 0 when it hung up."""
        count = self._plain.recv_into(self._raw)
        if count:
            self._incoming.write(self._raw[:count])
        else:
            self._incoming.write_eof()
        return count

    def _tell(self) -> None:
        if self._outgoing.pending:
            self._plain.sendall(self._outgoing.read())
