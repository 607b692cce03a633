"""The words that agent and coordinator share: frozen structures beside the messages of heliotrope.v1.

Field names follow the messages by the rule of :mod:`.wire`.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import dataclass_transform

import msgspec


class JobState(StrEnum):
    """Where a job stands."""

    PENDING = "PENDING"
    PREPARING = "PREPARING"
    RUNNING = "RUNNING"
    MOVING = "MOVING"
    PAUSED = "PAUSED"
    RECOVERING = "RECOVERING"
    FINISHED = "FINISHED"
    FAILED = "FAILED"
    LOST = "LOST"

    @property
    def ended(self) -> bool:
        return self in (JobState.FINISHED, JobState.FAILED)


class MigrationKind(StrEnum):
    """What a migration is for."""

    PLACE = "PLACE"
    MOVE = "MOVE"
    PAUSE = "PAUSE"
    RECOVER = "RECOVER"


class MigrationStep(StrEnum):
    """The saga's steps, in order."""

    PLANNED = "PLANNED"
    PREPARING = "PREPARING"
    STAGING = "STAGING"
    QUIESCING = "QUIESCING"
    SENDING = "SENDING"
    VERIFIED = "VERIFIED"
    STARTING = "STARTING"
    COMMITTED = "COMMITTED"
    ABORTING = "ABORTING"
    ABORTED = "ABORTED"
    RECOVERING = "RECOVERING"
    RECOVERED = "RECOVERED"
    FAILED = "FAILED"

    @property
    def ended(self) -> bool:
        return self in (MigrationStep.COMMITTED, MigrationStep.ABORTED, MigrationStep.RECOVERED, MigrationStep.FAILED)


class DrainMode(StrEnum):
    """What becomes of the jobs of a drained node."""

    MIGRATE = "MIGRATE"
    STOP = "STOP"
    LEAVE = "LEAVE"


class RunState(StrEnum):
    """Whether one run goes on."""

    UNSPECIFIED = "UNSPECIFIED"
    STARTING = "STARTING"
    RUNNING = "RUNNING"
    FINISHED = "FINISHED"
    STOPPED = "STOPPED"
    FAILED = "FAILED"
    LOST = "LOST"

    @property
    def alive(self) -> bool:
        return self in (RunState.STARTING, RunState.RUNNING)


@dataclass_transform(frozen_default=True, kw_only_default=True)
class Record(msgspec.Struct, frozen=True, kw_only=True):
    """Base of the shared structures."""


class LogStream(StrEnum):
    """Which of a run's two outputs."""

    STDOUT = "STDOUT"
    STDERR = "STDERR"


class LogPiece(Record):
    """A piece of a run's output, keyed by (job, epoch, attempt, stream, offset)."""

    job_id: str
    epoch: int
    attempt: int
    stream: LogStream
    offset: int
    data: bytes


class LogOffset(Record):
    """How far one output of one run was read."""

    epoch: int
    attempt: int
    stream: LogStream
    bytes: int


class Versions(Record):
    """What a side speaks, highest first."""

    protocol: tuple[int, ...] = ()
    frame: tuple[int, ...] = ()
    codec: tuple[int, ...] = ()
    software: str = ""


class Checkpoint(Record):
    """A whole checkpoint, named by the agent that saw it."""

    epoch: int
    sequence: int
    manifest_digest: bytes
    state_bytes: int
    step: int = 0
    created_utc: datetime | None = None
    unchanged_bytes: int | None = None  # that the checkpoint before it at its node has, too; None: there was none

    @property
    def key(self) -> tuple[int, int]:
        """Newer is greater."""
        return (self.epoch, self.sequence)


class Progress(Record):
    """What the job reported of itself; zero where it reported nothing."""

    step: int = 0
    samples: int = 0
    tokens: int = 0
    loss: float = 0.0
    flops: float = 0.0
    reported_utc: datetime | None = None
    parameters: int = 0  # of the model


