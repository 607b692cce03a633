"""The coordinator's configuration file."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from heliotrope.foundation.jobspec import Count, NotNegative, Positive, Strict
from heliotrope.foundation.metricsconfig import MetricsConfig

from .forecasts.siteconfig import Share, SiteConfig

Turns = Annotated[int, Meta(ge=1)]


class LinkConfig(Strict):
    """What is declared of a direction between two sites; measured transfers replace the rate after five samples."""

    source: str
    destination: str
    bandwidth_bytes_per_s: Positive
    latency_s: NotNegative = 0.0
    energy_j_per_byte: NotNegative = 0.0
    both_ways: bool = True


class TraceClockConfig(Strict):
    """Only for demonstrations and tests on recorded series: trace time may start elsewhere and run faster."""

    start: str = ""  # RFC 3339 with zone; empty: trace time is real time
    scale: Positive = 1.0


class PlannerConfig(Strict):
    """How often and how boldly jobs are moved."""

    enabled: bool = True
    interval_s: Positive = 10.0
    dwell_s: NotNegative = 900.0
    default_bandwidth_bytes_per_s: Positive = 12_500_000.0  # 100 Mbit/s, for links that nobody declared
    default_energy_j_per_byte: NotNegative = 3.6e-5  # 0.01 kWh/GB: docs/decisions.md has the source
    assumed_save_s: NotNegative = 5.0  # until a job was stopped and started once, and its own figures are known
    assumed_load_s: NotNegative = 10.0
    drain_transfers_per_link: Turns = 2  # jobs of drained nodes on their way at once, per direction
    placement_backoff_s: NotNegative = 60.0  # after a failed move or placement, before the same pair is tried again


class SagaConfig(Strict):
    """Deadlines of the steps of a move, and how long the source keeps its copy."""

    prepare_timeout_s: Positive = 900.0
    staging_timeout_s: Positive = 86_400.0
    sending_timeout_s: Positive = 86_400.0
    starting_timeout_s: Positive = 600.0
    abort_timeout_s: Positive = 600.0
    retention_s: NotNegative = 300.0
    finished_retention_s: NotNegative = 7 * 86_400.0  # outputs of an ended job stay at its last node for this long
    lease_margin_s: NotNegative = 30.0
    settle_s: NotNegative = 120.0  # after a start: how long known nodes are waited for before jobs are started


class ReplicationConfig(Strict):
    """Copies of running jobs' checkpoints at other nodes (checkpoint.replicate_every of a job file)."""

    rate_limit_bytes_per_s: Count = 0  # of each transfer; 0: the node's own limit
    timeout_s: Positive = 86_400.0
    retry_s: Positive = 60.0  # after a failure, doubled up to the job's own interval
    away_s: Positive = 600.0  # a node that is away for longer is replaced as a holder of replicas


class StageAheadConfig(Strict):
    """Staging ahead: the base of a job that will likely move soon goes to its likeliest next site before the move is
    decided (docs/decisions.md). ``jobs``: "asking" those whose job file says stage_ahead = "on", "all" but those that
    say "off", or "none"."""

    jobs: Literal["none", "asking", "all"] = "asking"
    sites: tuple[str, ...] = ()  # that take such copies; empty: all
    within_s: Positive = 3600.0  # the job is expected to move within this time
    keep_s: Positive = 1800.0  # how long after that moment the move is waited for before the copy is dropped
    bytes_per_day: Count = 100_000_000_000  # on the wire, of each job, in any 24 hours; a job file may say another
    rate_limit_bytes_per_s: Count = 0  # while the source's window is closed; 0: nothing is sent then
    least_share_ratio: Share = 0.5  # of the moments looked at, after which the job would go to that site
    least_saved_ratio: Share = 0.25  # of a full copy, that the move then does not send
    interval_s: Positive = 60.0


class LedgerConfig(Strict):
    """How finely energy is kept, and when the books of an interval are closed (docs/ledger.md)."""

    interval_s: Positive = 300.0
    grace_s: NotNegative = 60.0  # after an interval's end, and after its newest batch: what comes later corrects it
    sign_every_s: Positive = 3600.0  # how often chains that grew get a signed head


class EmbodiedConfig(Strict):
    """What making a kind of device emitted, and how long it serves. The first table that fits a device counts.

    ``device`` is compared with the GPU's model and with the device's name in the ledger; it and the other two may hold
    ``*`` and ``?``. ``source`` is where the figure is from: without it nobody can check a report.
    """

    device: Annotated[str, Meta(min_length=1)]
    embodied_kg: NotNegative
    lifetime_years: Positive
    source: Annotated[str, Meta(min_length=1)]
    sites: tuple[str, ...] = ("*",)
    nodes: tuple[str, ...] = ("*",)


class EnrolmentConfig(Strict):
    """Joining and renewal of certificates; without an authority they are issued and copied by hand."""

    authority: str = ""  # the folder of the fleet's authority, as `heliotrope ca init` makes it
    certificate_s: Positive = 365 * 86_400.0  # life of a certificate; a third of it is the outage that renewal survives


class CoordinatorConfig(Strict):
    """Everything ``heliotrope coordinator --config FILE`` reads. Relative paths are relative to the file."""

    identity: str
    state_dir: str
    listen: str = "0.0.0.0:7440"
    heartbeat_interval_s: Positive = 10.0  # a session that is silent for four of them is over
    sites: tuple[SiteConfig, ...] = ()
    links: tuple[LinkConfig, ...] = ()
    trace: TraceClockConfig = TraceClockConfig()
    planner: PlannerConfig = PlannerConfig()
    saga: SagaConfig = SagaConfig()
    replication: ReplicationConfig = ReplicationConfig()
    stage_ahead: StageAheadConfig = StageAheadConfig()
    ledger: LedgerConfig = LedgerConfig()
    embodied: tuple[EmbodiedConfig, ...] = ()
    enrolment: EnrolmentConfig = EnrolmentConfig()
    metrics: MetricsConfig = MetricsConfig()
    bundle_limit_bytes: Count = 4 * 1024**3
    log_limit_bytes: Count = 256 * 1024**2  # per job
