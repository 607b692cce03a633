"""What the demonstration saw: all that the verdict and the report are made from, in one file that can be kept.

Times ending in ``_s`` are real seconds since the job was submitted; only ``trace`` times belong to the traces.
"""

from __future__ import annotations

from datetime import datetime
from typing import dataclass_transform

import msgspec

VERSION = 1


@dataclass_transform(frozen_default=True, kw_only_default=True)
class Frozen(msgspec.Struct, frozen=True, kw_only=True):
    """Base of the records here; fields of a newer version are ignored by an older reader."""


class SiteSeen(Frozen):
    """A site in a picture of the fleet; None is unknown, or no window."""

    name: str
    intensity_g_per_kwh: float | None = None
    renewable_ratio: float | None = None
    window_remaining_s: float | None = None
    next_window_in_s: float | None = None


class NodeSeen(Frozen):
    node_id: str
    site: str
    connected: bool
    power_estimated: bool
    power_w: float | None = None


class ProgressSeen(Frozen):
    step: int = 0
    loss: float | None = None


class RunSeen(Frozen):
    """One holder of the job."""

    epoch: int
    site: str
    started_utc: datetime
    ended_utc: datetime | None = None
    end_reason: str = ""


class JobSeen(Frozen):
    job_id: str
    state: str
    node_id: str = ""
    site: str = ""
    epoch: int = 0
    move_count: int = 0
    restart_count: int = 0
    message: str = ""
    fault: str = ""
    exit_code: int | None = None
    power_w: float | None = None
    progress: ProgressSeen = ProgressSeen()
    runs: list[RunSeen] = []


class StepSeen(Frozen):
    step: str
    entered_utc: datetime
    message: str = ""


class MigrationSeen(Frozen):
    """A migration, open or ended; byte counts and standstills as the coordinator booked them."""

    migration_id: str
    kind: str
    step: str
    source_node: str = ""
    source_site: str = ""
    destination_node: str = ""
    destination_site: str = ""
    cause: str = ""
    decision_id: str = ""
    message: str = ""
    steps: list[StepSeen] = []
    state_bytes: int = 0
    wire_bytes: int = 0
    standstill_wire_bytes: int = 0
    standstill_s: float | None = None
    standstill_network_s: float | None = None
    progress_ratio: float = 0.0
    rate_bytes_per_s: float = 0.0
    left_s: float | None = None

    @property
    def is_move(self) -> bool:
        return self.kind == "MOVE"

    @property
    def committed(self) -> bool:
        return self.step == "COMMITTED"

    def entered_utc(self, step: str) -> datetime | None:
        """When it entered a step, or None."""
        return next((seen.entered_utc for seen in self.steps if seen.step == step), None)


class DecisionSeen(Frozen):
    decision_id: str
    action: str
    utc: datetime | None = None
    source_site: str = ""
    destination_site: str = ""
    binding: str = ""
    reason: str = ""
    text: str = ""
    repeat_count: int = 1


class FleetSeen(Frozen):
    """One picture of the fleet, as WatchFleet sends it."""

    utc: datetime
    trace_utc: datetime
    trace_scale: float
    sites: list[SiteSeen] = []
    nodes: list[NodeSeen] = []
    jobs: list[JobSeen] = []
    migrations: list[MigrationSeen] = []


class ReportRow(Frozen):
    """One line of the coordinator's report (see ``heliotrope report``)."""

    kind: str
    name: str
    site: str = ""
    energy_j: float = 0.0
    carbon_g: float = 0.0
    carbon_static_g: float = 0.0
    renewable_energy_j: float = 0.0
    unknown_energy_j: float = 0.0
    estimated: bool = False


class Sample(Frozen):
    """A moment of the run, by site where it is a mapping."""

    at_s: float
    site: str
    state: str
    step: int
    loss: float | None
    power_w: dict[str, float] = {}  # without the sites whose power is unknown
    intensity_g_per_kwh: dict[str, float | None] = {}


class Span(Frozen):
    """A renewable window in real seconds."""

    start_s: float
    end_s: float


class StrikeSeen(Frozen):
    """The process that was killed on purpose."""

    who: str
    member: str
    killed_utc: datetime
    migration_id: str
    step: str
    restarted_utc: datetime | None = None


class ReferenceSeen(Frozen):
    """The uninterrupted run of the same command."""

    parameters_digest: str
    duration_s: float
    final_loss: float


class Recording(Frozen, kw_only=True):
    """A whole demonstration."""

    version: int = VERSION
    title: str
    source: str  # where windows and intensities come from, in a sentence
    weighting: str = ""  # how the planner's non-renewable share was derived, when it was
    machine: dict[str, str]
    sites: list[str]
    submitted_utc: datetime
    trace_start_utc: datetime  # the trace's time at submission
    trace_scale: float
    duration_s: float  # from submission until the job's end
    total_s: float  # of the whole demonstration, preparations included
    steps: int
    alpha_ratio: float
    power_model: str
    windows: dict[str, list[Span]]
    samples: list[Sample]
    job: JobSeen
    migrations: list[MigrationSeen]
    decisions: list[DecisionSeen]
    report: list[ReportRow]
    strike: StrikeSeen | None = None
    reference: ReferenceSeen | None = None
    parameters_digest: str = ""  # of the moved job; empty: it did not finish
    final_loss: float | None = None

    def at_s(self, utc: datetime) -> float:
        """A moment as seconds since submission."""
        return (utc - self.submitted_utc).total_seconds()
