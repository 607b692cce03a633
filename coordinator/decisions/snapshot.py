"""The fleet at one moment, as the decisions see it: all they know, and all that is stored to replay them.

Durations are real seconds from ``Snapshot.utc``. None means unknown, never zero. Structures are frozen and go through
JSON and back unchanged; records carry a version, and fields of a newer version are ignored by an older reader.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import Meta

from heliotrope.foundation.errors import Corrupt

VERSION = 1
ANY = "*"  # in a LinkView: every site that has no link of its own

NotNegative = Annotated[float, Meta(ge=0)]
Count = Annotated[int, Meta(ge=0)]
Share = Annotated[float, Meta(ge=0, le=1)]
Utc = Annotated[datetime, Meta(tz=True)]


class NodeView(msgspec.Struct, frozen=True, kw_only=True):
    """A node. ``slots_free``: jobs it can still take; ``gpu_free`` GPUs of ``gpu_model`` not given to a job."""

    node: str
    schedulable: bool = True
    slots_free: Count = 1
    gpu_free: Count = 0
    gpu_model: str = ""
    idle_power_w: NotNegative = 0.0


class WindowView(msgspec.Struct, frozen=True, kw_only=True):
    """A renewable window, [start, end) in seconds from the snapshot; one that is open starts at 0."""

    start_s: NotNegative
    end_s: NotNegative


class SiteView(msgspec.Struct, frozen=True, kw_only=True):
    """A site and its forecast.

    ``nonrenewable_profile[k]``: mean non-renewable share of the site's load in [k, k+1) x ``profile_step_s`` from
    now; its length is as far as the forecast reaches, empty is unknown. ``window_remaining_s`` is T_energy, 0 if the
    window is closed. The window history (5th percentile and longest length) decides the pair's class. ``windows``: the
    open one and those to come, in order, as far as the horizon; only what looks ahead needs them.
    """

    name: str
    nodes: tuple[NodeView, ...] = ()
    intensity_g_per_kwh: NotNegative | None = None
    nonrenewable_ratio: Share | None = None
    nonrenewable_profile: tuple[Share, ...] = ()
    profile_step_s: Annotated[float, Meta(gt=0)] = 60.0
    window_remaining_s: NotNegative = 0.0
    next_window_s: NotNegative | None = None
    window_p05_s: NotNegative | None = None
    window_longest_s: NotNegative | None = None
    pue: Annotated[float, Meta(ge=1)] = 1.0
    note: str = ""  # why a figure is unknown
    windows: tuple[WindowView, ...] = ()


class HeldView(msgspec.Struct, frozen=True, kw_only=True):
    """What a node that does not run the job holds of it: the base that a move there is coded against.

    ``age_s``: how much older it is than the newest checkpoint where the job runs, 0 for the same one; ``wire_bytes``
    and ``move_wire_bytes`` as in a :class:`JobView`, of a move to that node. ``why``: how it came there.
    """

    node: str
    site: str
    age_s: NotNegative
    wire_bytes: NotNegative
    move_wire_bytes: NotNegative
    why: str = ""


class JobView(msgspec.Struct, frozen=True, kw_only=True):
    """A job. ``site`` is where it runs or where its newest checkpoint lies; empty: nowhere yet.

    ``wire_bytes`` is what is left to send while the job stands (S after pre-copy, deduplication and coding), by
    destination where known; ``move_wire_bytes`` what the whole move sends, pre-copy included; both to where nothing of
    the job lies, and ``held`` says where something does. ``downtime_s`` is the
    standstill besides transfer and load, the last save (``save_s``) included. ``power_w`` is dynamic: what the job adds
    to its node's idle draw; ``standing_power_w`` what of it stays while the job stands. ``moves_count`` counts moves in
    the last 24 h. ``must_leave``: its node is drained; ``leave_by_s`` is what is left until the drain's deadline.
    ``takes_turns``: one of several jobs that one drain sends over the same links. ``nodes_refused``: where it failed a
    moment ago, and why.
    """

    job_id: str
    name: str
    state: str = "RUNNING"
    site: str = ""
    node: str = ""
    state_bytes: NotNegative = 0.0
    wire_bytes: NotNegative | None = None  # None: all of the state
    wire_bytes_by_site: dict[str, NotNegative] = {}
    move_wire_bytes: NotNegative | None = None  # None: nothing is sent before the job stands
    held: tuple[HeldView, ...] = ()
    save_s: NotNegative = 0.0
    load_s: NotNegative = 0.0
    downtime_s: NotNegative = 0.0
    alpha: Annotated[float, Meta(gt=0, le=1)] = 0.1
    power_w: NotNegative = 0.0
    standing_power_w: NotNegative = 0.0
    remaining_s: NotNegative | None = None
    since_move_s: NotNegative | None = None  # None: never moved
    moves_count: Count = 0
    sites_allowed: tuple[str, ...] = ()
    sites_preferred: tuple[str, ...] = ()
    sites_forbidden: tuple[str, ...] = ()
    movable: bool = True
    has_checkpoint: bool = True
    must_leave: bool = False
    leave_by_s: NotNegative | None = None  # None: no deadline
    takes_turns: bool = False
    nodes_refused: dict[str, str] = {}
    gpu_count: Count = 0
    gpu_model: str = ""  # empty: any
    priority: int = 0


class LinkView(msgspec.Struct, frozen=True, kw_only=True):
    """One direction between two sites; ``*`` at either end stands for every site without a link of its own.

    A pair that no link covers is unreachable. ``e_net_j_per_byte``: energy the network spends per byte sent.
    """

    source: str
    destination: str
    bandwidth_bytes_per_s: NotNegative
    latency_s: NotNegative = 0.0
    reachable: bool = True
    e_net_j_per_byte: NotNegative = 0.0


class TransferView(msgspec.Struct, frozen=True, kw_only=True):
    """A job's checkpoint on its way between two sites (or within one) at this moment."""

    source: str
    destination: str


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """The planner's rules.

    ``dwell_s``: least time between two moves of a job. ``min_gain_ratio`` (hysteresis): least mean power that must
    turn renewable, as a share of the job's. ``horizon_s``: gains beyond it do not count. The two quantiles say which
    quantile of its forecast the snapshot's windows and bandwidths are; None: point forecasts.
    """

    dwell_s: NotNegative = 600.0
    min_gain_ratio: NotNegative = 0.05
    moves_per_day: Count = 24
    horizon_s: Annotated[float, Meta(gt=0)] = 86400.0
    local_bandwidth_bytes_per_s: NotNegative = 1.25e8  # within a site, where no link says otherwise: 1 Gbit/s
    turns_per_link: Annotated[int, Meta(ge=1)] = 2  # transfers at once per direction, of jobs that take turns
    rejected_kept: Count = 8  # rejected candidates per decision that are recorded
    window_quantile_ratio: Share | None = None
    bandwidth_quantile_ratio: Share | None = None


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """Everything one plan is made from. A pair that several links cover takes the most specific one."""

    utc: Utc
    jobs: tuple[JobView, ...] = ()
    sites: tuple[SiteView, ...] = ()
    links: tuple[LinkView, ...] = ()
    transfers: tuple[TransferView, ...] = ()
    settings: Settings = Settings()
    version: int = VERSION


def encode(snapshot: Snapshot) -> bytes:
    """The snapshot as JSON, the same bytes for the same snapshot."""
    return msgspec.json.encode(snapshot, order="deterministic")


def decode(data: bytes) -> Snapshot:
    """The snapshot that :func:`encode` wrote. Raises Corrupt naming the field."""
    try:
        return msgspec.json.decode(data, type=Snapshot)
    except msgspec.DecodeError as error:
        raise Corrupt(f"cannot read stored snapshot: {error}; it is damaged or of a version unknown here") from error
