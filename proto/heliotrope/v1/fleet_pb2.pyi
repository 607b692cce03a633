from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from heliotrope.v1 import common_pb2 as _common_pb2
from heliotrope.v1 import identity_pb2 as _identity_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class AgentMessage(_message.Message):
    __slots__ = ("hello", "heartbeat", "job_report", "command_result", "energy_batch", "log_piece", "pull_progress", "power_cap_event")
    HELLO_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_FIELD_NUMBER: _ClassVar[int]
    JOB_REPORT_FIELD_NUMBER: _ClassVar[int]
    COMMAND_RESULT_FIELD_NUMBER: _ClassVar[int]
    ENERGY_BATCH_FIELD_NUMBER: _ClassVar[int]
    LOG_PIECE_FIELD_NUMBER: _ClassVar[int]
    PULL_PROGRESS_FIELD_NUMBER: _ClassVar[int]
    POWER_CAP_EVENT_FIELD_NUMBER: _ClassVar[int]
    hello: Hello
    heartbeat: Heartbeat
    job_report: JobReport
    command_result: CommandResult
    energy_batch: EnergyBatch
    log_piece: LogPiece
    pull_progress: PullProgress
    power_cap_event: _common_pb2.PowerCapEvent
    def __init__(self, hello: _Optional[_Union[Hello, _Mapping]] = ..., heartbeat: _Optional[_Union[Heartbeat, _Mapping]] = ..., job_report: _Optional[_Union[JobReport, _Mapping]] = ..., command_result: _Optional[_Union[CommandResult, _Mapping]] = ..., energy_batch: _Optional[_Union[EnergyBatch, _Mapping]] = ..., log_piece: _Optional[_Union[LogPiece, _Mapping]] = ..., pull_progress: _Optional[_Union[PullProgress, _Mapping]] = ..., power_cap_event: _Optional[_Union[_common_pb2.PowerCapEvent, _Mapping]] = ...) -> None: ...

class CoordinatorMessage(_message.Message):
    __slots__ = ("welcome", "lease_grant", "command", "acknowledgement", "trust", "probe")
    WELCOME_FIELD_NUMBER: _ClassVar[int]
    LEASE_GRANT_FIELD_NUMBER: _ClassVar[int]
    COMMAND_FIELD_NUMBER: _ClassVar[int]
    ACKNOWLEDGEMENT_FIELD_NUMBER: _ClassVar[int]
    TRUST_FIELD_NUMBER: _ClassVar[int]
    PROBE_FIELD_NUMBER: _ClassVar[int]
    welcome: Welcome
    lease_grant: LeaseGrant
    command: Command
    acknowledgement: Acknowledgement
    trust: Trust
    probe: Probe
    def __init__(self, welcome: _Optional[_Union[Welcome, _Mapping]] = ..., lease_grant: _Optional[_Union[LeaseGrant, _Mapping]] = ..., command: _Optional[_Union[Command, _Mapping]] = ..., acknowledgement: _Optional[_Union[Acknowledgement, _Mapping]] = ..., trust: _Optional[_Union[Trust, _Mapping]] = ..., probe: _Optional[_Union[Probe, _Mapping]] = ...) -> None: ...

class Trust(_message.Message):
    __slots__ = ("coordinator_certificates_pem", "revocations")
    COORDINATOR_CERTIFICATES_PEM_FIELD_NUMBER: _ClassVar[int]
    REVOCATIONS_FIELD_NUMBER: _ClassVar[int]
    coordinator_certificates_pem: _containers.RepeatedScalarFieldContainer[bytes]
    revocations: _containers.RepeatedCompositeFieldContainer[_identity_pb2.Revocation]
    def __init__(self, coordinator_certificates_pem: _Optional[_Iterable[bytes]] = ..., revocations: _Optional[_Iterable[_Union[_identity_pb2.Revocation, _Mapping]]] = ...) -> None: ...

