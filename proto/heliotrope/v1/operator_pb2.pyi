from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from heliotrope.v1 import common_pb2 as _common_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class DrainMode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DRAIN_MODE_UNSPECIFIED: _ClassVar[DrainMode]
    DRAIN_MODE_MIGRATE: _ClassVar[DrainMode]
    DRAIN_MODE_STOP: _ClassVar[DrainMode]
    DRAIN_MODE_LEAVE: _ClassVar[DrainMode]
DRAIN_MODE_UNSPECIFIED: DrainMode
DRAIN_MODE_MIGRATE: DrainMode
DRAIN_MODE_STOP: DrainMode
DRAIN_MODE_LEAVE: DrainMode

class Fleet(_message.Message):
    __slots__ = ("utc", "trace_utc", "trace_scale", "sites", "nodes", "jobs", "migrations", "fleet")
    UTC_FIELD_NUMBER: _ClassVar[int]
    TRACE_UTC_FIELD_NUMBER: _ClassVar[int]
    TRACE_SCALE_FIELD_NUMBER: _ClassVar[int]
    SITES_FIELD_NUMBER: _ClassVar[int]
    NODES_FIELD_NUMBER: _ClassVar[int]
    JOBS_FIELD_NUMBER: _ClassVar[int]
    MIGRATIONS_FIELD_NUMBER: _ClassVar[int]
    FLEET_FIELD_NUMBER: _ClassVar[int]
    utc: _timestamp_pb2.Timestamp
    trace_utc: _timestamp_pb2.Timestamp
    trace_scale: float
    sites: _containers.RepeatedCompositeFieldContainer[Site]
    nodes: _containers.RepeatedCompositeFieldContainer[Node]
    jobs: _containers.RepeatedCompositeFieldContainer[Job]
    migrations: _containers.RepeatedCompositeFieldContainer[Migration]
    fleet: str
    def __init__(self, utc: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., trace_utc: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., trace_scale: _Optional[float] = ..., sites: _Optional[_Iterable[_Union[Site, _Mapping]]] = ..., nodes: _Optional[_Iterable[_Union[Node, _Mapping]]] = ..., jobs: _Optional[_Iterable[_Union[Job, _Mapping]]] = ..., migrations: _Optional[_Iterable[_Union[Migration, _Mapping]]] = ..., fleet: _Optional[str] = ...) -> None: ...

class Site(_message.Message):
    __slots__ = ("name", "latitude_deg", "longitude_deg", "intensity_g_per_kwh", "renewable_ratio", "window_remaining", "next_window_in", "window_rule", "links", "pue_ratio", "feeds", "power_limits", "power_limit_w", "demand_failure", "demand_marks", "unknown_because")
    NAME_FIELD_NUMBER: _ClassVar[int]
    LATITUDE_DEG_FIELD_NUMBER: _ClassVar[int]
    LONGITUDE_DEG_FIELD_NUMBER: _ClassVar[int]
    INTENSITY_G_PER_KWH_FIELD_NUMBER: _ClassVar[int]
    RENEWABLE_RATIO_FIELD_NUMBER: _ClassVar[int]
    WINDOW_REMAINING_FIELD_NUMBER: _ClassVar[int]
    NEXT_WINDOW_IN_FIELD_NUMBER: _ClassVar[int]
    WINDOW_RULE_FIELD_NUMBER: _ClassVar[int]
    LINKS_FIELD_NUMBER: _ClassVar[int]
    PUE_RATIO_FIELD_NUMBER: _ClassVar[int]
    FEEDS_FIELD_NUMBER: _ClassVar[int]
    POWER_LIMITS_FIELD_NUMBER: _ClassVar[int]
    POWER_LIMIT_W_FIELD_NUMBER: _ClassVar[int]
    DEMAND_FAILURE_FIELD_NUMBER: _ClassVar[int]
    DEMAND_MARKS_FIELD_NUMBER: _ClassVar[int]
    UNKNOWN_BECAUSE_FIELD_NUMBER: _ClassVar[int]
    name: str
    latitude_deg: float
    longitude_deg: float
    intensity_g_per_kwh: float
    renewable_ratio: float
    window_remaining: _duration_pb2.Duration
    next_window_in: _duration_pb2.Duration
    window_rule: str
    links: _containers.RepeatedCompositeFieldContainer[LinkState]
    pue_ratio: float
    feeds: _containers.RepeatedCompositeFieldContainer[FeedState]
    power_limits: _containers.RepeatedCompositeFieldContainer[SitePowerLimit]
    power_limit_w: float
    demand_failure: str
    demand_marks: _containers.RepeatedScalarFieldContainer[str]
    unknown_because: str
    def __init__(self, name: _Optional[str] = ..., latitude_deg: _Optional[float] = ..., longitude_deg: _Optional[float] = ..., intensity_g_per_kwh: _Optional[float] = ..., renewable_ratio: _Optional[float] = ..., window_remaining: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ..., next_window_in: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ..., window_rule: _Optional[str] = ..., links: _Optional[_Iterable[_Union[LinkState, _Mapping]]] = ..., pue_ratio: _Optional[float] = ..., feeds: _Optional[_Iterable[_Union[FeedState, _Mapping]]] = ..., power_limits: _Optional[_Iterable[_Union[SitePowerLimit, _Mapping]]] = ..., power_limit_w: _Optional[float] = ..., demand_failure: _Optional[str] = ..., demand_marks: _Optional[_Iterable[str]] = ..., unknown_because: _Optional[str] = ...) -> None: ...

class FeedState(_message.Message):
    __slots__ = ("field", "source", "kind", "scope", "unit", "forecast_from", "issued", "fetched", "stale_from", "stale", "estimated_ratio", "marks", "failure", "errors")
    FIELD_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    SCOPE_FIELD_NUMBER: _ClassVar[int]
    UNIT_FIELD_NUMBER: _ClassVar[int]
    FORECAST_FROM_FIELD_NUMBER: _ClassVar[int]
    ISSUED_FIELD_NUMBER: _ClassVar[int]
    FETCHED_FIELD_NUMBER: _ClassVar[int]
    STALE_FROM_FIELD_NUMBER: _ClassVar[int]
    STALE_FIELD_NUMBER: _ClassVar[int]
    ESTIMATED_RATIO_FIELD_NUMBER: _ClassVar[int]
    MARKS_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    ERRORS_FIELD_NUMBER: _ClassVar[int]
    field: str
    source: str
    kind: str
    scope: str
    unit: str
    forecast_from: str
    issued: _timestamp_pb2.Timestamp
    fetched: _timestamp_pb2.Timestamp
    stale_from: _timestamp_pb2.Timestamp
    stale: bool
    estimated_ratio: float
    marks: _containers.RepeatedScalarFieldContainer[str]
    failure: str
    errors: _containers.RepeatedCompositeFieldContainer[ForecastError]
    def __init__(self, field: _Optional[str] = ..., source: _Optional[str] = ..., kind: _Optional[str] = ..., scope: _Optional[str] = ..., unit: _Optional[str] = ..., forecast_from: _Optional[str] = ..., issued: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., fetched: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., stale_from: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., stale: bool = ..., estimated_ratio: _Optional[float] = ..., marks: _Optional[_Iterable[str]] = ..., failure: _Optional[str] = ..., errors: _Optional[_Iterable[_Union[ForecastError, _Mapping]]] = ...) -> None: ...

