"""How much one connection may have asked for that has not come yet.

Too little, and a long link stands idle between an answer and the next question. Too much, and a slow connection sits
at the end on what the others, idle by then, would have brought at once: the window of a connection is what it carries
in the time of an answer, by its own measured rate.
"""

from __future__ import annotations

LEAST_BYTES = 1 << 20
_ROUND_TRIPS = 2.0  # slow start doubles the rate each round trip, and the rate known is one round trip old
_CODING_S = 0.15  # the sender reads and codes before it answers, and others are in its queue
_SPAN_S = 0.1


class Window:
    """Pure: told (time, bytes so far), says the window. The best of the last two spans counts: a short stall says
    nothing.
    """

    def __init__(self, rtt_s: float, now_s: float, received_bytes: int = 0) -> None:
        self._answer_s = _ROUND_TRIPS * rtt_s + _CODING_S
        self._span_s = max(_SPAN_S, rtt_s)
        self._since = (now_s, received_bytes)
        self._rates = (0.0, 0.0)

    def observe(self, now_s: float, received_bytes: int) -> None:
        """``received_bytes``: of this connection since it began. Call as often as you like."""
        since_s, since_bytes = self._since
        if now_s - since_s >= self._span_s:
            self._rates = (self._rates[1], (received_bytes - since_bytes) / (now_s - since_s))
            self._since = (now_s, received_bytes)

    def size_bytes(self, limit_bytes: int) -> int:
        """Bytes of state; ``limit_bytes`` is the connection's share of the memory."""
        return min(max(LEAST_BYTES, int(max(self._rates) * self._answer_s)), max(LEAST_BYTES, limit_bytes))