class Probe(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Hello(_message.Message):
    __slots__ = ("versions", "site", "boot_id", "instance_id", "inventory", "jobs", "spool_id", "spool_acknowledged", "utc", "handover_count", "boottime_s")
    VERSIONS_FIELD_NUMBER: _ClassVar[int]
    SITE_FIELD_NUMBER: _ClassVar[int]
    BOOT_ID_FIELD_NUMBER: _ClassVar[int]
    INSTANCE_ID_FIELD_NUMBER: _ClassVar[int]
    INVENTORY_FIELD_NUMBER: _ClassVar[int]
    JOBS_FIELD_NUMBER: _ClassVar[int]
    SPOOL_ID_FIELD_NUMBER: _ClassVar[int]
    SPOOL_ACKNOWLEDGED_FIELD_NUMBER: _ClassVar[int]
    UTC_FIELD_NUMBER: _ClassVar[int]
    HANDOVER_COUNT_FIELD_NUMBER: _ClassVar[int]
    BOOTTIME_S_FIELD_NUMBER: _ClassVar[int]
    versions: _common_pb2.Versions
    site: str
    boot_id: str
    instance_id: str
    inventory: Inventory
    jobs: _containers.RepeatedCompositeFieldContainer[JobReport]
    spool_id: str
    spool_acknowledged: int
    utc: _timestamp_pb2.Timestamp
    handover_count: int
    boottime_s: float
    def __init__(self, versions: _Optional[_Union[_common_pb2.Versions, _Mapping]] = ..., site: _Optional[str] = ..., boot_id: _Optional[str] = ..., instance_id: _Optional[str] = ..., inventory: _Optional[_Union[Inventory, _Mapping]] = ..., jobs: _Optional[_Iterable[_Union[JobReport, _Mapping]]] = ..., spool_id: _Optional[str] = ..., spool_acknowledged: _Optional[int] = ..., utc: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., handover_count: _Optional[int] = ..., boottime_s: _Optional[float] = ...) -> None: ...

class Inventory(_message.Message):
    __slots__ = ("hostname", "cpu_count", "memory_bytes", "disk_free_bytes", "gpus", "transfer_addresses", "fingerprint", "fingerprint_parts", "slot_count", "idle_w", "mounts")
    class FingerprintPartsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    HOSTNAME_FIELD_NUMBER: _ClassVar[int]
    CPU_COUNT_FIELD_NUMBER: _ClassVar[int]
    MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    DISK_FREE_BYTES_FIELD_NUMBER: _ClassVar[int]
    GPUS_FIELD_NUMBER: _ClassVar[int]
    TRANSFER_ADDRESSES_FIELD_NUMBER: _ClassVar[int]
    FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    FINGERPRINT_PARTS_FIELD_NUMBER: _ClassVar[int]
    SLOT_COUNT_FIELD_NUMBER: _ClassVar[int]
    IDLE_W_FIELD_NUMBER: _ClassVar[int]
    MOUNTS_FIELD_NUMBER: _ClassVar[int]
    hostname: str
    cpu_count: int
    memory_bytes: int
    disk_free_bytes: int
    gpus: _containers.RepeatedCompositeFieldContainer[Gpu]
    transfer_addresses: _containers.RepeatedScalarFieldContainer[str]
    fingerprint: str
    fingerprint_parts: _containers.ScalarMap[str, str]
    slot_count: int
    idle_w: float
    mounts: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, hostname: _Optional[str] = ..., cpu_count: _Optional[int] = ..., memory_bytes: _Optional[int] = ..., disk_free_bytes: _Optional[int] = ..., gpus: _Optional[_Iterable[_Union[Gpu, _Mapping]]] = ..., transfer_addresses: _Optional[_Iterable[str]] = ..., fingerprint: _Optional[str] = ..., fingerprint_parts: _Optional[_Mapping[str, str]] = ..., slot_count: _Optional[int] = ..., idle_w: _Optional[float] = ..., mounts: _Optional[_Iterable[str]] = ...) -> None: ...

class Gpu(_message.Message):
    __slots__ = ("uuid", "model", "memory_bytes")
    UUID_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    uuid: str
    model: str
    memory_bytes: int
    def __init__(self, uuid: _Optional[str] = ..., model: _Optional[str] = ..., memory_bytes: _Optional[int] = ...) -> None: ...

