"""Every metric of the agent. docs/metrics.md has the same table, and a test compares them."""

from __future__ import annotations

from heliotrope.foundation import ownfigures
from heliotrope.foundation.metrics import Family, Kind

C, G = Kind.COUNTER, Kind.GAUGE
DEVICE = ("device", "source", "scope", "estimated")

NODE = Family("heliotrope_node_info", G, "Always 1; which node this is, by its certificate.", ("fleet", "node", "site"))

DEVICE_ENERGY = Family(
    "heliotrope_device_energy_joules_total",
    C,
    "Energy of a device since the agent's start, booked as its batches close.",
    DEVICE,
    otel="hw.energy",
)
DEVICE_IDLE = Family(
    "heliotrope_device_idle_energy_joules_total", C, "The part of it that no job used or held.", ("device",)
)
DEVICE_UNATTRIBUTED = Family(
    "heliotrope_device_unattributed_energy_joules_total",
    C,
    "The part of it that something used which is none of the node's jobs, or that could not be told.",
    ("device",),
)
DEVICE_POWER = Family(
    "heliotrope_device_power_watts",
    G,
    "Power over about the last second; absent without a live reading.",
    DEVICE,
    otel="hw.power",
)
DEVICE_AGE = Family(
    "heliotrope_device_reading_age_seconds", G, "Time since the device's newest live reading.", ("device",)
)
DEVICE_COVERAGE = Family(
    "heliotrope_device_coverage_ratio", G, "Measured share of the time of the last closed batch.", ("device",)
)
DEVICE_COVERED = Family(
    "heliotrope_device_covered_seconds_total", C, "Time that was measured, of closed batches.", ("device",)
)
DEVICE_GAP = Family(
    "heliotrope_device_gap_seconds_total", C, "Time that was not measured, of closed batches.", ("device",)
)
DEVICE_GAPS = Family(
    "heliotrope_device_gaps_total", C, "Gaps: runs of batches of which less than 95 % was measured.", ("device",)
)
SOURCE_UP = Family(
    "heliotrope_power_source_up", G, "1 while every device of the source has a fresh reading, else 0.", ("source",)
)
SENSOR_RESTARTS = Family(
    "heliotrope_power_sensor_restarts_total", C, "How often the sensor process failed and was started anew."
)
SENSOR_PROBLEMS = Family(
    "heliotrope_power_problems", G, "What keeps sensors from working, as `heliotrope doctor` tells in words."
)
BATCHES = Family("heliotrope_power_batches_total", C, "Closed batches of energy.")

JOB_ENERGY = Family(
    "heliotrope_job_energy_joules_total",
    C,
    "Energy attributed to a job, by the rule that found its share; rule holder: it held the device and did not use it.",
    ("job_id", "device", "rule"),
)
JOB_POWER = Family("heliotrope_job_power_watts", G, "Power attributed to a job now.", ("job_id",))
JOB_INFO = Family("heliotrope_job_info", G, "Always 1; the job's name in its file.", ("job_id", "name"))
JOB_STATE = Family(
    "heliotrope_job_state",
    G,
    "1 for the state of the job's run; absent 15 minutes after its end.",
    ("job_id", "state"),
)
JOB_STEP = Family("heliotrope_job_steps", G, "The step that the job reported last.", ("job_id",))
JOB_CHECKPOINT_AGE = Family(
    "heliotrope_job_checkpoint_age_seconds", G, "Time since the newest whole checkpoint here was made.", ("job_id",)
)
JOB_LEASE = Family(
    "heliotrope_job_lease_left_seconds",
    G,
    "Time until the job's lease ends; absent for disconnect = keep.",
    ("job_id",),
)
JOB_LEASE_LENGTH = Family(
    "heliotrope_job_lease_seconds", G, "The whole lease, which each answered heartbeat grants anew.", ("job_id",)
)
JOBS = Family("heliotrope_jobs", G, "Jobs held, by the state of their run; HELD: files or copies only.", ("state",))

CAP = Family("heliotrope_power_cap_watts", G, "Power limit that was ordered for a device.", ("device",))
CAP_LIMIT = Family(
    "heliotrope_power_limit_watts",
    G,
    "Limit that a capped device obeys, as read back.",
    ("device",),
)
CAP_LEFT = Family("heliotrope_power_cap_left_seconds", G, "Time until the cap ends by itself.", ("device",))
CAP_PROBLEM = Family("heliotrope_power_cap_problem", G, "1 while a cap is not as it should be.", ("device",))

RECEIVED_WIRE = Family(
    "heliotrope_transfer_received_wire_bytes_total",
    C,
    "Bytes on the wire of what this node fetched, both directions and every attempt.",
)
RECEIVED_STATE = Family(
    "heliotrope_transfer_received_state_bytes_total",
    C,
    "State of checkpoints fetched: fetched over the wire, reused (was here), resumed (of a cut fetch).",
    ("way",),
)
RECEIVED_TIME = Family("heliotrope_transfer_network_seconds_total", C, "Time of finished fetches on the network.")
RECEIVED = Family("heliotrope_transfers_received_total", C, "Ended fetches: done or failed.", ("result",))
SENT = Family("heliotrope_transfer_sent_bytes_total", C, "Bytes of chunks sent to peers, as tickets count them.")
ACTIVE = Family("heliotrope_transfers_active", G, "Checkpoints on their way now.", ("direction",))
JOB_TRANSFER_DONE = Family(
    "heliotrope_job_transfer_done_bytes", G, "State of the job's running fetch that is here.", ("job_id",)
)
JOB_TRANSFER_TOTAL = Family("heliotrope_job_transfer_size_bytes", G, "State of the job's running fetch.", ("job_id",))
JOB_TRANSFER_RATE = Family(
    "heliotrope_job_transfer_rate_bytes_per_second", G, "Rate of the job's running fetch on the wire.", ("job_id",)
)
JOB_TRANSFER_RATIO = Family(
    "heliotrope_job_transfer_ratio", G, "State bytes per byte on the wire of the job's running fetch.", ("job_id",)
)

SPOOL_SIZE = Family("heliotrope_spool_bytes", G, "Energy records on disk until the coordinator has them.")
SPOOL_QUOTA = Family("heliotrope_spool_quota_bytes", G, "What they may take; the oldest are dropped beyond it.")
SPOOL_WAITING = Family("heliotrope_spool_waiting", G, "Energy records that are not acknowledged.")
SPOOL_AGE = Family("heliotrope_spool_age_seconds", G, "Age of the oldest of them; absent when none waits.")
SPOOL_LOST = Family("heliotrope_spool_lost_total", C, "Energy records that were lost since the start.", ("reason",))

SESSION = Family("heliotrope_session_connected", G, "1 while the agent has a session with its coordinator, else 0.")
SESSION_AGE = Family("heliotrope_session_heard_age_seconds", G, "Time since the coordinator's last message.")
STORE = Family("heliotrope_store_bytes", G, "Chunks of checkpoints in the store.")

OWN_CPU = Family(
    "heliotrope_own_cpu_seconds_total",
    C,
    "Processor time of the agent and of its helpers (sensor, drivers); supervisors and jobs are not among them.",
    ("process",),
    otel="process.cpu.time",
)

FAMILIES: tuple[Family, ...] = (
    *ownfigures.FAMILIES,
    *(value for value in globals().values() if isinstance(value, Family)),
)
