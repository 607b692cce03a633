"""What the coordinator keeps. Records are frozen: a change is a new record put in its place, in a transaction."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any, TypeVar

import msgspec

from heliotrope.foundation.jobspec import JobSpec
from heliotrope.foundation.model import (
    Checkpoint,
    DrainMode,
    Inventory,
    JobState,
    MigrationKind,
    MigrationStep,
    Progress,
    Record,
)

from ..decisions.expectation import Errors, Expected
from ..decisions.wire_model import WireSample

R = TypeVar("R", bound=Record)


def replace(record: R, **changes: Any) -> R:
    """A copy of the record with some fields changed."""
    return msgspec.structs.replace(record, **changes)


class Wanted(StrEnum):
    """What its owner wants of a job; the managers bring its state there."""

    RUN = "run"
    PAUSE = "pause"
    CANCEL = "cancel"


class Job(Record):
    """A job and where it stands. ``node_id`` holds its lease (epoch); empty when nobody does."""

    job_id: str
    spec: JobSpec
    bundle_digest: bytes
    bundle_bytes: int
    submitted_utc: datetime
    state: JobState = JobState.PENDING
    wanted: Wanted = Wanted.RUN
    node_id: str = ""
    site: str = ""
    first_site: str = ""  # where it first ran: the place of the "never moved" comparison
    epoch: int = 0
    attempt: int = 0  # runs under this epoch so far, less one
    restart_count: int = 0
    restart_after_utc: datetime | None = None
    move_count: int = 0
    message: str = ""
    fault: str = ""
    exit_code: int | None = None
    progress: Progress = Progress()
    started_utc: datetime | None = None
    ended_utc: datetime | None = None
    has_checkpointed: bool = False  # a verified checkpoint was known once, whatever became of it
    cleared: bool = False  # ended long ago: its files are deleted everywhere
    last_move_utc: datetime | None = None
    gpu_model: str = ""
    fingerprint: str = ""
    save_s: float | None = None  # as measured at its last stop and start: inputs of the next decision
    load_s: float | None = None
    outputs: Checkpoint | None = None  # what it had written of its outputs when it stopped last
    outputs_node: str = ""  # where that was
    wire_samples: tuple[WireSample, ...] = ()  # its newest transfers, oldest first: what its wire bytes are learnt from
    standstill_errors: Errors = Errors()  # of what its moves were expected to take
    wire_errors: Errors = Errors()
    drained_from: str = ""  # the drain of this node stops, or stopped, it; empty again once it has a new holder

    @property
    def is_parked(self) -> bool:
        """Stopped by a drain and wanted to run: it goes on wherever there is room, or at its node after the drain."""
        return self.state is JobState.PAUSED and self.wanted is Wanted.RUN and self.drained_from != ""


class Run(Record):
    """One holder of a job: an epoch at a node."""

    job_id: str
    epoch: int
    node_id: str
    site: str
    started_utc: datetime
    ended_utc: datetime | None = None
    end_reason: str = ""


class Copy(Record):
    """A verified checkpoint of a job at a node."""

    job_id: str
    node_id: str
    checkpoint: Checkpoint


class Drain(Record):
    """An operator's wish that a node be emptied."""

    mode: DrainMode = DrainMode.MIGRATE
    started_utc: datetime | None = None  # unknown in a record of a version that did not keep it
    deadline_utc: datetime | None = None
    done_utc: datetime | None = None


class ReplicaState(StrEnum):
    """What is being done about a replica."""

    IDLE = "idle"
    ASKING = "asking"  # the job was asked for a checkpoint that is new enough
    PULLING = "pulling"


class ReplicaReason(StrEnum):
    """Why a replica is there."""

    RULE = "rule"  # checkpoint.replicate_every: kept as new as it says
    AHEAD = "ahead"  # where the job will likely go next: sent once, before the move is decided


class Replica(Record):
    """A copy of a running job's newest checkpoint at a node that does not hold the job."""

    job_id: str
    node_id: str
    site: str
    state: ReplicaState = ReplicaState.IDLE
    checkpoint: Checkpoint | None = None  # the newest verified one there: it stays until the next is verified
    verified_utc: datetime | None = None
    due_utc: datetime | None = None  # when the next one is made; None: now
    command_id: str = ""  # the one whose result is awaited
    since_utc: datetime | None = None  # of that command
    failed_count: int = 0  # in a row
    message: str = ""
    wire_bytes: int = 0
    leaving: bool = False  # its node is being drained: it stays until another one is verified
    reason: ReplicaReason = ReplicaReason.RULE
    expires_utc: datetime | None = None  # of one that was staged ahead: until when its move is waited for


class AheadOutcome(StrEnum):
    """What became of a copy that was staged ahead."""

    OPEN = "open"
    HIT = "hit"  # the job moved to it
    WASTE = "waste"  # it went elsewhere, or nowhere in time
    KEPT = "kept"  # it became a replica of the job's own rule
    OVERTAKEN = "overtaken"  # the job moved there before it was whole


