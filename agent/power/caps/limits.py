"""What the agent asks the process that calls the driver, and what it answers: a line of JSON each way."""

from __future__ import annotations

import msgspec

from heliotrope.foundation.model import Fault

SAME_W = 1.0  # drivers round a limit to whole watts at the coarsest: nearer ones count as one


class Item(msgspec.Struct, frozen=True, kw_only=True):
    """One device. ``set_w`` None only reads; else the limit is set if the one that is found is of ``expected_w``."""

    device: str
    set_w: float | None = None
    expected_w: tuple[float, ...] = ()


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """Without ``items``: read every GPU. ``lock``: the file that orders all such processes of a node."""

    lock: str
    sys_root: str
    items: tuple[Item, ...] = ()


class Limit(msgspec.Struct, frozen=True, kw_only=True):
    """A device's limit as found, and after what was asked for; watts. ``fault``: why this device did not do it."""

    device: str
    found_w: float | None = None
    limit_w: float | None = None
    enforced_w: float | None = None
    lowest_w: float = 0.0
    highest_w: float = 0.0
    is_set: bool = False
    fault: Fault | None = None


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """One limit per item, in their order. ``fault``: nothing could be done at all."""

    limits: tuple[Limit, ...] = ()
    fault: Fault | None = None


def same(one_w: float | None, other_w: float | None) -> bool:
    """Whether two limits are one, but for rounding; an unknown one is like no other."""
    return one_w is not None and other_w is not None and abs(one_w - other_w) <= SAME_W


def is_among(found_w: float | None, known_w: tuple[float, ...]) -> bool:
    """Whether a limit is one of those."""
    return any(same(found_w, one_w) for one_w in known_w)
