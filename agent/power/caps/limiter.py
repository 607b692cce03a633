"""One device whose power can be limited, whatever is behind it."""

from __future__ import annotations

from typing import Protocol

from heliotrope.foundation.errors import Denied, HeliotropeError
from heliotrope.foundation.model import Fault

from .limits import Item, Limit, is_among


class Limiter(Protocol):
    """Watts in and out. Every call may raise the catalogue's errors."""

    device: str

    def limit_w(self) -> float:
        """What is set."""
        ...

    def enforced_w(self) -> float | None:
        """What the device obeys; None where it does not say."""
        ...

    def range_w(self) -> tuple[float, float]:
        """The lowest and the highest limit that it takes."""
        ...

    def set_limit_w(self, limit_w: float) -> None: ...


def serve(limiter: Limiter, item: Item) -> Limit:
    """Read, set if that is asked for and nobody else changed it, read back."""
    found_w: float | None = None
    try:
        found_w = limiter.limit_w()
        is_set = item.set_w is not None and is_among(found_w, item.expected_w)
        if is_set and item.set_w is not None:
            limiter.set_limit_w(item.set_w)
        lowest_w, highest_w = limiter.range_w()
        return Limit(
            device=limiter.device,
            found_w=found_w,
            limit_w=limiter.limit_w() if is_set else found_w,
            enforced_w=limiter.enforced_w(),
            lowest_w=lowest_w,
            highest_w=highest_w,
            is_set=is_set,
        )
    except HeliotropeError as error:
        return Limit(device=item.device, found_w=found_w, fault=fault(error))


def fault(error: HeliotropeError) -> Fault:
    """An error on its way through the pipe."""
    return Fault(kind=type(error).__name__, message=str(error))


def not_permitted(what: str) -> Denied:
    """The one remedy for a limit that may be read and not set."""
    return Denied(
        f"cannot set the power limit of {what}: not permitted; run the agent as root with CAP_SYS_ADMIN, or as the "
        "service that `heliotrope install` makes"
    )
