"""What agents are told to do: orders, and the commands that carry them through the outbox."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from heliotrope.foundation.jobspec import JobSpec
from heliotrope.foundation.model import Checkpoint, CommandResult, Record


class CommandState(StrEnum):
    """Where an order to an agent stands."""

    OPEN = "open"
    DONE = "done"
    CANCELLED = "cancelled"


class Prepare(Record, tag="prepare"):
    """See the message of this name; likewise the following."""

    spec: JobSpec
    bundle_digest: bytes
    bundle_bytes: int
    disk_bytes: int
    source_addresses: tuple[str, ...] = ()
    source_node: str = ""
    ticket: bytes = b""
    fingerprint: str = ""


class Pull(Record, tag="pull"):
    checkpoint: Checkpoint
    source_addresses: tuple[str, ...]
    source_node: str
    ticket: bytes
    standstill: bool
    rate_limit_bytes_per_s: int = 0
    replica: bool = False
    spec: JobSpec | None = None
    outputs: Checkpoint | None = None


class RequestCheckpoint(Record, tag="request_checkpoint"):
    pass


class Quiesce(Record, tag="quiesce"):
    pass


class Start(Record, tag="start"):
    spec: JobSpec
    bundle_digest: bytes
    bundle_bytes: int
    checkpoint: Checkpoint | None
    attempt: int
    lease_s: float | None


class Stop(Record, tag="stop"):
    grace_s: float


class Resume(Record, tag="resume"):
    start: Start


class Release(Record, tag="release"):
    keep_logs: bool = True


class SendOutputs(Record, tag="send_outputs"):
    relay_id: str
    paths: tuple[str, ...] = ()


class Repair(Record, tag="repair"):
    checkpoint: Checkpoint
    source_addresses: tuple[str, ...] = ()
    source_node: str = ""
    ticket: bytes = b""


class CapPower(Record, tag="cap_power"):
    """``device`` "" is every GPU; what is left of its time is computed when it is sent."""

    cap_id: str
    device: str
    limit_w: float
    expires_utc: datetime
    operator: str
    message: str = ""


class UncapPower(Record, tag="uncap_power"):
    cap_id: str
    device: str
    operator: str
    message: str = ""


Order = (
    Prepare
    | Pull
    | RequestCheckpoint
    | Quiesce
    | Start
    | Stop
    | Resume
    | Release
    | SendOutputs
    | Repair
    | CapPower
    | UncapPower
)


class Command(Record):
    """An order in the outbox: written in the transaction that makes it necessary, sent at least once."""

    command_id: str
    node_id: str
    job_id: str
    epoch: int
    order: Order
    created_utc: datetime
    timeout_s: float = 0.0
    migration_id: str = ""
    state: CommandState = CommandState.OPEN
    result: CommandResult | None = None
