from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class JobState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    JOB_STATE_UNSPECIFIED: _ClassVar[JobState]
    JOB_STATE_PENDING: _ClassVar[JobState]
    JOB_STATE_PREPARING: _ClassVar[JobState]
    JOB_STATE_RUNNING: _ClassVar[JobState]
    JOB_STATE_MOVING: _ClassVar[JobState]
    JOB_STATE_PAUSED: _ClassVar[JobState]
    JOB_STATE_RECOVERING: _ClassVar[JobState]
    JOB_STATE_FINISHED: _ClassVar[JobState]
    JOB_STATE_FAILED: _ClassVar[JobState]
    JOB_STATE_LOST: _ClassVar[JobState]

class MigrationKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    MIGRATION_KIND_UNSPECIFIED: _ClassVar[MigrationKind]
    MIGRATION_KIND_PLACE: _ClassVar[MigrationKind]
    MIGRATION_KIND_MOVE: _ClassVar[MigrationKind]
    MIGRATION_KIND_PAUSE: _ClassVar[MigrationKind]
    MIGRATION_KIND_RECOVER: _ClassVar[MigrationKind]

class MigrationStep(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    MIGRATION_STEP_UNSPECIFIED: _ClassVar[MigrationStep]
    MIGRATION_STEP_PLANNED: _ClassVar[MigrationStep]
    MIGRATION_STEP_PREPARING: _ClassVar[MigrationStep]
    MIGRATION_STEP_STAGING: _ClassVar[MigrationStep]
    MIGRATION_STEP_QUIESCING: _ClassVar[MigrationStep]
    MIGRATION_STEP_SENDING: _ClassVar[MigrationStep]
    MIGRATION_STEP_VERIFIED: _ClassVar[MigrationStep]
    MIGRATION_STEP_STARTING: _ClassVar[MigrationStep]
    MIGRATION_STEP_COMMITTED: _ClassVar[MigrationStep]
    MIGRATION_STEP_ABORTING: _ClassVar[MigrationStep]
    MIGRATION_STEP_ABORTED: _ClassVar[MigrationStep]
    MIGRATION_STEP_RECOVERING: _ClassVar[MigrationStep]
    MIGRATION_STEP_RECOVERED: _ClassVar[MigrationStep]
    MIGRATION_STEP_FAILED: _ClassVar[MigrationStep]

class RunState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    RUN_STATE_UNSPECIFIED: _ClassVar[RunState]
    RUN_STATE_STARTING: _ClassVar[RunState]
    RUN_STATE_RUNNING: _ClassVar[RunState]
    RUN_STATE_FINISHED: _ClassVar[RunState]
    RUN_STATE_STOPPED: _ClassVar[RunState]
    RUN_STATE_FAILED: _ClassVar[RunState]
    RUN_STATE_LOST: _ClassVar[RunState]

class LogStream(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    LOG_STREAM_UNSPECIFIED: _ClassVar[LogStream]
    LOG_STREAM_STDOUT: _ClassVar[LogStream]
    LOG_STREAM_STDERR: _ClassVar[LogStream]

class PowerCapEventKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    POWER_CAP_EVENT_KIND_UNSPECIFIED: _ClassVar[PowerCapEventKind]
    POWER_CAP_EVENT_KIND_ORDERED: _ClassVar[PowerCapEventKind]
    POWER_CAP_EVENT_KIND_SET: _ClassVar[PowerCapEventKind]
    POWER_CAP_EVENT_KIND_REFUSED: _ClassVar[PowerCapEventKind]
    POWER_CAP_EVENT_KIND_RELEASE_ORDERED: _ClassVar[PowerCapEventKind]
    POWER_CAP_EVENT_KIND_RELEASED: _ClassVar[PowerCapEventKind]
    POWER_CAP_EVENT_KIND_SUSPENDED: _ClassVar[PowerCapEventKind]
    POWER_CAP_EVENT_KIND_REAPPLIED: _ClassVar[PowerCapEventKind]
    POWER_CAP_EVENT_KIND_RESTORED: _ClassVar[PowerCapEventKind]
    POWER_CAP_EVENT_KIND_OVERTAKEN: _ClassVar[PowerCapEventKind]
    POWER_CAP_EVENT_KIND_GONE: _ClassVar[PowerCapEventKind]
    POWER_CAP_EVENT_KIND_STUCK: _ClassVar[PowerCapEventKind]
JOB_STATE_UNSPECIFIED: JobState
JOB_STATE_PENDING: JobState
JOB_STATE_PREPARING: JobState
JOB_STATE_RUNNING: JobState
JOB_STATE_MOVING: JobState
JOB_STATE_PAUSED: JobState
JOB_STATE_RECOVERING: JobState
JOB_STATE_FINISHED: JobState
JOB_STATE_FAILED: JobState
JOB_STATE_LOST: JobState
MIGRATION_KIND_UNSPECIFIED: MigrationKind
MIGRATION_KIND_PLACE: MigrationKind
MIGRATION_KIND_MOVE: MigrationKind
MIGRATION_KIND_PAUSE: MigrationKind
MIGRATION_KIND_RECOVER: MigrationKind
MIGRATION_STEP_UNSPECIFIED: MigrationStep
MIGRATION_STEP_PLANNED: MigrationStep
MIGRATION_STEP_PREPARING: MigrationStep
MIGRATION_STEP_STAGING: MigrationStep
MIGRATION_STEP_QUIESCING: MigrationStep
MIGRATION_STEP_SENDING: MigrationStep
MIGRATION_STEP_VERIFIED: MigrationStep
MIGRATION_STEP_STARTING: MigrationStep
MIGRATION_STEP_COMMITTED: MigrationStep
MIGRATION_STEP_ABORTING: MigrationStep
MIGRATION_STEP_ABORTED: MigrationStep
MIGRATION_STEP_RECOVERING: MigrationStep
MIGRATION_STEP_RECOVERED: MigrationStep
MIGRATION_STEP_FAILED: MigrationStep
RUN_STATE_UNSPECIFIED: RunState
RUN_STATE_STARTING: RunState
RUN_STATE_RUNNING: RunState
RUN_STATE_FINISHED: RunState
RUN_STATE_STOPPED: RunState
RUN_STATE_FAILED: RunState
RUN_STATE_LOST: RunState
LOG_STREAM_UNSPECIFIED: LogStream
LOG_STREAM_STDOUT: LogStream
LOG_STREAM_STDERR: LogStream
POWER_CAP_EVENT_KIND_UNSPECIFIED: PowerCapEventKind
POWER_CAP_EVENT_KIND_ORDERED: PowerCapEventKind
POWER_CAP_EVENT_KIND_SET: PowerCapEventKind
POWER_CAP_EVENT_KIND_REFUSED: PowerCapEventKind
POWER_CAP_EVENT_KIND_RELEASE_ORDERED: PowerCapEventKind
POWER_CAP_EVENT_KIND_RELEASED: PowerCapEventKind
POWER_CAP_EVENT_KIND_SUSPENDED: PowerCapEventKind
POWER_CAP_EVENT_KIND_REAPPLIED: PowerCapEventKind
POWER_CAP_EVENT_KIND_RESTORED: PowerCapEventKind
POWER_CAP_EVENT_KIND_OVERTAKEN: PowerCapEventKind
POWER_CAP_EVENT_KIND_GONE: PowerCapEventKind
POWER_CAP_EVENT_KIND_STUCK: PowerCapEventKind

class Versions(_message.Message):
    __slots__ = ("protocol", "frame", "codec", "software")
    PROTOCOL_FIELD_NUMBER: _ClassVar[int]
    FRAME_FIELD_NUMBER: _ClassVar[int]
    CODEC_FIELD_NUMBER: _ClassVar[int]
    SOFTWARE_FIELD_NUMBER: _ClassVar[int]
    protocol: _containers.RepeatedScalarFieldContainer[int]
    frame: _containers.RepeatedScalarFieldContainer[int]
    codec: _containers.RepeatedScalarFieldContainer[int]
    software: str
    def __init__(self, protocol: _Optional[_Iterable[int]] = ..., frame: _Optional[_Iterable[int]] = ..., codec: _Optional[_Iterable[int]] = ..., software: _Optional[str] = ...) -> None: ...

class Resources(_message.Message):
    __slots__ = ("gpu_count", "gpu_model", "gpu_memory_bytes", "memory_bytes", "disk_bytes", "cpu_count")
    GPU_COUNT_FIELD_NUMBER: _ClassVar[int]
    GPU_MODEL_FIELD_NUMBER: _ClassVar[int]
    GPU_MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    DISK_BYTES_FIELD_NUMBER: _ClassVar[int]
    CPU_COUNT_FIELD_NUMBER: _ClassVar[int]
    gpu_count: int
    gpu_model: str
    gpu_memory_bytes: int
    memory_bytes: int
    disk_bytes: int
    cpu_count: int
    def __init__(self, gpu_count: _Optional[int] = ..., gpu_model: _Optional[str] = ..., gpu_memory_bytes: _Optional[int] = ..., memory_bytes: _Optional[int] = ..., disk_bytes: _Optional[int] = ..., cpu_count: _Optional[int] = ...) -> None: ...

class CheckpointRules(_message.Message):
    __slots__ = ("directory", "complete", "marker", "request", "signal", "interval", "timeout", "keep_count", "replicate_every", "replicas", "replicate_to")
    DIRECTORY_FIELD_NUMBER: _ClassVar[int]
    COMPLETE_FIELD_NUMBER: _ClassVar[int]
    MARKER_FIELD_NUMBER: _ClassVar[int]
    REQUEST_FIELD_NUMBER: _ClassVar[int]
    SIGNAL_FIELD_NUMBER: _ClassVar[int]
    INTERVAL_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    KEEP_COUNT_FIELD_NUMBER: _ClassVar[int]
    REPLICATE_EVERY_FIELD_NUMBER: _ClassVar[int]
    REPLICAS_FIELD_NUMBER: _ClassVar[int]
    REPLICATE_TO_FIELD_NUMBER: _ClassVar[int]
    directory: str
    complete: str
    marker: str
    request: str
    signal: str
    interval: _duration_pb2.Duration
    timeout: _duration_pb2.Duration
    keep_count: int
    replicate_every: str
    replicas: int
    replicate_to: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, directory: _Optional[str] = ..., complete: _Optional[str] = ..., marker: _Optional[str] = ..., request: _Optional[str] = ..., signal: _Optional[str] = ..., interval: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ..., timeout: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ..., keep_count: _Optional[int] = ..., replicate_every: _Optional[str] = ..., replicas: _Optional[int] = ..., replicate_to: _Optional[_Iterable[str]] = ...) -> None: ...

class Policy(_message.Message):
    __slots__ = ("sites_allowed", "sites_preferred", "sites_forbidden", "movable", "alpha", "deadline", "priority", "same_fingerprint", "disconnect", "lease", "restart_limit", "grace", "on_loss", "stage_ahead", "stage_ahead_bytes_per_day")
    SITES_ALLOWED_FIELD_NUMBER: _ClassVar[int]
    SITES_PREFERRED_FIELD_NUMBER: _ClassVar[int]
    SITES_FORBIDDEN_FIELD_NUMBER: _ClassVar[int]
    MOVABLE_FIELD_NUMBER: _ClassVar[int]
    ALPHA_FIELD_NUMBER: _ClassVar[int]
    DEADLINE_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    SAME_FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    DISCONNECT_FIELD_NUMBER: _ClassVar[int]
    LEASE_FIELD_NUMBER: _ClassVar[int]
    RESTART_LIMIT_FIELD_NUMBER: _ClassVar[int]
    GRACE_FIELD_NUMBER: _ClassVar[int]
    ON_LOSS_FIELD_NUMBER: _ClassVar[int]
    STAGE_AHEAD_FIELD_NUMBER: _ClassVar[int]
    STAGE_AHEAD_BYTES_PER_DAY_FIELD_NUMBER: _ClassVar[int]
    sites_allowed: _containers.RepeatedScalarFieldContainer[str]
    sites_preferred: _containers.RepeatedScalarFieldContainer[str]
    sites_forbidden: _containers.RepeatedScalarFieldContainer[str]
    movable: bool
    alpha: float
    deadline: str
    priority: int
    same_fingerprint: bool
    disconnect: str
    lease: _duration_pb2.Duration
    restart_limit: int
    grace: _duration_pb2.Duration
    on_loss: str
    stage_ahead: str
    stage_ahead_bytes_per_day: int
    def __init__(self, sites_allowed: _Optional[_Iterable[str]] = ..., sites_preferred: _Optional[_Iterable[str]] = ..., sites_forbidden: _Optional[_Iterable[str]] = ..., movable: bool = ..., alpha: _Optional[float] = ..., deadline: _Optional[str] = ..., priority: _Optional[int] = ..., same_fingerprint: bool = ..., disconnect: _Optional[str] = ..., lease: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ..., restart_limit: _Optional[int] = ..., grace: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ..., on_loss: _Optional[str] = ..., stage_ahead: _Optional[str] = ..., stage_ahead_bytes_per_day: _Optional[int] = ...) -> None: ...

class JobSpec(_message.Message):
    __slots__ = ("name", "command", "files", "environment", "prepare", "resources", "checkpoint", "outputs", "policy", "stopped_codes", "user", "requires")
    class EnvironmentEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    NAME_FIELD_NUMBER: _ClassVar[int]
    COMMAND_FIELD_NUMBER: _ClassVar[int]
    FILES_FIELD_NUMBER: _ClassVar[int]
    ENVIRONMENT_FIELD_NUMBER: _ClassVar[int]
    PREPARE_FIELD_NUMBER: _ClassVar[int]
    RESOURCES_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_FIELD_NUMBER: _ClassVar[int]
    OUTPUTS_FIELD_NUMBER: _ClassVar[int]
    POLICY_FIELD_NUMBER: _ClassVar[int]
    STOPPED_CODES_FIELD_NUMBER: _ClassVar[int]
    USER_FIELD_NUMBER: _ClassVar[int]
    REQUIRES_FIELD_NUMBER: _ClassVar[int]
    name: str
    command: _containers.RepeatedScalarFieldContainer[str]
    files: _containers.RepeatedScalarFieldContainer[str]
    environment: _containers.ScalarMap[str, str]
    prepare: _containers.RepeatedScalarFieldContainer[str]
    resources: Resources
    checkpoint: CheckpointRules
    outputs: _containers.RepeatedScalarFieldContainer[str]
    policy: Policy
    stopped_codes: _containers.RepeatedScalarFieldContainer[int]
    user: str
    requires: _containers.RepeatedCompositeFieldContainer[Requirement]
    def __init__(self, name: _Optional[str] = ..., command: _Optional[_Iterable[str]] = ..., files: _Optional[_Iterable[str]] = ..., environment: _Optional[_Mapping[str, str]] = ..., prepare: _Optional[_Iterable[str]] = ..., resources: _Optional[_Union[Resources, _Mapping]] = ..., checkpoint: _Optional[_Union[CheckpointRules, _Mapping]] = ..., outputs: _Optional[_Iterable[str]] = ..., policy: _Optional[_Union[Policy, _Mapping]] = ..., stopped_codes: _Optional[_Iterable[int]] = ..., user: _Optional[str] = ..., requires: _Optional[_Iterable[_Union[Requirement, _Mapping]]] = ...) -> None: ...

class Requirement(_message.Message):
    __slots__ = ("path", "kind")
    PATH_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    path: str
    kind: str
    def __init__(self, path: _Optional[str] = ..., kind: _Optional[str] = ...) -> None: ...

class Bundle(_message.Message):
    __slots__ = ("digest", "size_bytes")
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    digest: bytes
    size_bytes: int
    def __init__(self, digest: _Optional[bytes] = ..., size_bytes: _Optional[int] = ...) -> None: ...

class Checkpoint(_message.Message):
    __slots__ = ("epoch", "sequence", "manifest_digest", "state_bytes", "step", "created", "unchanged_bytes")
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    MANIFEST_DIGEST_FIELD_NUMBER: _ClassVar[int]
    STATE_BYTES_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    CREATED_FIELD_NUMBER: _ClassVar[int]
    UNCHANGED_BYTES_FIELD_NUMBER: _ClassVar[int]
    epoch: int
    sequence: int
    manifest_digest: bytes
    state_bytes: int
    step: int
    created: _timestamp_pb2.Timestamp
    unchanged_bytes: int
    def __init__(self, epoch: _Optional[int] = ..., sequence: _Optional[int] = ..., manifest_digest: _Optional[bytes] = ..., state_bytes: _Optional[int] = ..., step: _Optional[int] = ..., created: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., unchanged_bytes: _Optional[int] = ...) -> None: ...

class Progress(_message.Message):
    __slots__ = ("step", "samples", "tokens", "loss", "flops", "reported", "parameters")
    STEP_FIELD_NUMBER: _ClassVar[int]
    SAMPLES_FIELD_NUMBER: _ClassVar[int]
    TOKENS_FIELD_NUMBER: _ClassVar[int]
    LOSS_FIELD_NUMBER: _ClassVar[int]
    FLOPS_FIELD_NUMBER: _ClassVar[int]
    REPORTED_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    step: int
    samples: int
    tokens: int
    loss: float
    flops: float
    reported: _timestamp_pb2.Timestamp
    parameters: int
    def __init__(self, step: _Optional[int] = ..., samples: _Optional[int] = ..., tokens: _Optional[int] = ..., loss: _Optional[float] = ..., flops: _Optional[float] = ..., reported: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., parameters: _Optional[int] = ...) -> None: ...

class Error(_message.Message):
    __slots__ = ("kind", "message")
    KIND_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    kind: str
    message: str
    def __init__(self, kind: _Optional[str] = ..., message: _Optional[str] = ...) -> None: ...

class PowerCap(_message.Message):
    __slots__ = ("cap_id", "device", "requested_w", "limit_w", "enforced_w", "previous_w", "set", "expires", "operator", "message", "problem")
    CAP_ID_FIELD_NUMBER: _ClassVar[int]
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    REQUESTED_W_FIELD_NUMBER: _ClassVar[int]
    LIMIT_W_FIELD_NUMBER: _ClassVar[int]
    ENFORCED_W_FIELD_NUMBER: _ClassVar[int]
    PREVIOUS_W_FIELD_NUMBER: _ClassVar[int]
    SET_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_FIELD_NUMBER: _ClassVar[int]
    OPERATOR_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    PROBLEM_FIELD_NUMBER: _ClassVar[int]
    cap_id: str
    device: str
    requested_w: float
    limit_w: float
    enforced_w: float
    previous_w: float
    set: _timestamp_pb2.Timestamp
    expires: _timestamp_pb2.Timestamp
    operator: str
    message: str
    problem: str
    def __init__(self, cap_id: _Optional[str] = ..., device: _Optional[str] = ..., requested_w: _Optional[float] = ..., limit_w: _Optional[float] = ..., enforced_w: _Optional[float] = ..., previous_w: _Optional[float] = ..., set: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., expires: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., operator: _Optional[str] = ..., message: _Optional[str] = ..., problem: _Optional[str] = ...) -> None: ...

class PowerCapEvent(_message.Message):
    __slots__ = ("event_id", "cap_id", "device", "kind", "utc", "requested_w", "found_w", "limit_w", "enforced_w", "expires", "operator", "message", "error", "node_id")
    EVENT_ID_FIELD_NUMBER: _ClassVar[int]
    CAP_ID_FIELD_NUMBER: _ClassVar[int]
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    UTC_FIELD_NUMBER: _ClassVar[int]
    REQUESTED_W_FIELD_NUMBER: _ClassVar[int]
    FOUND_W_FIELD_NUMBER: _ClassVar[int]
    LIMIT_W_FIELD_NUMBER: _ClassVar[int]
    ENFORCED_W_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_FIELD_NUMBER: _ClassVar[int]
    OPERATOR_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    event_id: str
    cap_id: str
    device: str
    kind: PowerCapEventKind
    utc: _timestamp_pb2.Timestamp
    requested_w: float
    found_w: float
    limit_w: float
    enforced_w: float
    expires: _timestamp_pb2.Timestamp
    operator: str
    message: str
    error: Error
    node_id: str
    def __init__(self, event_id: _Optional[str] = ..., cap_id: _Optional[str] = ..., device: _Optional[str] = ..., kind: _Optional[_Union[PowerCapEventKind, str]] = ..., utc: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., requested_w: _Optional[float] = ..., found_w: _Optional[float] = ..., limit_w: _Optional[float] = ..., enforced_w: _Optional[float] = ..., expires: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., operator: _Optional[str] = ..., message: _Optional[str] = ..., error: _Optional[_Union[Error, _Mapping]] = ..., node_id: _Optional[str] = ...) -> None: ...