class Welcome(_message.Message):
    __slots__ = ("chosen", "heartbeat_interval", "coordinator_certificate_pem", "spool_acknowledged", "utc", "handover_count")
    CHOSEN_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_INTERVAL_FIELD_NUMBER: _ClassVar[int]
    COORDINATOR_CERTIFICATE_PEM_FIELD_NUMBER: _ClassVar[int]
    SPOOL_ACKNOWLEDGED_FIELD_NUMBER: _ClassVar[int]
    UTC_FIELD_NUMBER: _ClassVar[int]
    HANDOVER_COUNT_FIELD_NUMBER: _ClassVar[int]
    chosen: _common_pb2.Versions
    heartbeat_interval: _duration_pb2.Duration
    coordinator_certificate_pem: bytes
    spool_acknowledged: int
    utc: _timestamp_pb2.Timestamp
    handover_count: int
    def __init__(self, chosen: _Optional[_Union[_common_pb2.Versions, _Mapping]] = ..., heartbeat_interval: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ..., coordinator_certificate_pem: _Optional[bytes] = ..., spool_acknowledged: _Optional[int] = ..., utc: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., handover_count: _Optional[int] = ...) -> None: ...

class Heartbeat(_message.Message):
    __slots__ = ("heartbeat_id", "leases", "power_w", "power_estimated", "job_power_w", "disk_free_bytes", "power_caps")
    class JobPowerWEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    HEARTBEAT_ID_FIELD_NUMBER: _ClassVar[int]
    LEASES_FIELD_NUMBER: _ClassVar[int]
    POWER_W_FIELD_NUMBER: _ClassVar[int]
    POWER_ESTIMATED_FIELD_NUMBER: _ClassVar[int]
    JOB_POWER_W_FIELD_NUMBER: _ClassVar[int]
    DISK_FREE_BYTES_FIELD_NUMBER: _ClassVar[int]
    POWER_CAPS_FIELD_NUMBER: _ClassVar[int]
    heartbeat_id: int
    leases: _containers.RepeatedCompositeFieldContainer[Lease]
    power_w: float
    power_estimated: bool
    job_power_w: _containers.ScalarMap[str, float]
    disk_free_bytes: int
    power_caps: _containers.RepeatedCompositeFieldContainer[_common_pb2.PowerCap]
    def __init__(self, heartbeat_id: _Optional[int] = ..., leases: _Optional[_Iterable[_Union[Lease, _Mapping]]] = ..., power_w: _Optional[float] = ..., power_estimated: bool = ..., job_power_w: _Optional[_Mapping[str, float]] = ..., disk_free_bytes: _Optional[int] = ..., power_caps: _Optional[_Iterable[_Union[_common_pb2.PowerCap, _Mapping]]] = ...) -> None: ...

class Lease(_message.Message):
    __slots__ = ("job_id", "epoch")
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    job_id: str
    epoch: int
    def __init__(self, job_id: _Optional[str] = ..., epoch: _Optional[int] = ...) -> None: ...

class LeaseGrant(_message.Message):
    __slots__ = ("heartbeat_id", "granted", "refused", "handover_count")
    HEARTBEAT_ID_FIELD_NUMBER: _ClassVar[int]
    GRANTED_FIELD_NUMBER: _ClassVar[int]
    REFUSED_FIELD_NUMBER: _ClassVar[int]
    HANDOVER_COUNT_FIELD_NUMBER: _ClassVar[int]
    heartbeat_id: int
    granted: _containers.RepeatedCompositeFieldContainer[Lease]
    refused: _containers.RepeatedCompositeFieldContainer[Lease]
    handover_count: int
    def __init__(self, heartbeat_id: _Optional[int] = ..., granted: _Optional[_Iterable[_Union[Lease, _Mapping]]] = ..., refused: _Optional[_Iterable[_Union[Lease, _Mapping]]] = ..., handover_count: _Optional[int] = ...) -> None: ...

