"""How many connections a pull gets: half as many again as long as the last ones made all of them together faster.

What one TCP stream carries is bounded by its window, its losses and the round trip; what all carry, by the link. While
the first bound holds, m streams carry m / n of what n do; once the second does, more gain nothing. Between the two
lies noise: each number of connections is judged by the median of several spans, after one in which the newcomers start
slowly, and a first miss is measured once more before it ends the growth.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median

SPAN_S = 0.5
_SPANS = 3  # that are judged, after one that is not
_MISSES = 2
# Of the gain m / n - 1 that a link without a common limit gives, at least this share; never below the noise.
_SHARE_RATIO = 0.4
_GAIN_LEAST_RATIO = 1.03
# One TCP stream with stock buffers carries one window per round trip: on a long link start with all of them.
_NEAR_RTT_S, _FAR_RTT_S = 0.002, 0.01


def first_count(rtt_s: float, limit: int) -> int:
    """How many connections to begin with."""
    return min(2 if rtt_s < _NEAR_RTT_S else 4 if rtt_s < _FAR_RTT_S else 8, limit)


@dataclass(frozen=True)
class Judgement:
    """``more``: connections to open now. ``text`` is for the log, empty while there is nothing to say."""

    more: int
    text: str


WAIT = Judgement(0, "")


class Growth:
    """Pure: told (time, bytes so far), says when to add connections. ``count`` is how many there should be."""

    def __init__(self, count: int, limit: int, now_s: float) -> None:
        self.count = count
        self.over = count >= limit
        self._limit = limit
        self._since = (now_s, 0)
        self._begun = False
        self._settling = True
        self._rates: list[float] = []
        self._before_count = count
        self._before_bytes_per_s = 0.0
        self._misses = 0

    def observe(self, now_s: float, wire_bytes: int) -> Judgement:
        """Call as often as you like; ``wire_bytes``: of all connections since the beginning."""
        since_s, since_bytes = self._since
        if not self._begun:
            self._begun, self._since = True, (now_s, wire_bytes)
            return WAIT
        if self.over or now_s - since_s < SPAN_S:
            return WAIT
        self._since = (now_s, wire_bytes)
        if self._settling:
            self._settling = False
            return WAIT
        self._rates.append((wire_bytes - since_bytes) / (now_s - since_s))
        if len(self._rates) < _SPANS:
            return WAIT
        rate_bytes_per_s, self._rates = median(self._rates), []
        return self._judge(rate_bytes_per_s)

    def _judge(self, rate_bytes_per_s: float) -> Judgement:
        before = self._before_bytes_per_s
        wanted = max(1 + _SHARE_RATIO * (self.count / self._before_count - 1), _GAIN_LEAST_RATIO)
        rates = f"{rate_bytes_per_s / 1e6:.1f} MB/s on {self.count} connections"
        if before:
            rates += f", {before / 1e6:.1f} on {self._before_count}"
        if before and rate_bytes_per_s < wanted * before:
            self._misses += 1
            self.over = self._misses >= _MISSES
            return Judgement(0, f"{rates}: no more are opened" if self.over else "")
        if rate_bytes_per_s <= 0:
            return WAIT  # nothing came: that says nothing about the link's width
        self._before_count, self._before_bytes_per_s, self._misses = self.count, rate_bytes_per_s, 0
        self.count = min(self.count + max(1, self.count // 2), self._limit)
        self._settling = True
        self.over = self.count >= self._limit
        more = self.count - self._before_count
        return Judgement(more, f"{rates}: {more} more")
