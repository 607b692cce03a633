"""Device joules and who used the device in, joules per job out: pure, and the books close to the microjoule.

A device's energy is split in two: its idle part, where the idle power is known, and the rest. The rest goes by use.
What nobody used goes to the jobs that hold the device (rule "holder"), so that a held but idle GPU is charged and
seen, and to nobody where no job holds it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from .batch import IDLE, UNATTRIBUTED, EnergyShare


class Use(msgspec.Struct, frozen=True, kw_only=True):
    """Who used one device over one span.

    ``weights``: owner (job, or "?") -> any common unit of use; their sum may be less than ``full_weight`` (when > 0:
    MIG slices), and then the rest was free. ``holders`` are the jobs that have the device whether they use it or not.
    ``rules``: owner -> rule, where it is not ``rule``.
    ``is_known`` is False where the driver does not tell who uses it.
    """

    rule: str
    rules: Mapping[str, str] = {}
    weights: Mapping[str, float] = {}
    full_weight: float = 0.0
    holders: Sequence[str] = ()
    is_known: bool = True


def attribute(device: str, energy_j: float, use: Use, *, idle_j: float = 0.0, idle_rule: str) -> list[EnergyShare]:
    """Split ``energy_j`` (>= 0). ``idle_j`` is the part drawn whatever is done, 0.0 where that is unknown.

    Raises ValueError for a negative or non-finite energy or weight.
    """
    energy_uj = _microjoules(energy_j)
    if any(not 0 <= weight < float("inf") for weight in use.weights.values()):
        raise ValueError(f"shares of {device}: a weight is negative or not finite")
    idle_uj = min(energy_uj, _microjoules(max(0.0, idle_j)))
    parts: dict[tuple[str, str], int] = {}
    for amount_uj, is_idle in ((idle_uj, True), (energy_uj - idle_uj, False)):
        for owner, rule, part_uj in _owners(amount_uj, use, is_idle=is_idle, idle_rule=idle_rule):
            parts[owner, rule] = parts.get((owner, rule), 0) + part_uj
    return [
        EnergyShare(device=device, job_id=owner, energy_j=part_uj / 1e6, rule=rule)
        for (owner, rule), part_uj in parts.items()
        if part_uj
    ]


def _owners(amount_uj: int, use: Use, *, is_idle: bool, idle_rule: str) -> Iterable[tuple[str, str, int]]:
    used = {owner: weight for owner, weight in use.weights.items() if weight > 0}
    by_use = not is_idle or idle_rule == "usage"
    if by_use and used:
        free = max(0.0, use.full_weight - sum(used.values()))
        weights = {**used, IDLE: free} if free > 0 else used
        for owner, part_uj in _divide(amount_uj, weights):
            if owner == IDLE:
                yield from _unused(part_uj, use, idle_rule)
            else:
                yield owner, use.rules.get(owner, use.rule), part_uj
        return
    yield from _unused(amount_uj, use, idle_rule)


def _unused(amount_uj: int, use: Use, idle_rule: str) -> Iterable[tuple[str, str, int]]:
    if use.holders and idle_rule != "unowned" and not use.full_weight:
        for owner, part_uj in _divide(amount_uj, dict.fromkeys(use.holders, 1.0)):
            yield owner, "holder", part_uj
    elif use.is_known:
        yield IDLE, "idle", amount_uj
    else:
        yield UNATTRIBUTED, "unknown", amount_uj


def _divide(amount_uj: int, weights: Mapping[str, float]) -> list[tuple[str, int]]:
    """Whole microjoules by weight; what rounding leaves goes to the largest remainders, so that the sum is exact."""
    largest = max(weights.values())
    scaled = {owner: weight / largest for owner, weight in weights.items()}  # whatever their size, the sum stays finite
    total = sum(scaled.values())
    exact = {owner: amount_uj * (weight / total) for owner, weight in scaled.items()}
    parts = {owner: int(value) for owner, value in exact.items()}
    order = sorted(parts, key=lambda owner: (parts[owner] - exact[owner], owner))
    rest = amount_uj - sum(parts.values())
    for owner in order[: max(0, rest)]:
        parts[owner] += 1
    parts[max(parts, key=lambda owner: parts[owner])] += amount_uj - sum(parts.values())
    return list(parts.items())


def round_energy(energy_j: float) -> float:
    """Joules as whole microjoules, the unit in which the books close."""
    return _microjoules(energy_j) / 1e6


def _microjoules(energy_j: float) -> int:
    if not 0 <= energy_j < float("inf"):
        raise ValueError(f"cannot attribute {energy_j!r} J: energy is never negative or infinite; report this")
    return round(energy_j * 1e6)