class JobReport(_message.Message):
    __slots__ = ("job_id", "epoch", "attempt", "state", "exit_code", "fault", "message", "progress", "checkpoints", "started", "ended", "damaged")
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    EXIT_CODE_FIELD_NUMBER: _ClassVar[int]
    FAULT_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINTS_FIELD_NUMBER: _ClassVar[int]
    STARTED_FIELD_NUMBER: _ClassVar[int]
    ENDED_FIELD_NUMBER: _ClassVar[int]
    DAMAGED_FIELD_NUMBER: _ClassVar[int]
    job_id: str
    epoch: int
    attempt: int
    state: _common_pb2.RunState
    exit_code: int
    fault: str
    message: str
    progress: _common_pb2.Progress
    checkpoints: _containers.RepeatedCompositeFieldContainer[_common_pb2.Checkpoint]
    started: _timestamp_pb2.Timestamp
    ended: _timestamp_pb2.Timestamp
    damaged: _containers.RepeatedCompositeFieldContainer[_common_pb2.Checkpoint]
    def __init__(self, job_id: _Optional[str] = ..., epoch: _Optional[int] = ..., attempt: _Optional[int] = ..., state: _Optional[_Union[_common_pb2.RunState, str]] = ..., exit_code: _Optional[int] = ..., fault: _Optional[str] = ..., message: _Optional[str] = ..., progress: _Optional[_Union[_common_pb2.Progress, _Mapping]] = ..., checkpoints: _Optional[_Iterable[_Union[_common_pb2.Checkpoint, _Mapping]]] = ..., started: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., ended: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., damaged: _Optional[_Iterable[_Union[_common_pb2.Checkpoint, _Mapping]]] = ...) -> None: ...

class Command(_message.Message):
    __slots__ = ("command_id", "migration_id", "job_id", "epoch", "timeout", "prepare", "pull", "request_checkpoint", "quiesce", "start", "stop", "resume", "release", "send_outputs", "repair", "cap_power", "uncap_power")
    COMMAND_ID_FIELD_NUMBER: _ClassVar[int]
    MIGRATION_ID_FIELD_NUMBER: _ClassVar[int]
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    PREPARE_FIELD_NUMBER: _ClassVar[int]
    PULL_FIELD_NUMBER: _ClassVar[int]
    REQUEST_CHECKPOINT_FIELD_NUMBER: _ClassVar[int]
    QUIESCE_FIELD_NUMBER: _ClassVar[int]
    START_FIELD_NUMBER: _ClassVar[int]
    STOP_FIELD_NUMBER: _ClassVar[int]
    RESUME_FIELD_NUMBER: _ClassVar[int]
    RELEASE_FIELD_NUMBER: _ClassVar[int]
    SEND_OUTPUTS_FIELD_NUMBER: _ClassVar[int]
    REPAIR_FIELD_NUMBER: _ClassVar[int]
    CAP_POWER_FIELD_NUMBER: _ClassVar[int]
    UNCAP_POWER_FIELD_NUMBER: _ClassVar[int]
    command_id: str
    migration_id: str
    job_id: str
    epoch: int
    timeout: _duration_pb2.Duration
    prepare: Prepare
    pull: Pull
    request_checkpoint: RequestCheckpoint
    quiesce: Quiesce
    start: Start
    stop: Stop
    resume: Resume
    release: Release
    send_outputs: SendOutputs
    repair: Repair
    cap_power: CapPower
    uncap_power: UncapPower
    def __init__(self, command_id: _Optional[str] = ..., migration_id: _Optional[str] = ..., job_id: _Optional[str] = ..., epoch: _Optional[int] = ..., timeout: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ..., prepare: _Optional[_Union[Prepare, _Mapping]] = ..., pull: _Optional[_Union[Pull, _Mapping]] = ..., request_checkpoint: _Optional[_Union[RequestCheckpoint, _Mapping]] = ..., quiesce: _Optional[_Union[Quiesce, _Mapping]] = ..., start: _Optional[_Union[Start, _Mapping]] = ..., stop: _Optional[_Union[Stop, _Mapping]] = ..., resume: _Optional[_Union[Resume, _Mapping]] = ..., release: _Optional[_Union[Release, _Mapping]] = ..., send_outputs: _Optional[_Union[SendOutputs, _Mapping]] = ..., repair: _Optional[_Union[Repair, _Mapping]] = ..., cap_power: _Optional[_Union[CapPower, _Mapping]] = ..., uncap_power: _Optional[_Union[UncapPower, _Mapping]] = ...) -> None: ...