class ForecastError(_message.Message):
    __slots__ = ("lead", "sample_count", "p10", "p50", "p90")
    LEAD_FIELD_NUMBER: _ClassVar[int]
    SAMPLE_COUNT_FIELD_NUMBER: _ClassVar[int]
    P10_FIELD_NUMBER: _ClassVar[int]
    P50_FIELD_NUMBER: _ClassVar[int]
    P90_FIELD_NUMBER: _ClassVar[int]
    lead: _duration_pb2.Duration
    sample_count: int
    p10: float
    p50: float
    p90: float
    def __init__(self, lead: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ..., sample_count: _Optional[int] = ..., p10: _Optional[float] = ..., p50: _Optional[float] = ..., p90: _Optional[float] = ...) -> None: ...

class SitePowerLimit(_message.Message):
    __slots__ = ("start", "end", "limit_w", "kind", "program", "event")
    START_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    LIMIT_W_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    PROGRAM_FIELD_NUMBER: _ClassVar[int]
    EVENT_FIELD_NUMBER: _ClassVar[int]
    start: _timestamp_pb2.Timestamp
    end: _timestamp_pb2.Timestamp
    limit_w: float
    kind: str
    program: str
    event: str
    def __init__(self, start: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., end: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., limit_w: _Optional[float] = ..., kind: _Optional[str] = ..., program: _Optional[str] = ..., event: _Optional[str] = ...) -> None: ...

class LinkState(_message.Message):
    __slots__ = ("destination_site", "bandwidth_bytes_per_s", "bandwidth_source", "sample_count")
    DESTINATION_SITE_FIELD_NUMBER: _ClassVar[int]
    BANDWIDTH_BYTES_PER_S_FIELD_NUMBER: _ClassVar[int]
    BANDWIDTH_SOURCE_FIELD_NUMBER: _ClassVar[int]
    SAMPLE_COUNT_FIELD_NUMBER: _ClassVar[int]
    destination_site: str
    bandwidth_bytes_per_s: float
    bandwidth_source: str
    sample_count: int
    def __init__(self, destination_site: _Optional[str] = ..., bandwidth_bytes_per_s: _Optional[float] = ..., bandwidth_source: _Optional[str] = ..., sample_count: _Optional[int] = ...) -> None: ...

class Node(_message.Message):
    __slots__ = ("node_id", "site", "connected", "draining", "drain_message", "last_seen", "software", "hostname", "slot_count", "gpu_count", "job_ids", "power_w", "power_estimated", "disk_free_bytes", "fingerprint_parts", "clock_skew_s", "forgotten", "gpu_models", "drain", "power_caps")
    class FingerprintPartsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    SITE_FIELD_NUMBER: _ClassVar[int]
    CONNECTED_FIELD_NUMBER: _ClassVar[int]
    DRAINING_FIELD_NUMBER: _ClassVar[int]
    DRAIN_MESSAGE_FIELD_NUMBER: _ClassVar[int]
    LAST_SEEN_FIELD_NUMBER: _ClassVar[int]
    SOFTWARE_FIELD_NUMBER: _ClassVar[int]
    HOSTNAME_FIELD_NUMBER: _ClassVar[int]
    SLOT_COUNT_FIELD_NUMBER: _ClassVar[int]
    GPU_COUNT_FIELD_NUMBER: _ClassVar[int]
    JOB_IDS_FIELD_NUMBER: _ClassVar[int]
    POWER_W_FIELD_NUMBER: _ClassVar[int]
    POWER_ESTIMATED_FIELD_NUMBER: _ClassVar[int]
    DISK_FREE_BYTES_FIELD_NUMBER: _ClassVar[int]
    FINGERPRINT_PARTS_FIELD_NUMBER: _ClassVar[int]
    CLOCK_SKEW_S_FIELD_NUMBER: _ClassVar[int]
    FORGOTTEN_FIELD_NUMBER: _ClassVar[int]
    GPU_MODELS_FIELD_NUMBER: _ClassVar[int]
    DRAIN_FIELD_NUMBER: _ClassVar[int]
    POWER_CAPS_FIELD_NUMBER: _ClassVar[int]
    node_id: str
    site: str
    connected: bool
    draining: bool
    drain_message: str
    last_seen: _timestamp_pb2.Timestamp
    software: str
    hostname: str
    slot_count: int
    gpu_count: int
    job_ids: _containers.RepeatedScalarFieldContainer[str]
    power_w: float
    power_estimated: bool
    disk_free_bytes: int
    fingerprint_parts: _containers.ScalarMap[str, str]
    clock_skew_s: float
    forgotten: bool
    gpu_models: _containers.RepeatedScalarFieldContainer[str]
    drain: DrainStatus
    power_caps: _containers.RepeatedCompositeFieldContainer[_common_pb2.PowerCap]
    def __init__(self, node_id: _Optional[str] = ..., site: _Optional[str] = ..., connected: bool = ..., draining: bool = ..., drain_message: _Optional[str] = ..., last_seen: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., software: _Optional[str] = ..., hostname: _Optional[str] = ..., slot_count: _Optional[int] = ..., gpu_count: _Optional[int] = ..., job_ids: _Optional[_Iterable[str]] = ..., power_w: _Optional[float] = ..., power_estimated: bool = ..., disk_free_bytes: _Optional[int] = ..., fingerprint_parts: _Optional[_Mapping[str, str]] = ..., clock_skew_s: _Optional[float] = ..., forgotten: bool = ..., gpu_models: _Optional[_Iterable[str]] = ..., drain: _Optional[_Union[DrainStatus, _Mapping]] = ..., power_caps: _Optional[_Iterable[_Union[_common_pb2.PowerCap, _Mapping]]] = ...) -> None: ...

class DrainStatus(_message.Message):
    __slots__ = ("mode", "started", "deadline", "done", "left", "stopped", "deadline_passed")
    MODE_FIELD_NUMBER: _ClassVar[int]
    STARTED_FIELD_NUMBER: _ClassVar[int]
    DEADLINE_FIELD_NUMBER: _ClassVar[int]
    DONE_FIELD_NUMBER: _ClassVar[int]
    LEFT_FIELD_NUMBER: _ClassVar[int]
    STOPPED_FIELD_NUMBER: _ClassVar[int]
    DEADLINE_PASSED_FIELD_NUMBER: _ClassVar[int]
    mode: DrainMode
    started: _timestamp_pb2.Timestamp
    deadline: _timestamp_pb2.Timestamp
    done: _timestamp_pb2.Timestamp
    left: _containers.RepeatedCompositeFieldContainer[DrainJob]
    stopped: _containers.RepeatedCompositeFieldContainer[DrainJob]
    deadline_passed: bool
    def __init__(self, mode: _Optional[_Union[DrainMode, str]] = ..., started: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., deadline: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., done: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., left: _Optional[_Iterable[_Union[DrainJob, _Mapping]]] = ..., stopped: _Optional[_Iterable[_Union[DrainJob, _Mapping]]] = ..., deadline_passed: bool = ...) -> None: ...

