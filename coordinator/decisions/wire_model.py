"""How many bytes a job's checkpoint is on the wire: learnt from the job's own transfers, a prior until there are any.

    full copy   S f                        nothing of the job lies at the receiver
    delta       S min(f, c age^b)          age [s]: the work done between the base there and the checkpoint

A power of the age, because one exponent covers what was measured: 0 for a job that rewrites a fixed part whatever the
time (LoRA), 1 for one that touches new parts all the time (as the pages of a virtual machine), and nearly 0 for full
AdamW training in fp32, where every value changes in each step and only their distance grows (state / wire is 1.45 after
1 step, 1.31 after 10, 1.23 after 100; a full copy 1.207).
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

SAMPLES_KEPT = 16
REPLICA_SAMPLES_KEPT = 4  # of these: replicas come often, and would drive out what moves taught
FULL_PRIOR_RATIO = 1 / 1.207  # AdamW in fp32: the coordinator does not see tensors' types, and bf16 shrinks more
DELTA_OF_FULL_PRIOR_RATIO = 1.207 / 1.23  # of what changes at all, after 100 steps
EXPONENT_PRIOR = math.log(1.45 / 1.23) / math.log(100)
PRIOR_AGE_S = 60.0  # the age that the prior of a delta holds for
# Weight of the exponent's prior, in the samples' spread of ln(age): two deltas with ages a decade apart outweigh it.
EXPONENT_WEIGHT = 1.0
LEAST_RATIO = 1e-6
LEAST_AGE_S = 1.0


class WireSample(msgspec.Struct, frozen=True, kw_only=True):
    """What one verified transfer sent. ``age_s`` None: a full copy, nothing of the job was there. ``replica``: not one
    of a move, whose ages say more about the next one's."""

    state_bytes: int
    wire_bytes: int
    age_s: float | None = None
    replica: bool = False


@dataclass(frozen=True)
class WireModel:
    """See the module: ``f``, ``c`` [1/s^b] and ``b``."""

    full_ratio: float
    delta_ratio: float
    exponent: float

    def full_bytes(self, state_bytes: float) -> float:
        """Wire bytes of a copy to where nothing of the job is."""
        return state_bytes * self.full_ratio

    def delta_bytes(self, state_bytes: float, age_s: float) -> float:
        """Wire bytes to where a base ``age_s`` seconds of work older is; never more than a full copy."""
        grown = math.exp(self.exponent * _ln_age(age_s))
        return state_bytes * min(self.full_ratio, self.delta_ratio * grown)


def fit(samples: Sequence[WireSample], unchanged_ratio: float | None = None) -> WireModel:
    """The model of a job from its transfers, oldest first; ``unchanged_ratio`` (0 .. 1): the share of its newest
    checkpoint that is byte for byte in the one before it, None where unknown. It counts until a delta was sent."""
    known = [sample for sample in samples[-SAMPLES_KEPT:] if sample.state_bytes > 0]
    deltas = [(_ln_age(sample.age_s), math.log(_ratio(sample))) for sample in known if sample.age_s is not None]
    fulls = [_ratio(sample) for sample in known if sample.age_s is None]
    largest = max((math.exp(y) for _, y in deltas), default=0.0)
    full_ratio = statistics.median(fulls) if fulls else max(FULL_PRIOR_RATIO, largest)
    if not deltas:
        changed_ratio = 1.0 if unchanged_ratio is None else max(1.0 - unchanged_ratio, LEAST_RATIO)
        at_prior = full_ratio * changed_ratio * DELTA_OF_FULL_PRIOR_RATIO
        return WireModel(full_ratio, at_prior / PRIOR_AGE_S**EXPONENT_PRIOR, EXPONENT_PRIOR)
    mean_x = statistics.fmean(x for x, _ in deltas)
    mean_y = statistics.fmean(y for _, y in deltas)
    spread = sum((x - mean_x) ** 2 for x, _ in deltas)
    together = sum((x - mean_x) * (y - mean_y) for x, y in deltas)
    slope = (together + EXPONENT_WEIGHT * EXPONENT_PRIOR) / (spread + EXPONENT_WEIGHT)
    exponent = min(max(slope, 0.0), 1.0)
    return WireModel(full_ratio, math.exp(mean_y - exponent * mean_x), exponent)


def kept(samples: Sequence[WireSample], newest: WireSample) -> tuple[WireSample, ...]:
    """The samples that are remembered once there is another one, oldest first."""
    replicas = [sample for sample in (*samples, newest) if sample.replica][-REPLICA_SAMPLES_KEPT:]
    found = [sample for sample in (*samples, newest) if not sample.replica or any(sample is one for one in replicas)]
    return tuple(found[-SAMPLES_KEPT:])


def _ratio(sample: WireSample) -> float:
    return max(sample.wire_bytes / sample.state_bytes, LEAST_RATIO)


def _ln_age(age_s: float) -> float:
    return math.log(max(age_s, LEAST_AGE_S))
