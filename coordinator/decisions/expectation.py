"""What a move is expected to take, before it is begun; and how far off such expectations were."""

from __future__ import annotations

import math
from dataclasses import dataclass

import msgspec

from .wire_model import WireModel


class Expected(msgspec.Struct, frozen=True, kw_only=True):
    """Of one move: all bytes on the wire (pre-copy included), those sent while the job stands, and the whole standstill
    (save, transfer, load)."""

    wire_bytes: int
    standstill_wire_bytes: int
    staging_s: float
    standstill_s: float


@dataclass(frozen=True)
class Way:
    """A path between two ends, and what the job takes at them."""

    bandwidth_bytes_per_s: float
    latency_s: float
    save_s: float
    load_s: float


def expect(
    model: WireModel, way: Way, state_bytes: float, checkpoint_age_s: float, base_age_s: float | None
) -> Expected | None:
    """One round of the newest checkpoint, then the last delta. None without a path or a checkpoint.

    ``checkpoint_age_s``: seconds since the newest checkpoint was made; ``base_age_s``: how much older the newest one at
    the destination is, None if there is none.
    """
    if state_bytes <= 0 or way.bandwidth_bytes_per_s <= 0:
        return None
    if base_age_s is None:
        staging_bytes = model.full_bytes(state_bytes)
    elif base_age_s <= 0:
        staging_bytes = 0.0  # the newest one is there
    else:
        staging_bytes = model.delta_bytes(state_bytes, base_age_s)
    staging_s = staging_bytes / way.bandwidth_bytes_per_s + way.latency_s
    last_bytes = model.delta_bytes(state_bytes, checkpoint_age_s + staging_s + way.save_s)
    transfer_s = last_bytes / way.bandwidth_bytes_per_s + way.latency_s
    return Expected(
        wire_bytes=round(staging_bytes + last_bytes),
        standstill_wire_bytes=round(last_bytes),
        staging_s=staging_s,
        standstill_s=way.save_s + transfer_s + way.load_s,
    )


class Errors(msgspec.Struct, frozen=True, kw_only=True):
    """Of ln(realised / expected): how many, their mean and the sum of squares about it (Welford's sums).

    The ratio's logarithm, because a standstill twice as long and one half as long are equally wrong.
    """

    count: int = 0
    mean: float = 0.0
    squares: float = 0.0

    @property
    def spread(self) -> float | None:
        """Sample standard deviation; None below two."""
        return math.sqrt(self.squares / (self.count - 1)) if self.count > 1 else None


def learn(errors: Errors, expected: float, realised: float) -> Errors:
    """The errors with one more; unchanged where a ratio says nothing."""
    if expected <= 0 or realised <= 0:
        return errors
    error = math.log(realised / expected)
    count = errors.count + 1
    mean = errors.mean + (error - errors.mean) / count
    return Errors(count=count, mean=mean, squares=errors.squares + (error - errors.mean) * (error - mean))
