"""A job's output through cuts: after each the stream goes on at the byte that it had come to."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from heliotrope.foundation.clock import Clock, SystemClock
from heliotrope.foundation.errors import Denied, Unreachable
from heliotrope.foundation.model import LogOffset, LogStream

from .client import LogPiece
from .waiting import FIRST_PAUSE_S, LONGEST_PAUSE_S, RESTART_PATIENCE_S


def pieces(
    ask: Callable[..., Iterator[LogPiece]],
    *,
    tail_bytes: int,
    clock: Clock | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[LogPiece]:
    """Every piece once. ``ask(tail_bytes=, offsets=)`` opens a stream of them.

    What the consumer took counts as read: a piece that it did not come back from is asked for again. Raises Unreachable
    when nothing could be had for RESTART_PATIENCE_S, at once if nothing ever could; and whatever else ``ask`` raises.
    """
    clock = clock or SystemClock()
    read: dict[tuple[int, int, LogStream], LogOffset] = {}
    heard, cut_s, pause_s = False, 0.0, FIRST_PAUSE_S  # cut_s: since when nothing was heard, 0 while something is
    while True:
        try:
            for piece in ask(tail_bytes=0 if read else tail_bytes, offsets=tuple(read.values())):
                heard, cut_s, pause_s = True, 0.0, FIRST_PAUSE_S
                if piece.data:
                    yield piece
                read.update({(one.epoch, one.attempt, one.stream): one for one in piece.offsets})
        except (Unreachable, Denied):  # a handshake that is cut looks like one that is refused
            cut_s = cut_s or clock.monotonic_s()
            if not heard or clock.monotonic_s() - cut_s > RESTART_PATIENCE_S:
                raise
        else:
            return
        sleep(pause_s)
        pause_s = min(pause_s * 1.5, LONGEST_PAUSE_S)