class Prepare(_message.Message):
    __slots__ = ("spec", "bundle", "disk_bytes", "source_addresses", "source_node", "ticket", "fingerprint")
    SPEC_FIELD_NUMBER: _ClassVar[int]
    BUNDLE_FIELD_NUMBER: _ClassVar[int]
    DISK_BYTES_FIELD_NUMBER: _ClassVar[int]
    SOURCE_ADDRESSES_FIELD_NUMBER: _ClassVar[int]
    SOURCE_NODE_FIELD_NUMBER: _ClassVar[int]
    TICKET_FIELD_NUMBER: _ClassVar[int]
    FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    spec: _common_pb2.JobSpec
    bundle: _common_pb2.Bundle
    disk_bytes: int
    source_addresses: _containers.RepeatedScalarFieldContainer[str]
    source_node: str
    ticket: bytes
    fingerprint: str
    def __init__(self, spec: _Optional[_Union[_common_pb2.JobSpec, _Mapping]] = ..., bundle: _Optional[_Union[_common_pb2.Bundle, _Mapping]] = ..., disk_bytes: _Optional[int] = ..., source_addresses: _Optional[_Iterable[str]] = ..., source_node: _Optional[str] = ..., ticket: _Optional[bytes] = ..., fingerprint: _Optional[str] = ...) -> None: ...

class Pull(_message.Message):
    __slots__ = ("checkpoint", "source_addresses", "source_node", "ticket", "standstill", "rate_limit_bytes_per_s", "replica", "spec", "outputs")
    CHECKPOINT_FIELD_NUMBER: _ClassVar[int]
    SOURCE_ADDRESSES_FIELD_NUMBER: _ClassVar[int]
    SOURCE_NODE_FIELD_NUMBER: _ClassVar[int]
    TICKET_FIELD_NUMBER: _ClassVar[int]
    STANDSTILL_FIELD_NUMBER: _ClassVar[int]
    RATE_LIMIT_BYTES_PER_S_FIELD_NUMBER: _ClassVar[int]
    REPLICA_FIELD_NUMBER: _ClassVar[int]
    SPEC_FIELD_NUMBER: _ClassVar[int]
    OUTPUTS_FIELD_NUMBER: _ClassVar[int]
    checkpoint: _common_pb2.Checkpoint
    source_addresses: _containers.RepeatedScalarFieldContainer[str]
    source_node: str
    ticket: bytes
    standstill: bool
    rate_limit_bytes_per_s: int
    replica: bool
    spec: _common_pb2.JobSpec
    outputs: _common_pb2.Checkpoint
    def __init__(self, checkpoint: _Optional[_Union[_common_pb2.Checkpoint, _Mapping]] = ..., source_addresses: _Optional[_Iterable[str]] = ..., source_node: _Optional[str] = ..., ticket: _Optional[bytes] = ..., standstill: bool = ..., rate_limit_bytes_per_s: _Optional[int] = ..., replica: bool = ..., spec: _Optional[_Union[_common_pb2.JobSpec, _Mapping]] = ..., outputs: _Optional[_Union[_common_pb2.Checkpoint, _Mapping]] = ...) -> None: ...