class DrainJob(_message.Message):
    __slots__ = ("job_id", "job_name", "state", "binding", "reason", "migration_id", "under_way")
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    JOB_NAME_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    BINDING_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    MIGRATION_ID_FIELD_NUMBER: _ClassVar[int]
    UNDER_WAY_FIELD_NUMBER: _ClassVar[int]
    job_id: str
    job_name: str
    state: _common_pb2.JobState
    binding: str
    reason: str
    migration_id: str
    under_way: bool
    def __init__(self, job_id: _Optional[str] = ..., job_name: _Optional[str] = ..., state: _Optional[_Union[_common_pb2.JobState, str]] = ..., binding: _Optional[str] = ..., reason: _Optional[str] = ..., migration_id: _Optional[str] = ..., under_way: bool = ...) -> None: ...

class Job(_message.Message):
    __slots__ = ("job_id", "spec", "state", "node_id", "site", "epoch", "restart_count", "move_count", "message", "fault", "exit_code", "progress", "checkpoint", "submitted", "started", "ended", "power_w", "wanted", "runs", "replicas", "losses", "drained_from", "waiting", "staged_ahead")
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    SPEC_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    SITE_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    RESTART_COUNT_FIELD_NUMBER: _ClassVar[int]
    MOVE_COUNT_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    FAULT_FIELD_NUMBER: _ClassVar[int]
    EXIT_CODE_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_FIELD_NUMBER: _ClassVar[int]
    SUBMITTED_FIELD_NUMBER: _ClassVar[int]
    STARTED_FIELD_NUMBER: _ClassVar[int]
    ENDED_FIELD_NUMBER: _ClassVar[int]
    POWER_W_FIELD_NUMBER: _ClassVar[int]
    WANTED_FIELD_NUMBER: _ClassVar[int]
    RUNS_FIELD_NUMBER: _ClassVar[int]
    REPLICAS_FIELD_NUMBER: _ClassVar[int]
    LOSSES_FIELD_NUMBER: _ClassVar[int]
    DRAINED_FROM_FIELD_NUMBER: _ClassVar[int]
    WAITING_FIELD_NUMBER: _ClassVar[int]
    STAGED_AHEAD_FIELD_NUMBER: _ClassVar[int]
    job_id: str
    spec: _common_pb2.JobSpec
    state: _common_pb2.JobState
    node_id: str
    site: str
    epoch: int
    restart_count: int
    move_count: int
    message: str
    fault: str
    exit_code: int
    progress: _common_pb2.Progress
    checkpoint: _common_pb2.Checkpoint
    submitted: _timestamp_pb2.Timestamp
    started: _timestamp_pb2.Timestamp
    ended: _timestamp_pb2.Timestamp
    power_w: float
    wanted: str
    runs: _containers.RepeatedCompositeFieldContainer[Run]
    replicas: _containers.RepeatedCompositeFieldContainer[Replica]
    losses: _containers.RepeatedCompositeFieldContainer[Loss]
    drained_from: str
    waiting: Waiting
    staged_ahead: _containers.RepeatedCompositeFieldContainer[StagedAhead]
    def __init__(self, job_id: _Optional[str] = ..., spec: _Optional[_Union[_common_pb2.JobSpec, _Mapping]] = ..., state: _Optional[_Union[_common_pb2.JobState, str]] = ..., node_id: _Optional[str] = ..., site: _Optional[str] = ..., epoch: _Optional[int] = ..., restart_count: _Optional[int] = ..., move_count: _Optional[int] = ..., message: _Optional[str] = ..., fault: _Optional[str] = ..., exit_code: _Optional[int] = ..., progress: _Optional[_Union[_common_pb2.Progress, _Mapping]] = ..., checkpoint: _Optional[_Union[_common_pb2.Checkpoint, _Mapping]] = ..., submitted: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., started: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., ended: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., power_w: _Optional[float] = ..., wanted: _Optional[str] = ..., runs: _Optional[_Iterable[_Union[Run, _Mapping]]] = ..., replicas: _Optional[_Iterable[_Union[Replica, _Mapping]]] = ..., losses: _Optional[_Iterable[_Union[Loss, _Mapping]]] = ..., drained_from: _Optional[str] = ..., waiting: _Optional[_Union[Waiting, _Mapping]] = ..., staged_ahead: _Optional[_Iterable[_Union[StagedAhead, _Mapping]]] = ...) -> None: ...

class Waiting(_message.Message):
    __slots__ = ("decision_id", "decided", "binding", "reason", "sites")
    DECISION_ID_FIELD_NUMBER: _ClassVar[int]
    DECIDED_FIELD_NUMBER: _ClassVar[int]
    BINDING_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    SITES_FIELD_NUMBER: _ClassVar[int]
    decision_id: str
    decided: _timestamp_pb2.Timestamp
    binding: str
    reason: str
    sites: _containers.RepeatedCompositeFieldContainer[SiteVerdict]
    def __init__(self, decision_id: _Optional[str] = ..., decided: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., binding: _Optional[str] = ..., reason: _Optional[str] = ..., sites: _Optional[_Iterable[_Union[SiteVerdict, _Mapping]]] = ...) -> None: ...