class StagedAhead(Record):
    """The books of one copy that was staged ahead; its replica is gone when it is closed, this stays."""

    ahead_id: str
    job_id: str
    node_id: str
    site: str
    source_node: str
    source_site: str
    planned_utc: datetime
    leave_utc: datetime  # when the job was expected to move there
    reason: str
    expected_wire_bytes: int
    wire_bytes: int = 0
    energy_j: float = 0.0  # of the network, by the link's figure
    carbon_g: float = 0.0  # of that energy, at the mean of both ends' intensities of that moment
    unknown_energy_j: float = 0.0  # the part of energy_j whose intensity was unknown: in no carbon figure
    verified_utc: datetime | None = None
    closed_utc: datetime | None = None
    outcome: AheadOutcome = AheadOutcome.OPEN
    message: str = ""  # why it was closed
    migration_id: str = ""  # the move that it served
    command_ids: tuple[str, ...] = ()  # its transfers: what each sent is booked once


class Loss(Record):
    """A run that ended with its node: what was known of it then, and what the job went on from."""

    job_id: str
    epoch: int
    node_id: str
    site: str
    cause: str
    lost_utc: datetime
    last_seen_utc: datetime
    last_step: int | None = None
    outcome: str = "waiting"  # waiting | recovered | restarted | returned
    resumed_utc: datetime | None = None
    resumed_node: str = ""
    resumed_epoch: int = 0
    checkpoint: Checkpoint | None = None


class Node(Record):
    """A node as it last said it was, and what operators want of it."""

    node_id: str
    site: str
    inventory: Inventory = Inventory()
    software: str = ""
    boot_id: str = ""
    instance_id: str = ""
    last_seen_utc: datetime | None = None
    clock_skew_s: float = 0.0
    draining: bool = False
    drain_message: str = ""
    drain: Drain | None = None
    forgotten: bool = False
    frame_version: int = 0

    @property
    def wish(self) -> Drain | None:
        """The drain in force; None: the node is in service."""
        return (self.drain or Drain()) if self.draining else None


class Enrolment(Record):
    """What a join token was used for; ``key_digest`` tells whether a second use is the same one again."""

    token_serial: str
    name: str
    key_digest: str
    hostname: str
    certificate_pem: bytes
    enrolled_utc: datetime


class StepRecord(Record):
    """When a migration entered a step, and what was said."""

    step: MigrationStep
    entered_utc: datetime
    message: str = ""


class Round(Record):
    """One round of pre-copy; see the message of this name."""

    epoch: int
    sequence: int
    state_bytes: int
    wire_bytes: int | None = None
    reused_bytes: int | None = None
    duration_s: float | None = None
    base_age_s: float | None = None
    ended_utc: datetime | None = None
    left_bytes: int = 0
    verdict: str = ""


class ExpectedMove(Expected, frozen=True, kw_only=True):
    """What was expected when the move was planned, and how far off the job's earlier standstills were."""

    error_count: int = 0
    error_mean: float = 0.0
    error_spread: float | None = None


class Migration(Record):
    """One walk through the saga; every step is persisted before its effect."""

    migration_id: str
    kind: MigrationKind
    job_id: str
    job_name: str
    step: MigrationStep
    cause: str
    source_node: str = ""
    source_site: str = ""
    destination_node: str = ""
    destination_site: str = ""
    epoch: int = 0  # the epoch under which the destination runs; before STARTING the source's
    decision_id: str = ""
    message: str = ""
    command_id: str = ""  # the one whose result this step waits for
    steps: tuple[StepRecord, ...] = ()
    staged: Checkpoint | None = None
    rounds: tuple[Round, ...] = ()
    expected: ExpectedMove | None = None
    checkpoint: Checkpoint | None = None  # the one the destination starts from
    tried_nodes: tuple[str, ...] = ()
    fault: str = "node"  # whose fault the last failed start was
    error_kind: str = ""  # the class of the error with which an agent's order failed, by the catalogue
    state_bytes: int = 0
    wire_bytes: int = 0
    standstill_wire_bytes: int = 0
    save_s: float | None = None
    stop_s: float | None = None
    load_s: float | None = None
    quiesced_utc: datetime | None = None
    verified_utc: datetime | None = None
    standstill_s: float | None = None
    standstill_network_s: float | None = None
    released: bool = False


class StoredDecision(Record):
    """A decision with all its terms; ``record_json`` is the decision layer's own structure."""

    decision_id: str
    utc: datetime
    job_id: str
    job_name: str
    action: str
    source_site: str
    destination_site: str
    binding: str
    reason: str
    record_json: str
    text: str
    repeat_count: int = 1
    last_utc: datetime | None = None


class LinkSample(Record):
    """What one network-limited transfer between two sites reached."""

    source_site: str
    destination_site: str
    utc: datetime
    bandwidth_bytes_per_s: float
    wire_bytes: int
