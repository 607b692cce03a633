"""The agent's configuration file."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from heliotrope.foundation.jobspec import Count, NotNegative, Positive, Strict
from heliotrope.foundation.metricsconfig import MetricsConfig

from .power.config import PowerConfig
from .transfer.schedule import RateSchedule, rate_schedule


class RateWindow(Strict, rename={"begin": "from", "end": "to"}):
    """A time of day with a limit of its own (agent/transfer/schedule.py)."""

    begin: str  # "08:00", on the wall clock of the node's time_zone
    end: str  # before begin: on the next day
    rate_limit_bytes_per_s: Count  # 0: none
    days: tuple[str, ...] = ()  # mon, tue, ...; empty: every day


class TransferConfig(Strict):
    """The data path between agents."""

    listen: str = "0.0.0.0:7443"
    advertise: tuple[
        str, ...
    ] = ()  # host:port that other agents can dial, best first; empty: this host's name and port
    memory_bytes: Positive = 256 * 1024**2
    rate_limit_bytes_per_s: Count = 0  # of all it sends, and of all it receives, outside of the schedule; 0: none
    time_zone: str = "UTC"  # of the schedule, as the IANA database names it
    schedule: tuple[RateWindow, ...] = ()
    standstill_exempt: bool = False  # a job that stands waits for no limit here; both nodes of a move have to say so
    connections: Count = 0  # 0: adapted to the link
    # Of what this node sends; empty: the host's own. "bbr" takes losses for what they mostly are on long links: noise.
    congestion: Annotated[str, Meta(pattern="^[a-z0-9_]{0,15}$")] = ""
    give_up_s: Positive = 120.0  # how long a cut transfer is retried before the step fails

    def __post_init__(self) -> None:
        self.rates()

    def rates(self) -> RateSchedule:
        """Raises InvalidInput naming the entry."""
        return rate_schedule("transfer", self.rate_limit_bytes_per_s, self.time_zone, self.schedule)


class JobsConfig(Strict):
    """What the node lets jobs do."""

    slot_count: Annotated[int, Meta(ge=0)] = 1  # jobs without a GPU that may run at once
    user: str = ""  # local account of jobs whose file names none, where there is no users_pool
    users_pool: tuple[str, ...] = ()  # local accounts of which each job whose file names none has one for itself
    users_allowed: tuple[str, ...] = ()
    allow_same_user: bool = False  # jobs may run as the agent's own user: for a demonstration, never in production
    launcher: Literal["auto", "systemd", "detached"] = (
        "auto"  # what starts jobs; auto: systemd where it started the agent
    )
    task_count_limit: Count = 16_384  # processes and threads of one job (without systemd: of its account); 0: no limit
    limits_poll_s: Positive = 10.0  # how often the disk that a job takes is measured (without systemd its memory too)
    devices: tuple[str, ...] = ()  # what jobs may open besides their GPUs there, as DeviceAllow= names it: "/dev/fuse"
    # All that jobs may require here, with what lies below; empty: each path is looked for.
    mounts: tuple[Annotated[str, Meta(pattern="^/")], ...] = ()
    poll_s: Positive = 0.5  # how often running jobs and their checkpoint folders are looked at


class StoreConfig(Strict):
    """Disk for checkpoints."""

    quota_bytes: Positive = 1024**4
    reserve_bytes: Count = 1024**3  # kept free on the disk: a full disk stops more than one job
    scrub_period_s: NotNegative = 7 * 86_400.0  # how often each checkpoint is read back from disk; 0: never
    scrub_rate_bytes_per_s: Count = 20_000_000  # how fast, for the jobs' own reading goes first; 0: no limit


class AgentConfig(Strict):
    """Everything ``heliotrope agent --config FILE`` reads. Relative paths are relative to the file."""

    coordinator: str  # host:port
    identity: str
    state_dir: str
    site: str
    transfer: TransferConfig = TransferConfig()
    jobs: JobsConfig = JobsConfig()
    store: StoreConfig = StoreConfig()
    power: PowerConfig = PowerConfig()
    metrics: MetricsConfig = MetricsConfig()
    spool_quota_bytes: Positive = 512 * 1024**2
    reconnect_s: NotNegative = 1.0