class SiteVerdict(_message.Message):
    __slots__ = ("site", "binding", "reason")
    SITE_FIELD_NUMBER: _ClassVar[int]
    BINDING_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    site: str
    binding: str
    reason: str
    def __init__(self, site: _Optional[str] = ..., binding: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class Replica(_message.Message):
    __slots__ = ("node_id", "site", "state", "checkpoint", "verified", "message", "wire_bytes", "reason", "expires")
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    SITE_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_FIELD_NUMBER: _ClassVar[int]
    VERIFIED_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    WIRE_BYTES_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_FIELD_NUMBER: _ClassVar[int]
    node_id: str
    site: str
    state: str
    checkpoint: _common_pb2.Checkpoint
    verified: _timestamp_pb2.Timestamp
    message: str
    wire_bytes: int
    reason: str
    expires: _timestamp_pb2.Timestamp
    def __init__(self, node_id: _Optional[str] = ..., site: _Optional[str] = ..., state: _Optional[str] = ..., checkpoint: _Optional[_Union[_common_pb2.Checkpoint, _Mapping]] = ..., verified: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., message: _Optional[str] = ..., wire_bytes: _Optional[int] = ..., reason: _Optional[str] = ..., expires: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class StagedAhead(_message.Message):
    __slots__ = ("ahead_id", "job_id", "node_id", "site", "source_node", "source_site", "planned", "leave", "reason", "expected_wire_bytes", "wire_bytes", "energy_j", "carbon_g", "unknown_energy_j", "verified", "closed", "outcome", "message", "migration_id")
    AHEAD_ID_FIELD_NUMBER: _ClassVar[int]
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    SITE_FIELD_NUMBER: _ClassVar[int]
    SOURCE_NODE_FIELD_NUMBER: _ClassVar[int]
    SOURCE_SITE_FIELD_NUMBER: _ClassVar[int]
    PLANNED_FIELD_NUMBER: _ClassVar[int]
    LEAVE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_WIRE_BYTES_FIELD_NUMBER: _ClassVar[int]
    WIRE_BYTES_FIELD_NUMBER: _ClassVar[int]
    ENERGY_J_FIELD_NUMBER: _ClassVar[int]
    CARBON_G_FIELD_NUMBER: _ClassVar[int]
    UNKNOWN_ENERGY_J_FIELD_NUMBER: _ClassVar[int]
    VERIFIED_FIELD_NUMBER: _ClassVar[int]
    CLOSED_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    MIGRATION_ID_FIELD_NUMBER: _ClassVar[int]
    ahead_id: str
    job_id: str
    node_id: str
    site: str
    source_node: str
    source_site: str
    planned: _timestamp_pb2.Timestamp
    leave: _timestamp_pb2.Timestamp
    reason: str
    expected_wire_bytes: int
    wire_bytes: int
    energy_j: float
    carbon_g: float
    unknown_energy_j: float
    verified: _timestamp_pb2.Timestamp
    closed: _timestamp_pb2.Timestamp
    outcome: str
    message: str
    migration_id: str
    def __init__(self, ahead_id: _Optional[str] = ..., job_id: _Optional[str] = ..., node_id: _Optional[str] = ..., site: _Optional[str] = ..., source_node: _Optional[str] = ..., source_site: _Optional[str] = ..., planned: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., leave: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., reason: _Optional[str] = ..., expected_wire_bytes: _Optional[int] = ..., wire_bytes: _Optional[int] = ..., energy_j: _Optional[float] = ..., carbon_g: _Optional[float] = ..., unknown_energy_j: _Optional[float] = ..., verified: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., closed: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., outcome: _Optional[str] = ..., message: _Optional[str] = ..., migration_id: _Optional[str] = ...) -> None: ...

class Loss(_message.Message):
    __slots__ = ("job_id", "epoch", "node_id", "site", "cause", "last_seen", "lost", "resumed", "resumed_node", "resumed_epoch", "checkpoint", "last_step", "lost_steps", "lost_work", "outage", "lost_energy_j", "outcome")
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    SITE_FIELD_NUMBER: _ClassVar[int]
    CAUSE_FIELD_NUMBER: _ClassVar[int]
    LAST_SEEN_FIELD_NUMBER: _ClassVar[int]
    LOST_FIELD_NUMBER: _ClassVar[int]
    RESUMED_FIELD_NUMBER: _ClassVar[int]
    RESUMED_NODE_FIELD_NUMBER: _ClassVar[int]
    RESUMED_EPOCH_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_FIELD_NUMBER: _ClassVar[int]
    LAST_STEP_FIELD_NUMBER: _ClassVar[int]
    LOST_STEPS_FIELD_NUMBER: _ClassVar[int]
    LOST_WORK_FIELD_NUMBER: _ClassVar[int]
    OUTAGE_FIELD_NUMBER: _ClassVar[int]
    LOST_ENERGY_J_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    job_id: str
    epoch: int
    node_id: str
    site: str
    cause: str
    last_seen: _timestamp_pb2.Timestamp
    lost: _timestamp_pb2.Timestamp
    resumed: _timestamp_pb2.Timestamp
    resumed_node: str
    resumed_epoch: int
    checkpoint: _common_pb2.Checkpoint
    last_step: int
    lost_steps: int
    lost_work: _duration_pb2.Duration
    outage: _duration_pb2.Duration
    lost_energy_j: float
    outcome: str
    def __init__(self, job_id: _Optional[str] = ..., epoch: _Optional[int] = ..., node_id: _Optional[str] = ..., site: _Optional[str] = ..., cause: _Optional[str] = ..., last_seen: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., lost: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., resumed: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., resumed_node: _Optional[str] = ..., resumed_epoch: _Optional[int] = ..., checkpoint: _Optional[_Union[_common_pb2.Checkpoint, _Mapping]] = ..., last_step: _Optional[int] = ..., lost_steps: _Optional[int] = ..., lost_work: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ..., outage: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ..., lost_energy_j: _Optional[float] = ..., outcome: _Optional[str] = ...) -> None: ...

class Run(_message.Message):
    __slots__ = ("epoch", "node_id", "site", "started", "ended", "end_reason")
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    SITE_FIELD_NUMBER: _ClassVar[int]
    STARTED_FIELD_NUMBER: _ClassVar[int]
    ENDED_FIELD_NUMBER: _ClassVar[int]
    END_REASON_FIELD_NUMBER: _ClassVar[int]
    epoch: int
    node_id: str
    site: str
    started: _timestamp_pb2.Timestamp
    ended: _timestamp_pb2.Timestamp
    end_reason: str
    def __init__(self, epoch: _Optional[int] = ..., node_id: _Optional[str] = ..., site: _Optional[str] = ..., started: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., ended: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., end_reason: _Optional[str] = ...) -> None: ...

class Migration(_message.Message):
    __slots__ = ("migration_id", "kind", "job_id", "job_name", "source_node", "destination_node", "source_site", "destination_site", "step", "epoch", "cause", "decision_id", "message", "steps", "state_bytes", "wire_bytes", "standstill_wire_bytes", "standstill", "standstill_network", "progress_ratio", "rate_bytes_per_s", "left", "rounds", "expected")
    MIGRATION_ID_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    JOB_NAME_FIELD_NUMBER: _ClassVar[int]
    SOURCE_NODE_FIELD_NUMBER: _ClassVar[int]
    DESTINATION_NODE_FIELD_NUMBER: _ClassVar[int]
    SOURCE_SITE_FIELD_NUMBER: _ClassVar[int]
    DESTINATION_SITE_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    CAUSE_FIELD_NUMBER: _ClassVar[int]
    DECISION_ID_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    STEPS_FIELD_NUMBER: _ClassVar[int]
    STATE_BYTES_FIELD_NUMBER: _ClassVar[int]
    WIRE_BYTES_FIELD_NUMBER: _ClassVar[int]
    STANDSTILL_WIRE_BYTES_FIELD_NUMBER: _ClassVar[int]
    STANDSTILL_FIELD_NUMBER: _ClassVar[int]
    STANDSTILL_NETWORK_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_RATIO_FIELD_NUMBER: _ClassVar[int]
    RATE_BYTES_PER_S_FIELD_NUMBER: _ClassVar[int]
    LEFT_FIELD_NUMBER: _ClassVar[int]
    ROUNDS_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_FIELD_NUMBER: _ClassVar[int]
    migration_id: str
    kind: _common_pb2.MigrationKind
    job_id: str
    job_name: str
    source_node: str
    destination_node: str
    source_site: str
    destination_site: str
    step: _common_pb2.MigrationStep
    epoch: int
    cause: str
    decision_id: str
    message: str
    steps: _containers.RepeatedCompositeFieldContainer[StepRecord]
    state_bytes: int
    wire_bytes: int
    standstill_wire_bytes: int
    standstill: _duration_pb2.Duration
    standstill_network: _duration_pb2.Duration
    progress_ratio: float
    rate_bytes_per_s: float
    left: _duration_pb2.Duration
    rounds: _containers.RepeatedCompositeFieldContainer[Round]
    expected: ExpectedMove
    def __init__(self, migration_id: _Optional[str] = ..., kind: _Optional[_Union[_common_pb2.MigrationKind, str]] = ..., job_id: _Optional[str] = ..., job_name: _Optional[str] = ..., source_node: _Optional[str] = ..., destination_node: _Optional[str] = ..., source_site: _Optional[str] = ..., destination_site: _Optional[str] = ..., step: _Optional[_Union[_common_pb2.MigrationStep, str]] = ..., epoch: _Optional[int] = ..., cause: _Optional[str] = ..., decision_id: _Optional[str] = ..., message: _Optional[str] = ..., steps: _Optional[_Iterable[_Union[StepRecord, _Mapping]]] = ..., state_bytes: _Optional[int] = ..., wire_bytes: _Optional[int] = ..., standstill_wire_bytes: _Optional[int] = ..., standstill: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ..., standstill_network: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ..., progress_ratio: _Optional[float] = ..., rate_bytes_per_s: _Optional[float] = ..., left: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ..., rounds: _Optional[_Iterable[_Union[Round, _Mapping]]] = ..., expected: _Optional[_Union[ExpectedMove, _Mapping]] = ...) -> None: ...

class Round(_message.Message):
    __slots__ = ("epoch", "sequence", "state_bytes", "wire_bytes", "reused_bytes", "duration", "base_age", "ended", "left_bytes", "verdict")
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    STATE_BYTES_FIELD_NUMBER: _ClassVar[int]
    WIRE_BYTES_FIELD_NUMBER: _ClassVar[int]
    REUSED_BYTES_FIELD_NUMBER: _ClassVar[int]
    DURATION_FIELD_NUMBER: _ClassVar[int]
    BASE_AGE_FIELD_NUMBER: _ClassVar[int]
    ENDED_FIELD_NUMBER: _ClassVar[int]
    LEFT_BYTES_FIELD_NUMBER: _ClassVar[int]
    VERDICT_FIELD_NUMBER: _ClassVar[int]
    epoch: int
    sequence: int
    state_bytes: int
    wire_bytes: int
    reused_bytes: int
    duration: _duration_pb2.Duration
    base_age: _duration_pb2.Duration
    ended: _timestamp_pb2.Timestamp
    left_bytes: int
    verdict: str
    def __init__(self, epoch: _Optional[int] = ..., sequence: _Optional[int] = ..., state_bytes: _Optional[int] = ..., wire_bytes: _Optional[int] = ..., reused_bytes: _Optional[int] = ..., duration: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ..., base_age: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ..., ended: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., left_bytes: _Optional[int] = ..., verdict: _Optional[str] = ...) -> None: ...

class ExpectedMove(_message.Message):
    __slots__ = ("wire_bytes", "standstill_wire_bytes", "staging", "standstill", "error_count", "error_mean", "error_spread")
    WIRE_BYTES_FIELD_NUMBER: _ClassVar[int]
    STANDSTILL_WIRE_BYTES_FIELD_NUMBER: _ClassVar[int]
    STAGING_FIELD_NUMBER: _ClassVar[int]
    STANDSTILL_FIELD_NUMBER: _ClassVar[int]
    ERROR_COUNT_FIELD_NUMBER: _ClassVar[int]
    ERROR_MEAN_FIELD_NUMBER: _ClassVar[int]
    ERROR_SPREAD_FIELD_NUMBER: _ClassVar[int]
    wire_bytes: int
    standstill_wire_bytes: int
    staging: _duration_pb2.Duration
    standstill: _duration_pb2.Duration
    error_count: int
    error_mean: float
    error_spread: float
    def __init__(self, wire_bytes: _Optional[int] = ..., standstill_wire_bytes: _Optional[int] = ..., staging: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ..., standstill: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ..., error_count: _Optional[int] = ..., error_mean: _Optional[float] = ..., error_spread: _Optional[float] = ...) -> None: ...

class StepRecord(_message.Message):
    __slots__ = ("step", "entered", "message")
    STEP_FIELD_NUMBER: _ClassVar[int]
    ENTERED_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    step: _common_pb2.MigrationStep
    entered: _timestamp_pb2.Timestamp
    message: str
    def __init__(self, step: _Optional[_Union[_common_pb2.MigrationStep, str]] = ..., entered: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., message: _Optional[str] = ...) -> None: ...

class MigrationList(_message.Message):
    __slots__ = ("migrations",)
    MIGRATIONS_FIELD_NUMBER: _ClassVar[int]
    migrations: _containers.RepeatedCompositeFieldContainer[Migration]
    def __init__(self, migrations: _Optional[_Iterable[_Union[Migration, _Mapping]]] = ...) -> None: ...

class Decision(_message.Message):
    __slots__ = ("decision_id", "utc", "job_id", "job_name", "action", "source_site", "destination_site", "binding", "reason", "record_json", "text", "repeat_count", "realised")
    DECISION_ID_FIELD_NUMBER: _ClassVar[int]
    UTC_FIELD_NUMBER: _ClassVar[int]
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    JOB_NAME_FIELD_NUMBER: _ClassVar[int]
    ACTION_FIELD_NUMBER: _ClassVar[int]
    SOURCE_SITE_FIELD_NUMBER: _ClassVar[int]
    DESTINATION_SITE_FIELD_NUMBER: _ClassVar[int]
    BINDING_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    RECORD_JSON_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    REPEAT_COUNT_FIELD_NUMBER: _ClassVar[int]
    REALISED_FIELD_NUMBER: _ClassVar[int]
    decision_id: str
    utc: _timestamp_pb2.Timestamp
    job_id: str
    job_name: str
    action: str
    source_site: str
    destination_site: str
    binding: str
    reason: str
    record_json: str
    text: str
    repeat_count: int
    realised: Realised
    def __init__(self, decision_id: _Optional[str] = ..., utc: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., job_id: _Optional[str] = ..., job_name: _Optional[str] = ..., action: _Optional[str] = ..., source_site: _Optional[str] = ..., destination_site: _Optional[str] = ..., binding: _Optional[str] = ..., reason: _Optional[str] = ..., record_json: _Optional[str] = ..., text: _Optional[str] = ..., repeat_count: _Optional[int] = ..., realised: _Optional[_Union[Realised, _Mapping]] = ...) -> None: ...

class Realised(_message.Message):
    __slots__ = ("migration_id", "step", "expected_standstill", "standstill", "expected_wire_bytes", "wire_bytes", "expected_standstill_wire_bytes", "standstill_wire_bytes")
    MIGRATION_ID_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_STANDSTILL_FIELD_NUMBER: _ClassVar[int]
    STANDSTILL_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_WIRE_BYTES_FIELD_NUMBER: _ClassVar[int]
    WIRE_BYTES_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_STANDSTILL_WIRE_BYTES_FIELD_NUMBER: _ClassVar[int]
    STANDSTILL_WIRE_BYTES_FIELD_NUMBER: _ClassVar[int]
    migration_id: str
    step: str
    expected_standstill: _duration_pb2.Duration
    standstill: _duration_pb2.Duration
    expected_wire_bytes: int
    wire_bytes: int
    expected_standstill_wire_bytes: int
    standstill_wire_bytes: int
    def __init__(self, migration_id: _Optional[str] = ..., step: _Optional[str] = ..., expected_standstill: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ..., standstill: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ..., expected_wire_bytes: _Optional[int] = ..., wire_bytes: _Optional[int] = ..., expected_standstill_wire_bytes: _Optional[int] = ..., standstill_wire_bytes: _Optional[int] = ...) -> None: ...

class DecisionList(_message.Message):
    __slots__ = ("decisions",)
    DECISIONS_FIELD_NUMBER: _ClassVar[int]
    decisions: _containers.RepeatedCompositeFieldContainer[Decision]
    def __init__(self, decisions: _Optional[_Iterable[_Union[Decision, _Mapping]]] = ...) -> None: ...

class Report(_message.Message):
    __slots__ = ("rows", "start", "end", "losses", "points", "point_length", "fleet", "staged_ahead")
    ROWS_FIELD_NUMBER: _ClassVar[int]
    START_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    LOSSES_FIELD_NUMBER: _ClassVar[int]
    POINTS_FIELD_NUMBER: _ClassVar[int]
    POINT_LENGTH_FIELD_NUMBER: _ClassVar[int]
    FLEET_FIELD_NUMBER: _ClassVar[int]
    STAGED_AHEAD_FIELD_NUMBER: _ClassVar[int]
    rows: _containers.RepeatedCompositeFieldContainer[ReportRow]
    start: _timestamp_pb2.Timestamp
    end: _timestamp_pb2.Timestamp
    losses: _containers.RepeatedCompositeFieldContainer[Loss]
    points: _containers.RepeatedCompositeFieldContainer[ReportPoint]
    point_length: _duration_pb2.Duration
    fleet: str
    staged_ahead: _containers.RepeatedCompositeFieldContainer[StagedAhead]
    def __init__(self, rows: _Optional[_Iterable[_Union[ReportRow, _Mapping]]] = ..., start: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., end: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., losses: _Optional[_Iterable[_Union[Loss, _Mapping]]] = ..., points: _Optional[_Iterable[_Union[ReportPoint, _Mapping]]] = ..., point_length: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ..., fleet: _Optional[str] = ..., staged_ahead: _Optional[_Iterable[_Union[StagedAhead, _Mapping]]] = ...) -> None: ...

class ReportPoint(_message.Message):
    __slots__ = ("start", "site", "energy_j", "renewable_energy_j", "unknown_renewable_energy_j", "carbon_g", "unknown_energy_j", "embodied_g", "covered_ratio")
    START_FIELD_NUMBER: _ClassVar[int]
    SITE_FIELD_NUMBER: _ClassVar[int]
    ENERGY_J_FIELD_NUMBER: _ClassVar[int]
    RENEWABLE_ENERGY_J_FIELD_NUMBER: _ClassVar[int]
    UNKNOWN_RENEWABLE_ENERGY_J_FIELD_NUMBER: _ClassVar[int]
    CARBON_G_FIELD_NUMBER: _ClassVar[int]
    UNKNOWN_ENERGY_J_FIELD_NUMBER: _ClassVar[int]
    EMBODIED_G_FIELD_NUMBER: _ClassVar[int]
    COVERED_RATIO_FIELD_NUMBER: _ClassVar[int]
    start: _timestamp_pb2.Timestamp
    site: str
    energy_j: float
    renewable_energy_j: float
    unknown_renewable_energy_j: float
    carbon_g: float
    unknown_energy_j: float
    embodied_g: float
    covered_ratio: float
    def __init__(self, start: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., site: _Optional[str] = ..., energy_j: _Optional[float] = ..., renewable_energy_j: _Optional[float] = ..., unknown_renewable_energy_j: _Optional[float] = ..., carbon_g: _Optional[float] = ..., unknown_energy_j: _Optional[float] = ..., embodied_g: _Optional[float] = ..., covered_ratio: _Optional[float] = ...) -> None: ...

class ReportRow(_message.Message):
    __slots__ = ("kind", "name", "site", "energy_j", "facility_energy_j", "carbon_g", "carbon_static_g", "renewable_energy_j", "unknown_energy_j", "estimated", "coverage_ratio", "runtime", "standstill", "move_count", "state_bytes", "wire_bytes", "step", "sources", "standstill_network", "loss_count", "lost_steps", "lost_work", "outage", "lost_energy_j", "embodied_g", "reserved_s", "unknown_embodied_s", "renewable_ratio", "renewable_hourly_ratio", "unknown_renewable_energy_j", "pue_ratio", "facility_metered_energy_j", "late_energy_j", "open_energy_j", "lost_batch_count", "parameters", "samples", "tokens", "flops", "steps_per_j", "samples_per_j", "tokens_per_j", "flop_per_j", "unknown_static_energy_j", "ahead_count", "ahead_hit_count", "ahead_waste_count", "ahead_wire_bytes", "ahead_wasted_bytes", "ahead_wasted_energy_j", "ahead_wasted_carbon_g")
    KIND_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    SITE_FIELD_NUMBER: _ClassVar[int]
    ENERGY_J_FIELD_NUMBER: _ClassVar[int]
    FACILITY_ENERGY_J_FIELD_NUMBER: _ClassVar[int]
    CARBON_G_FIELD_NUMBER: _ClassVar[int]
    CARBON_STATIC_G_FIELD_NUMBER: _ClassVar[int]
    RENEWABLE_ENERGY_J_FIELD_NUMBER: _ClassVar[int]
    UNKNOWN_ENERGY_J_FIELD_NUMBER: _ClassVar[int]
    ESTIMATED_FIELD_NUMBER: _ClassVar[int]
    COVERAGE_RATIO_FIELD_NUMBER: _ClassVar[int]
    RUNTIME_FIELD_NUMBER: _ClassVar[int]
    STANDSTILL_FIELD_NUMBER: _ClassVar[int]
    MOVE_COUNT_FIELD_NUMBER: _ClassVar[int]
    STATE_BYTES_FIELD_NUMBER: _ClassVar[int]
    WIRE_BYTES_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    SOURCES_FIELD_NUMBER: _ClassVar[int]
    STANDSTILL_NETWORK_FIELD_NUMBER: _ClassVar[int]
    LOSS_COUNT_FIELD_NUMBER: _ClassVar[int]
    LOST_STEPS_FIELD_NUMBER: _ClassVar[int]
    LOST_WORK_FIELD_NUMBER: _ClassVar[int]
    OUTAGE_FIELD_NUMBER: _ClassVar[int]
    LOST_ENERGY_J_FIELD_NUMBER: _ClassVar[int]
    EMBODIED_G_FIELD_NUMBER: _ClassVar[int]
    RESERVED_S_FIELD_NUMBER: _ClassVar[int]
    UNKNOWN_EMBODIED_S_FIELD_NUMBER: _ClassVar[int]
    RENEWABLE_RATIO_FIELD_NUMBER: _ClassVar[int]
    RENEWABLE_HOURLY_RATIO_FIELD_NUMBER: _ClassVar[int]
    UNKNOWN_RENEWABLE_ENERGY_J_FIELD_NUMBER: _ClassVar[int]
    PUE_RATIO_FIELD_NUMBER: _ClassVar[int]
    FACILITY_METERED_ENERGY_J_FIELD_NUMBER: _ClassVar[int]
    LATE_ENERGY_J_FIELD_NUMBER: _ClassVar[int]
    OPEN_ENERGY_J_FIELD_NUMBER: _ClassVar[int]
    LOST_BATCH_COUNT_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    SAMPLES_FIELD_NUMBER: _ClassVar[int]
    TOKENS_FIELD_NUMBER: _ClassVar[int]
    FLOPS_FIELD_NUMBER: _ClassVar[int]
    STEPS_PER_J_FIELD_NUMBER: _ClassVar[int]
    SAMPLES_PER_J_FIELD_NUMBER: _ClassVar[int]
    TOKENS_PER_J_FIELD_NUMBER: _ClassVar[int]
    FLOP_PER_J_FIELD_NUMBER: _ClassVar[int]
    UNKNOWN_STATIC_ENERGY_J_FIELD_NUMBER: _ClassVar[int]
    AHEAD_COUNT_FIELD_NUMBER: _ClassVar[int]
    AHEAD_HIT_COUNT_FIELD_NUMBER: _ClassVar[int]
    AHEAD_WASTE_COUNT_FIELD_NUMBER: _ClassVar[int]
    AHEAD_WIRE_BYTES_FIELD_NUMBER: _ClassVar[int]
    AHEAD_WASTED_BYTES_FIELD_NUMBER: _ClassVar[int]
    AHEAD_WASTED_ENERGY_J_FIELD_NUMBER: _ClassVar[int]
    AHEAD_WASTED_CARBON_G_FIELD_NUMBER: _ClassVar[int]
    kind: str
    name: str
    site: str
    energy_j: float
    facility_energy_j: float
    carbon_g: float
    carbon_static_g: float
    renewable_energy_j: float
    unknown_energy_j: float
    estimated: bool
    coverage_ratio: float
    runtime: _duration_pb2.Duration
    standstill: _duration_pb2.Duration
    move_count: int
    state_bytes: int
    wire_bytes: int
    step: int
    sources: _containers.RepeatedScalarFieldContainer[str]
    standstill_network: _duration_pb2.Duration
    loss_count: int
    lost_steps: int
    lost_work: _duration_pb2.Duration
    outage: _duration_pb2.Duration
    lost_energy_j: float
    embodied_g: float
    reserved_s: float
    unknown_embodied_s: float
    renewable_ratio: float
    renewable_hourly_ratio: float
    unknown_renewable_energy_j: float
    pue_ratio: float
    facility_metered_energy_j: float
    late_energy_j: float
    open_energy_j: float
    lost_batch_count: int
    parameters: int
    samples: int
    tokens: int
    flops: float
    steps_per_j: float
    samples_per_j: float
    tokens_per_j: float
    flop_per_j: float
    unknown_static_energy_j: float
    ahead_count: int
    ahead_hit_count: int
    ahead_waste_count: int
    ahead_wire_bytes: int
    ahead_wasted_bytes: int
    ahead_wasted_energy_j: float
    ahead_wasted_carbon_g: float
    def __init__(self, kind: _Optional[str] = ..., name: _Optional[str] = ..., site: _Optional[str] = ..., energy_j: _Optional[float] = ..., facility_energy_j: _Optional[float] = ..., carbon_g: _Optional[float] = ..., carbon_static_g: _Optional[float] = ..., renewable_energy_j: _Optional[float] = ..., unknown_energy_j: _Optional[float] = ..., estimated: bool = ..., coverage_ratio: _Optional[float] = ..., runtime: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ..., standstill: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ..., move_count: _Optional[int] = ..., state_bytes: _Optional[int] = ..., wire_bytes: _Optional[int] = ..., step: _Optional[int] = ..., sources: _Optional[_Iterable[str]] = ..., standstill_network: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ..., loss_count: _Optional[int] = ..., lost_steps: _Optional[int] = ..., lost_work: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ..., outage: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ..., lost_energy_j: _Optional[float] = ..., embodied_g: _Optional[float] = ..., reserved_s: _Optional[float] = ..., unknown_embodied_s: _Optional[float] = ..., renewable_ratio: _Optional[float] = ..., renewable_hourly_ratio: _Optional[float] = ..., unknown_renewable_energy_j: _Optional[float] = ..., pue_ratio: _Optional[float] = ..., facility_metered_energy_j: _Optional[float] = ..., late_energy_j: _Optional[float] = ..., open_energy_j: _Optional[float] = ..., lost_batch_count: _Optional[int] = ..., parameters: _Optional[int] = ..., samples: _Optional[int] = ..., tokens: _Optional[int] = ..., flops: _Optional[float] = ..., steps_per_j: _Optional[float] = ..., samples_per_j: _Optional[float] = ..., tokens_per_j: _Optional[float] = ..., flop_per_j: _Optional[float] = ..., unknown_static_energy_j: _Optional[float] = ..., ahead_count: _Optional[int] = ..., ahead_hit_count: _Optional[int] = ..., ahead_waste_count: _Optional[int] = ..., ahead_wire_bytes: _Optional[int] = ..., ahead_wasted_bytes: _Optional[int] = ..., ahead_wasted_energy_j: _Optional[float] = ..., ahead_wasted_carbon_g: _Optional[float] = ...) -> None: ...

class LedgerPiece(_message.Message):
    __slots__ = ("lines",)
    LINES_FIELD_NUMBER: _ClassVar[int]
    lines: bytes
    def __init__(self, lines: _Optional[bytes] = ...) -> None: ...

class ExportLedgerRequest(_message.Message):
    __slots__ = ("node_id",)
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    node_id: str
    def __init__(self, node_id: _Optional[str] = ...) -> None: ...

class GetFleetRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class WatchFleetRequest(_message.Message):
    __slots__ = ("interval",)
    INTERVAL_FIELD_NUMBER: _ClassVar[int]
    interval: _duration_pb2.Duration
    def __init__(self, interval: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class SubmitJobRequest(_message.Message):
    __slots__ = ("header", "data")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    header: SubmitJobHeader
    data: bytes
    def __init__(self, header: _Optional[_Union[SubmitJobHeader, _Mapping]] = ..., data: _Optional[bytes] = ...) -> None: ...

class SubmitJobHeader(_message.Message):
    __slots__ = ("request_id", "spec", "bundle")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    SPEC_FIELD_NUMBER: _ClassVar[int]
    BUNDLE_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    spec: _common_pb2.JobSpec
    bundle: _common_pb2.Bundle
    def __init__(self, request_id: _Optional[str] = ..., spec: _Optional[_Union[_common_pb2.JobSpec, _Mapping]] = ..., bundle: _Optional[_Union[_common_pb2.Bundle, _Mapping]] = ...) -> None: ...

class GetJobRequest(_message.Message):
    __slots__ = ("job",)
    JOB_FIELD_NUMBER: _ClassVar[int]
    job: str
    def __init__(self, job: _Optional[str] = ...) -> None: ...

class MoveJobRequest(_message.Message):
    __slots__ = ("request_id", "job", "destination")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    JOB_FIELD_NUMBER: _ClassVar[int]
    DESTINATION_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    job: str
    destination: str
    def __init__(self, request_id: _Optional[str] = ..., job: _Optional[str] = ..., destination: _Optional[str] = ...) -> None: ...

class ChangeJobRequest(_message.Message):
    __slots__ = ("request_id", "job")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    JOB_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    job: str
    def __init__(self, request_id: _Optional[str] = ..., job: _Optional[str] = ...) -> None: ...

class WatchLogsRequest(_message.Message):
    __slots__ = ("job", "follow", "tail_bytes", "offsets")
    JOB_FIELD_NUMBER: _ClassVar[int]
    FOLLOW_FIELD_NUMBER: _ClassVar[int]
    TAIL_BYTES_FIELD_NUMBER: _ClassVar[int]
    OFFSETS_FIELD_NUMBER: _ClassVar[int]
    job: str
    follow: bool
    tail_bytes: int
    offsets: _containers.RepeatedCompositeFieldContainer[LogOffset]
    def __init__(self, job: _Optional[str] = ..., follow: bool = ..., tail_bytes: _Optional[int] = ..., offsets: _Optional[_Iterable[_Union[LogOffset, _Mapping]]] = ...) -> None: ...

class LogOffset(_message.Message):
    __slots__ = ("epoch", "attempt", "stream", "bytes")
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    STREAM_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    epoch: int
    attempt: int
    stream: _common_pb2.LogStream
    bytes: int
    def __init__(self, epoch: _Optional[int] = ..., attempt: _Optional[int] = ..., stream: _Optional[_Union[_common_pb2.LogStream, str]] = ..., bytes: _Optional[int] = ...) -> None: ...

class LogChunk(_message.Message):
    __slots__ = ("epoch", "attempt", "node_id", "data", "stream", "offset", "offsets")
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    STREAM_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    OFFSETS_FIELD_NUMBER: _ClassVar[int]
    epoch: int
    attempt: int
    node_id: str
    data: bytes
    stream: _common_pb2.LogStream
    offset: int
    offsets: _containers.RepeatedCompositeFieldContainer[LogOffset]
    def __init__(self, epoch: _Optional[int] = ..., attempt: _Optional[int] = ..., node_id: _Optional[str] = ..., data: _Optional[bytes] = ..., stream: _Optional[_Union[_common_pb2.LogStream, str]] = ..., offset: _Optional[int] = ..., offsets: _Optional[_Iterable[_Union[LogOffset, _Mapping]]] = ...) -> None: ...

class FetchOutputsRequest(_message.Message):
    __slots__ = ("job", "paths")
    JOB_FIELD_NUMBER: _ClassVar[int]
    PATHS_FIELD_NUMBER: _ClassVar[int]
    job: str
    paths: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, job: _Optional[str] = ..., paths: _Optional[_Iterable[str]] = ...) -> None: ...

class OutputChunk(_message.Message):
    __slots__ = ("data",)
    DATA_FIELD_NUMBER: _ClassVar[int]
    data: bytes
    def __init__(self, data: _Optional[bytes] = ...) -> None: ...

class DrainNodeRequest(_message.Message):
    __slots__ = ("request_id", "node_id", "enable", "message", "mode", "deadline")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    ENABLE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    MODE_FIELD_NUMBER: _ClassVar[int]
    DEADLINE_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    node_id: str
    enable: bool
    message: str
    mode: DrainMode
    deadline: _duration_pb2.Duration
    def __init__(self, request_id: _Optional[str] = ..., node_id: _Optional[str] = ..., enable: bool = ..., message: _Optional[str] = ..., mode: _Optional[_Union[DrainMode, str]] = ..., deadline: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class ForgetNodeRequest(_message.Message):
    __slots__ = ("request_id", "node_id")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    node_id: str
    def __init__(self, request_id: _Optional[str] = ..., node_id: _Optional[str] = ...) -> None: ...

class ReadmitNodeRequest(_message.Message):
    __slots__ = ("request_id", "node_id")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    node_id: str
    def __init__(self, request_id: _Optional[str] = ..., node_id: _Optional[str] = ...) -> None: ...

class CapNodeRequest(_message.Message):
    __slots__ = ("request_id", "node_id", "device", "limit_w", "lifetime", "message")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    LIMIT_W_FIELD_NUMBER: _ClassVar[int]
    LIFETIME_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    node_id: str
    device: str
    limit_w: float
    lifetime: _duration_pb2.Duration
    message: str
    def __init__(self, request_id: _Optional[str] = ..., node_id: _Optional[str] = ..., device: _Optional[str] = ..., limit_w: _Optional[float] = ..., lifetime: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ..., message: _Optional[str] = ...) -> None: ...

class UncapNodeRequest(_message.Message):
    __slots__ = ("request_id", "node_id", "device", "message")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    node_id: str
    device: str
    message: str
    def __init__(self, request_id: _Optional[str] = ..., node_id: _Optional[str] = ..., device: _Optional[str] = ..., message: _Optional[str] = ...) -> None: ...

class ListPowerCapEventsRequest(_message.Message):
    __slots__ = ("node_id", "limit_count")
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    LIMIT_COUNT_FIELD_NUMBER: _ClassVar[int]
    node_id: str
    limit_count: int
    def __init__(self, node_id: _Optional[str] = ..., limit_count: _Optional[int] = ...) -> None: ...

class PowerCapEventList(_message.Message):
    __slots__ = ("events",)
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    events: _containers.RepeatedCompositeFieldContainer[_common_pb2.PowerCapEvent]
    def __init__(self, events: _Optional[_Iterable[_Union[_common_pb2.PowerCapEvent, _Mapping]]] = ...) -> None: ...

class GetMigrationRequest(_message.Message):
    __slots__ = ("migration_id",)
    MIGRATION_ID_FIELD_NUMBER: _ClassVar[int]
    migration_id: str
    def __init__(self, migration_id: _Optional[str] = ...) -> None: ...

class ListMigrationsRequest(_message.Message):
    __slots__ = ("job", "limit_count")
    JOB_FIELD_NUMBER: _ClassVar[int]
    LIMIT_COUNT_FIELD_NUMBER: _ClassVar[int]
    job: str
    limit_count: int
    def __init__(self, job: _Optional[str] = ..., limit_count: _Optional[int] = ...) -> None: ...

class GetDecisionRequest(_message.Message):
    __slots__ = ("decision_id",)
    DECISION_ID_FIELD_NUMBER: _ClassVar[int]
    decision_id: str
    def __init__(self, decision_id: _Optional[str] = ...) -> None: ...

class ListDecisionsRequest(_message.Message):
    __slots__ = ("job", "limit_count")
    JOB_FIELD_NUMBER: _ClassVar[int]
    LIMIT_COUNT_FIELD_NUMBER: _ClassVar[int]
    job: str
    limit_count: int
    def __init__(self, job: _Optional[str] = ..., limit_count: _Optional[int] = ...) -> None: ...

class GetReportRequest(_message.Message):
    __slots__ = ("start", "end", "job", "points")
    START_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    JOB_FIELD_NUMBER: _ClassVar[int]
    POINTS_FIELD_NUMBER: _ClassVar[int]
    start: _timestamp_pb2.Timestamp
    end: _timestamp_pb2.Timestamp
    job: str
    points: bool
    def __init__(self, start: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., end: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., job: _Optional[str] = ..., points: bool = ...) -> None: ...
