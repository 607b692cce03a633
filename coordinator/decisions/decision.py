"""What the planner decides and why: records that are stored, shown and compared on replay."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal, TypeAlias

import msgspec
from msgspec import Meta

from heliotrope.foundation.errors import Corrupt

VERSION = 1

Action: TypeAlias = Literal["place", "move", "stay", "none"]


class PairTerms(msgspec.Struct, frozen=True, kw_only=True):
    """The terms of :class:`~.feasibility.Terms` for one pair; None: infinite (never) or unknown."""

    state_bytes: float
    wire_bytes: float
    bandwidth_bytes_per_s: float
    latency_s: float
    transfer_s: float | None
    paper_transfer_s: float | None
    load_s: float
    downtime_s: float
    disruption_s: float | None
    window_s: float
    alpha: float
    alpha_window_s: float
    margin_s: float | None
    source_nonrenewable_ratio: float | None
    destination_nonrenewable_ratio: float | None
    saving_cost_j: float | None
    sending_cost_j: float | None
    loading_cost_j: float | None
    standing_cost_j: float | None
    cost_j: float | None
    leaving_cost_j: float | None
    gain_w: float | None
    mean_span_s: float
    gain_span_s: float
    gain_j: float | None
    net_j: float | None
    break_even_s: float | None
    feasible_time: bool
    feasible_energy: bool
    pair_class: str  # A, B, C, or empty without a window history
    move_wire_bytes: float | None = None  # as in a record of before pre-copy was expected
    staging_s: float | None = None
    fresh_move_wire_bytes: float | None = None  # of the move, did nothing of the job lie there
    base_age_s: float | None = None  # None: nothing does


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """A site considered for a job. ``binding``: a label of :class:`~.binding.Binding`.

    ``nonrenewable_ratio`` is the mean share there over ``span_s``, the time for which the sites are compared.
    """

    site: str
    binding: str
    node: str = ""
    preferred: bool = False
    nonrenewable_ratio: float | None = None
    window_s: float = 0.0
    span_s: float | None = None
    note: str = ""  # what the site said when it refused the job, or why its forecast is unknown
    base_node: str = ""  # which node there holds something of the job already
    base_why: str = ""
    terms: PairTerms | None = None  # None: a placement, where nothing stands still


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """The job's and the settings' figures that the constraints compare with."""

    power_w: float
    since_move_s: float | None
    dwell_s: float
    moves_count: int
    moves_per_day: int
    min_gain_ratio: float
    window_quantile_ratio: float | None = None
    bandwidth_quantile_ratio: float | None = None


class Here(msgspec.Struct, frozen=True, kw_only=True):
    """The site the job is at, now."""

    nonrenewable_ratio: float | None
    window_s: float
    next_window_s: float | None


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """One job's decision. ``binding`` names what decided: "ok" for a place or move, else the nearest candidate's
    constraint. ``rejected``: the best few others, nearest first, out of ``candidates_count`` sites."""

    job_id: str
    job_name: str
    action: Action
    binding: str
    reason: str
    rules: Rules
    source_site: str = ""
    source_node: str = ""
    destination_site: str = ""
    destination_node: str = ""
    here: Here | None = None
    chosen: Candidate | None = None
    rejected: tuple[Candidate, ...] = ()
    candidates_count: int = 0


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """Decisions in the order of the snapshot's jobs."""

    utc: Annotated[datetime, Meta(tz=True)]
    decisions: tuple[Decision, ...] = ()
    version: int = VERSION


def encode(plan: Plan) -> bytes:
    """The plan as JSON, the same bytes for the same plan."""
    return msgspec.json.encode(plan, order="deterministic")


def decode(data: bytes) -> Plan:
    """The plan that :func:`encode` wrote. Raises Corrupt naming the field."""
    try:
        return msgspec.json.decode(data, type=Plan)
    except msgspec.DecodeError as error:
        raise Corrupt(f"cannot read stored plan: {error}; it is damaged or of a version unknown here") from error
