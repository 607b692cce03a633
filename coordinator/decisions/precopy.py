"""Another round of pre-copy while the job runs, or stop it now: what a round saves against what it costs.

Saved: standstill, because the last delta is made against a younger base. A LoRA job rewrites the same small part
whatever the base's age, and full AdamW training every value in each step: for both a second round saves little, and
none is taken. It pays where the base is much older than a round takes, or where what changed grows with time.

Cost, in seconds of standstill: the save of a fresh checkpoint (the job stands for it), and ``alpha`` times the
seconds for which the round keeps the destination's window waiting and for which the job could run on the energy of
sending. ``alpha`` is the exchange rate that the job's policy states: so many seconds of standstill are worth one of
the window.
"""

from __future__ import annotations

from dataclasses import dataclass

from .quantities import seconds, size
from .wire_model import WireModel

ROUNDS_LIMIT = 4


@dataclass(frozen=True)
class Standing:
    """Where the pre-copy of one move stands. Ages: seconds of work since the checkpoint was made.

    ``newest_age_s``: of a younger checkpoint that the source holds already, None if there is none. ``window_s``: what
    is left of the destination's window, None if the move does not hang on one. ``sending_s_per_byte``: seconds of the
    job's own power that a byte on the link costs, 0 if unknown.
    """

    model: WireModel
    state_bytes: float
    rounds_count: int
    staged_age_s: float
    newest_age_s: float | None
    bandwidth_bytes_per_s: float
    latency_s: float
    save_s: float
    load_s: float
    alpha: float
    window_s: float | None = None
    sending_s_per_byte: float = 0.0


@dataclass(frozen=True)
class Verdict:
    """``again``: another round; ``fresh``: of a checkpoint that is yet to be asked for. ``left_bytes``: what would be
    sent while the job stands if it were stopped now. ``reason``: for people, with the figures."""

    again: bool
    fresh: bool
    left_bytes: float
    reason: str


@dataclass(frozen=True)
class _Option:
    """One way to make another round."""

    fresh: bool
    wire_bytes: float
    duration_s: float
    saved_s: float
    cost_s: float
    standstill_s: float  # after it

    @property
    def net_s(self) -> float:
        return self.saved_s - self.cost_s


def decide(standing: Standing) -> Verdict:
    """Whether another round saves more standstill than it costs; bounded by the rounds' limit and the window."""
    left_bytes = _left_bytes(standing, standing.staged_age_s)

    def stop(reason: str) -> Verdict:
        return Verdict(again=False, fresh=False, left_bytes=left_bytes, reason=reason)

    if standing.bandwidth_bytes_per_s <= 0:
        return stop("no further round: the link's bandwidth is unknown")
    options = [_option(standing, fresh=True)]
    if standing.newest_age_s is not None:
        options.append(_option(standing, fresh=False))
    best = max(options, key=lambda option: option.net_s)
    figures = f"{seconds(best.saved_s)} of standstill for {seconds(best.cost_s)} ({size(best.wire_bytes)} to send)"
    if best.net_s <= 0:
        return stop(f"no further round: it would save {figures}")
    if standing.rounds_count >= ROUNDS_LIMIT:
        return stop(f"no further round: {ROUNDS_LIMIT} are the limit; it would save {figures}")
    needed_s = best.duration_s + best.standstill_s
    if standing.window_s is not None and needed_s >= standing.window_s:
        return stop(f"no further round: the window ends in {seconds(standing.window_s)}, it needs {seconds(needed_s)}")
    return Verdict(again=True, fresh=best.fresh, left_bytes=left_bytes, reason=f"another round: it saves {figures}")


def _option(standing: Standing, *, fresh: bool) -> _Option:
    """A round of a fresh checkpoint, or of the younger one that the source holds."""
    save_s = standing.save_s if fresh else 0.0
    start_age_s = 0.0 if fresh else standing.newest_age_s or 0.0
    gap_s = max(standing.staged_age_s + save_s - start_age_s, 0.0)
    wire_bytes = standing.model.delta_bytes(standing.state_bytes, gap_s)
    sending_s = wire_bytes / standing.bandwidth_bytes_per_s + standing.latency_s
    now_s = _left_bytes(standing, standing.staged_age_s) / standing.bandwidth_bytes_per_s
    then_s = _left_bytes(standing, start_age_s + sending_s) / standing.bandwidth_bytes_per_s
    return _Option(
        fresh=fresh,
        wire_bytes=wire_bytes,
        duration_s=save_s + sending_s,
        saved_s=now_s - then_s,
        cost_s=save_s + standing.alpha * (save_s + sending_s + wire_bytes * standing.sending_s_per_byte),
        standstill_s=standing.save_s + then_s + standing.latency_s + standing.load_s,
    )


def _left_bytes(standing: Standing, base_age_s: float) -> float:
    """Of the last delta, were the job asked to stop when its base is that old: it works on until it has saved."""
    return standing.model.delta_bytes(standing.state_bytes, base_age_s + standing.save_s)