class Gpu(Record):
    """One device that a job can be given."""

    uuid: str
    model: str
    memory_bytes: int


class Inventory(Record):
    """What a node is and offers."""

    hostname: str = ""
    cpu_count: int = 0
    memory_bytes: int = 0
    disk_free_bytes: int = 0
    gpus: tuple[Gpu, ...] = ()
    transfer_addresses: tuple[str, ...] = ()
    fingerprint: str = ""
    fingerprint_parts: dict[str, str] = {}
    slot_count: int = 1
    idle_w: float = 0.0
    mounts: tuple[str, ...] = ()  # paths declared for jobs that require them; empty: none is declared


class JobReport(Record):
    """The state of one run, keyed by (job, epoch, attempt)."""

    job_id: str
    epoch: int
    attempt: int
    state: RunState
    exit_code: int = 0
    fault: str = ""
    message: str = ""
    progress: Progress = Progress()
    checkpoints: tuple[Checkpoint, ...] = ()
    damaged: tuple[Checkpoint, ...] = ()
    started_utc: datetime | None = None
    ended_utc: datetime | None = None


class PullReport(Record):
    """What one transfer moved."""

    state_bytes: int = 0
    wire_bytes: int = 0
    reused_bytes: int = 0
    duration_s: float = 0.0
    connections: int = 0
    cuts: int = 0


class Fault(Record):
    """An error of the catalogue, by name."""

    kind: str
    message: str


class PowerCap(Record):
    """A power limit on one device, for a while. ``device``: a GPU's UUID, or ``rapl:package-0``.

    ``limit_w`` is the device's limit as read back, ``enforced_w`` what it obeys (the lowest of all its limits),
    ``previous_w`` what it goes back to; None where that was not read.
    """

    cap_id: str
    device: str
    requested_w: float
    limit_w: float | None = None
    enforced_w: float | None = None
    previous_w: float | None = None
    set_utc: datetime | None = None
    expires_utc: datetime | None = None
    operator: str = ""
    message: str = ""
    problem: str = ""


class PowerCapEventKind(StrEnum):
    """What happened to a power cap; the messages say what each is."""

    UNSPECIFIED = "UNSPECIFIED"
    ORDERED = "ORDERED"
    SET = "SET"
    REFUSED = "REFUSED"
    RELEASE_ORDERED = "RELEASE_ORDERED"
    RELEASED = "RELEASED"
    SUSPENDED = "SUSPENDED"
    REAPPLIED = "REAPPLIED"
    RESTORED = "RESTORED"
    OVERTAKEN = "OVERTAKEN"
    GONE = "GONE"
    STUCK = "STUCK"


class PowerCapEvent(Record):
    """One line of a power cap's audit, keyed by (node, event_id); ``node_id`` is the coordinator's to fill in."""

    event_id: str
    cap_id: str
    device: str
    kind: PowerCapEventKind
    utc: datetime
    requested_w: float | None = None
    found_w: float | None = None
    limit_w: float | None = None
    enforced_w: float | None = None
    expires_utc: datetime | None = None
    operator: str = ""
    message: str = ""
    error: Fault | None = None
    node_id: str = ""

    def of_node(self, node_id: str) -> PowerCapEvent:
        """As that node's, whatever it says of itself."""
        return msgspec.structs.replace(self, node_id=node_id)


class CommandResult(Record):
    """How a command ended; ``error`` is None when it did what it should."""

    command_id: str
    error: Fault | None = None
    checkpoint: Checkpoint | None = None
    run_state: RunState = RunState.UNSPECIFIED
    pull: PullReport | None = None
    save_s: float | None = None
    stop_s: float | None = None
    load_s: float | None = None
    exit_code: int = 0
    finished_utc: datetime | None = None
    power_caps: tuple[PowerCap, ...] = ()
    outputs: Checkpoint | None = None
