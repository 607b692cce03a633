"""How many requests an account still has today, spread over the day so that the evening gets its share."""

from __future__ import annotations

import math

import msgspec

from .times import DAY_S


class Spent(msgspec.Struct, frozen=True):
    """Requests of one UTC day (``day`` counts from 1970)."""

    day: int = 0
    count: int = 0


def spend(spent: Spent, now_s: float) -> Spent:
    """After one more request."""
    day = int(now_s // DAY_S)
    return Spent(day, spent.count + 1 if spent.day == day else 1)


def wait_s(spent: Spent, now_s: float, per_day: int, needed: int = 1) -> float:
    """Seconds until ``needed`` more requests are within the budget; 0: now. ``per_day`` 0 is no limit.

    By any time of the day at most that part of the budget is spent, plus what one fetch needs: a fault at midnight
    cannot burn the whole day's requests.
    """
    if per_day <= 0:
        return 0.0
    today, elapsed_s = divmod(now_s, DAY_S)
    used = spent.count if spent.day == int(today) else 0
    if used + needed > per_day and used > 0:
        return DAY_S - elapsed_s
    due_s = math.ceil(used / per_day * DAY_S)
    return max(due_s - elapsed_s, 0.0)
