"""Commands as the agent works with them; field names follow the messages."""

from __future__ import annotations

from dataclasses import dataclass

from heliotrope.foundation import wire
from heliotrope.foundation.errors import Incompatible
from heliotrope.foundation.jobspec import JobSpec
from heliotrope.foundation.model import Checkpoint, Record
from heliotrope.v1 import fleet_pb2 as pb


class Bundle(Record):
    """A job's files."""

    digest: bytes
    size_bytes: int


class Prepare(Record):
    spec: JobSpec
    bundle: Bundle
    disk_bytes: int = 0
    source_addresses: tuple[str, ...] = ()
    source_node: str = ""
    ticket: bytes = b""
    fingerprint: str = ""


class Pull(Record):
    checkpoint: Checkpoint
    source_addresses: tuple[str, ...]
    source_node: str
    ticket: bytes
    standstill: bool = False
    rate_limit_bytes_per_s: int = 0
    replica: bool = False
    spec: JobSpec | None = None  # with a replica: the node need not be prepared for the job
    outputs: Checkpoint | None = None


class RequestCheckpoint(Record):
    pass


class Quiesce(Record):
    pass


class Start(Record):
    spec: JobSpec
    bundle: Bundle
    checkpoint: Checkpoint | None = None
    attempt: int = 0
    lease_s: float | None = None


class Stop(Record):
    grace_s: float = 30.0


class Resume(Record):
    start: Start


class Release(Record):
    keep_logs: bool = True


class SendOutputs(Record):
    relay_id: str
    paths: tuple[str, ...] = ()


class Repair(Record):
    checkpoint: Checkpoint
    source_addresses: tuple[str, ...] = ()
    source_node: str = ""
    ticket: bytes = b""


class CapPower(Record):
    cap_id: str
    device: str
    limit_w: float
    lifetime_s: float
    operator: str = ""
    message: str = ""


class UncapPower(Record):
    cap_id: str
    device: str
    operator: str = ""
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

KINDS: dict[str, type[Order]] = {
    "prepare": Prepare,
    "pull": Pull,
    "request_checkpoint": RequestCheckpoint,
    "quiesce": Quiesce,
    "start": Start,
    "stop": Stop,
    "resume": Resume,
    "release": Release,
    "send_outputs": SendOutputs,
    "cap_power": CapPower,
    "uncap_power": UncapPower,
    "repair": Repair,
}


@dataclass(frozen=True)
class Command:
    """One order with its address."""

    command_id: str
    migration_id: str
    job_id: str
    epoch: int
    timeout_s: float
    kind: str
    order: Order

    @property
    def subject(self) -> str:
        """What it is about, for logs."""
        return f"job {self.job_id}" if self.job_id else "node"


def from_wire(message: pb.Command) -> Command:
    """Raises Incompatible for a kind that this version does not know, InvalidInput naming a wrong field."""
    kind = message.WhichOneof("kind")
    if kind not in KINDS:
        raise Incompatible(f"cannot follow command {message.command_id}: its kind is unknown here; upgrade this agent")
    return Command(
        command_id=message.command_id,
        migration_id=message.migration_id,
        job_id=message.job_id,
        epoch=message.epoch,
        timeout_s=message.timeout.ToMilliseconds() / 1000,
        kind=kind,
        order=wire.from_message(getattr(message, kind), KINDS[kind]),
    )