class RequestCheckpoint(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Quiesce(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Start(_message.Message):
    __slots__ = ("spec", "checkpoint", "attempt", "lease", "bundle")
    SPEC_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    LEASE_FIELD_NUMBER: _ClassVar[int]
    BUNDLE_FIELD_NUMBER: _ClassVar[int]
    spec: _common_pb2.JobSpec
    checkpoint: _common_pb2.Checkpoint
    attempt: int
    lease: _duration_pb2.Duration
    bundle: _common_pb2.Bundle
    def __init__(self, spec: _Optional[_Union[_common_pb2.JobSpec, _Mapping]] = ..., checkpoint: _Optional[_Union[_common_pb2.Checkpoint, _Mapping]] = ..., attempt: _Optional[int] = ..., lease: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ..., bundle: _Optional[_Union[_common_pb2.Bundle, _Mapping]] = ...) -> None: ...

class Stop(_message.Message):
    __slots__ = ("grace",)
    GRACE_FIELD_NUMBER: _ClassVar[int]
    grace: _duration_pb2.Duration
    def __init__(self, grace: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class Resume(_message.Message):
    __slots__ = ("start",)
    START_FIELD_NUMBER: _ClassVar[int]
    start: Start
    def __init__(self, start: _Optional[_Union[Start, _Mapping]] = ...) -> None: ...

class Release(_message.Message):
    __slots__ = ("keep_logs",)
    KEEP_LOGS_FIELD_NUMBER: _ClassVar[int]
    keep_logs: bool
    def __init__(self, keep_logs: bool = ...) -> None: ...

class Repair(_message.Message):
    __slots__ = ("checkpoint", "source_addresses", "source_node", "ticket")
    CHECKPOINT_FIELD_NUMBER: _ClassVar[int]
    SOURCE_ADDRESSES_FIELD_NUMBER: _ClassVar[int]
    SOURCE_NODE_FIELD_NUMBER: _ClassVar[int]
    TICKET_FIELD_NUMBER: _ClassVar[int]
    checkpoint: _common_pb2.Checkpoint
    source_addresses: _containers.RepeatedScalarFieldContainer[str]
    source_node: str
    ticket: bytes
    def __init__(self, checkpoint: _Optional[_Union[_common_pb2.Checkpoint, _Mapping]] = ..., source_addresses: _Optional[_Iterable[str]] = ..., source_node: _Optional[str] = ..., ticket: _Optional[bytes] = ...) -> None: ...

class SendOutputs(_message.Message):
    __slots__ = ("relay_id", "paths")
    RELAY_ID_FIELD_NUMBER: _ClassVar[int]
    PATHS_FIELD_NUMBER: _ClassVar[int]
    relay_id: str
    paths: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, relay_id: _Optional[str] = ..., paths: _Optional[_Iterable[str]] = ...) -> None: ...

class CapPower(_message.Message):
    __slots__ = ("cap_id", "device", "limit_w", "lifetime", "operator", "message")
    CAP_ID_FIELD_NUMBER: _ClassVar[int]
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    LIMIT_W_FIELD_NUMBER: _ClassVar[int]
    LIFETIME_FIELD_NUMBER: _ClassVar[int]
    OPERATOR_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    cap_id: str
    device: str
    limit_w: float
    lifetime: _duration_pb2.Duration
    operator: str
    message: str
    def __init__(self, cap_id: _Optional[str] = ..., device: _Optional[str] = ..., limit_w: _Optional[float] = ..., lifetime: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ..., operator: _Optional[str] = ..., message: _Optional[str] = ...) -> None: ...

class UncapPower(_message.Message):
    __slots__ = ("cap_id", "device", "operator", "message")
    CAP_ID_FIELD_NUMBER: _ClassVar[int]
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    OPERATOR_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    cap_id: str
    device: str
    operator: str
    message: str
    def __init__(self, cap_id: _Optional[str] = ..., device: _Optional[str] = ..., operator: _Optional[str] = ..., message: _Optional[str] = ...) -> None: ...

class CommandResult(_message.Message):
    __slots__ = ("command_id", "error", "checkpoint", "run_state", "pull", "save", "stop", "load", "exit_code", "finished", "power_caps", "outputs")
    COMMAND_ID_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_FIELD_NUMBER: _ClassVar[int]
    RUN_STATE_FIELD_NUMBER: _ClassVar[int]
    PULL_FIELD_NUMBER: _ClassVar[int]
    SAVE_FIELD_NUMBER: _ClassVar[int]
    STOP_FIELD_NUMBER: _ClassVar[int]
    LOAD_FIELD_NUMBER: _ClassVar[int]
    EXIT_CODE_FIELD_NUMBER: _ClassVar[int]
    FINISHED_FIELD_NUMBER: _ClassVar[int]
    POWER_CAPS_FIELD_NUMBER: _ClassVar[int]
    OUTPUTS_FIELD_NUMBER: _ClassVar[int]
    command_id: str
    error: _common_pb2.Error
    checkpoint: _common_pb2.Checkpoint
    run_state: _common_pb2.RunState
    pull: PullReport
    save: _duration_pb2.Duration
    stop: _duration_pb2.Duration
    load: _duration_pb2.Duration
    exit_code: int
    finished: _timestamp_pb2.Timestamp
    power_caps: _containers.RepeatedCompositeFieldContainer[_common_pb2.PowerCap]
    outputs: _common_pb2.Checkpoint
    def __init__(self, command_id: _Optional[str] = ..., error: _Optional[_Union[_common_pb2.Error, _Mapping]] = ..., checkpoint: _Optional[_Union[_common_pb2.Checkpoint, _Mapping]] = ..., run_state: _Optional[_Union[_common_pb2.RunState, str]] = ..., pull: _Optional[_Union[PullReport, _Mapping]] = ..., save: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ..., stop: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ..., load: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ..., exit_code: _Optional[int] = ..., finished: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., power_caps: _Optional[_Iterable[_Union[_common_pb2.PowerCap, _Mapping]]] = ..., outputs: _Optional[_Union[_common_pb2.Checkpoint, _Mapping]] = ...) -> None: ...

class PullReport(_message.Message):
    __slots__ = ("state_bytes", "wire_bytes", "reused_bytes", "duration", "connections", "cuts")
    STATE_BYTES_FIELD_NUMBER: _ClassVar[int]
    WIRE_BYTES_FIELD_NUMBER: _ClassVar[int]
    REUSED_BYTES_FIELD_NUMBER: _ClassVar[int]
    DURATION_FIELD_NUMBER: _ClassVar[int]
    CONNECTIONS_FIELD_NUMBER: _ClassVar[int]
    CUTS_FIELD_NUMBER: _ClassVar[int]
    state_bytes: int
    wire_bytes: int
    reused_bytes: int
    duration: _duration_pb2.Duration
    connections: int
    cuts: int
    def __init__(self, state_bytes: _Optional[int] = ..., wire_bytes: _Optional[int] = ..., reused_bytes: _Optional[int] = ..., duration: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ..., connections: _Optional[int] = ..., cuts: _Optional[int] = ...) -> None: ...

class PullProgress(_message.Message):
    __slots__ = ("migration_id", "job_id", "done_bytes", "total_bytes", "wire_bytes", "rate_bytes_per_s", "left_s")
    MIGRATION_ID_FIELD_NUMBER: _ClassVar[int]
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    DONE_BYTES_FIELD_NUMBER: _ClassVar[int]
    TOTAL_BYTES_FIELD_NUMBER: _ClassVar[int]
    WIRE_BYTES_FIELD_NUMBER: _ClassVar[int]
    RATE_BYTES_PER_S_FIELD_NUMBER: _ClassVar[int]
    LEFT_S_FIELD_NUMBER: _ClassVar[int]
    migration_id: str
    job_id: str
    done_bytes: int
    total_bytes: int
    wire_bytes: int
    rate_bytes_per_s: float
    left_s: float
    def __init__(self, migration_id: _Optional[str] = ..., job_id: _Optional[str] = ..., done_bytes: _Optional[int] = ..., total_bytes: _Optional[int] = ..., wire_bytes: _Optional[int] = ..., rate_bytes_per_s: _Optional[float] = ..., left_s: _Optional[float] = ...) -> None: ...

class EnergyBatch(_message.Message):
    __slots__ = ("spool_id", "sequence", "boot_id", "start", "end", "start_boottime_s", "devices", "shares", "gap_reason", "gap_count")
    SPOOL_ID_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    BOOT_ID_FIELD_NUMBER: _ClassVar[int]
    START_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    START_BOOTTIME_S_FIELD_NUMBER: _ClassVar[int]
    DEVICES_FIELD_NUMBER: _ClassVar[int]
    SHARES_FIELD_NUMBER: _ClassVar[int]
    GAP_REASON_FIELD_NUMBER: _ClassVar[int]
    GAP_COUNT_FIELD_NUMBER: _ClassVar[int]
    spool_id: str
    sequence: int
    boot_id: str
    start: _timestamp_pb2.Timestamp
    end: _timestamp_pb2.Timestamp
    start_boottime_s: float
    devices: _containers.RepeatedCompositeFieldContainer[DeviceEnergy]
    shares: _containers.RepeatedCompositeFieldContainer[EnergyShare]
    gap_reason: str
    gap_count: int
    def __init__(self, spool_id: _Optional[str] = ..., sequence: _Optional[int] = ..., boot_id: _Optional[str] = ..., start: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., end: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., start_boottime_s: _Optional[float] = ..., devices: _Optional[_Iterable[_Union[DeviceEnergy, _Mapping]]] = ..., shares: _Optional[_Iterable[_Union[EnergyShare, _Mapping]]] = ..., gap_reason: _Optional[str] = ..., gap_count: _Optional[int] = ...) -> None: ...

class DeviceEnergy(_message.Message):
    __slots__ = ("device", "source", "scope", "estimated", "energy_j", "min_w", "mean_w", "max_w", "coverage_ratio", "gap_reason")
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    SCOPE_FIELD_NUMBER: _ClassVar[int]
    ESTIMATED_FIELD_NUMBER: _ClassVar[int]
    ENERGY_J_FIELD_NUMBER: _ClassVar[int]
    MIN_W_FIELD_NUMBER: _ClassVar[int]
    MEAN_W_FIELD_NUMBER: _ClassVar[int]
    MAX_W_FIELD_NUMBER: _ClassVar[int]
    COVERAGE_RATIO_FIELD_NUMBER: _ClassVar[int]
    GAP_REASON_FIELD_NUMBER: _ClassVar[int]
    device: str
    source: str
    scope: str
    estimated: bool
    energy_j: float
    min_w: float
    mean_w: float
    max_w: float
    coverage_ratio: float
    gap_reason: str
    def __init__(self, device: _Optional[str] = ..., source: _Optional[str] = ..., scope: _Optional[str] = ..., estimated: bool = ..., energy_j: _Optional[float] = ..., min_w: _Optional[float] = ..., mean_w: _Optional[float] = ..., max_w: _Optional[float] = ..., coverage_ratio: _Optional[float] = ..., gap_reason: _Optional[str] = ...) -> None: ...

class EnergyShare(_message.Message):
    __slots__ = ("device", "job_id", "energy_j", "rule")
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    ENERGY_J_FIELD_NUMBER: _ClassVar[int]
    RULE_FIELD_NUMBER: _ClassVar[int]
    device: str
    job_id: str
    energy_j: float
    rule: str
    def __init__(self, device: _Optional[str] = ..., job_id: _Optional[str] = ..., energy_j: _Optional[float] = ..., rule: _Optional[str] = ...) -> None: ...

class LogPiece(_message.Message):
    __slots__ = ("job_id", "epoch", "attempt", "offset", "data", "stream")
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    STREAM_FIELD_NUMBER: _ClassVar[int]
    job_id: str
    epoch: int
    attempt: int
    offset: int
    data: bytes
    stream: _common_pb2.LogStream
    def __init__(self, job_id: _Optional[str] = ..., epoch: _Optional[int] = ..., attempt: _Optional[int] = ..., offset: _Optional[int] = ..., data: _Optional[bytes] = ..., stream: _Optional[_Union[_common_pb2.LogStream, str]] = ...) -> None: ...

class Acknowledgement(_message.Message):
    __slots__ = ("command_id", "spool_sequence", "log_position", "power_cap_event_id")
    COMMAND_ID_FIELD_NUMBER: _ClassVar[int]
    SPOOL_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    LOG_POSITION_FIELD_NUMBER: _ClassVar[int]
    POWER_CAP_EVENT_ID_FIELD_NUMBER: _ClassVar[int]
    command_id: str
    spool_sequence: int
    log_position: LogPosition
    power_cap_event_id: str
    def __init__(self, command_id: _Optional[str] = ..., spool_sequence: _Optional[int] = ..., log_position: _Optional[_Union[LogPosition, _Mapping]] = ..., power_cap_event_id: _Optional[str] = ...) -> None: ...

class LogPosition(_message.Message):
    __slots__ = ("job_id", "epoch", "attempt", "bytes", "stream")
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    STREAM_FIELD_NUMBER: _ClassVar[int]
    job_id: str
    epoch: int
    attempt: int
    bytes: int
    stream: _common_pb2.LogStream
    def __init__(self, job_id: _Optional[str] = ..., epoch: _Optional[int] = ..., attempt: _Optional[int] = ..., bytes: _Optional[int] = ..., stream: _Optional[_Union[_common_pb2.LogStream, str]] = ...) -> None: ...

class FetchBundleRequest(_message.Message):
    __slots__ = ("job_id",)
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    job_id: str
    def __init__(self, job_id: _Optional[str] = ...) -> None: ...

class FetchBundleResponse(_message.Message):
    __slots__ = ("data",)
    DATA_FIELD_NUMBER: _ClassVar[int]
    data: bytes
    def __init__(self, data: _Optional[bytes] = ...) -> None: ...

class RelayOutputsRequest(_message.Message):
    __slots__ = ("relay_id", "data", "error")
    RELAY_ID_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    relay_id: str
    data: bytes
    error: _common_pb2.Error
    def __init__(self, relay_id: _Optional[str] = ..., data: _Optional[bytes] = ..., error: _Optional[_Union[_common_pb2.Error, _Mapping]] = ...) -> None: ...

class RelayOutputsResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...
