"""Every metric of the coordinator. docs/metrics.md has the same table, and a test compares them."""

from __future__ import annotations

from heliotrope.foundation import ownfigures
from heliotrope.foundation.metrics import Family, Kind

C, G, H = Kind.COUNTER, Kind.GAUGE, Kind.HISTOGRAM
FAST_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
LONG_S = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 7200.0)
RATIOS = (0.25, 0.5, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0, 5.0, 10.0)

# Events: counted once they are committed, since the coordinator's start.
COMMAND = Family(
    "heliotrope_command_round_trip_seconds",
    H,
    "From an order's commit to that of its result, what the order asked for included.",
    ("order", "result"),
    buckets=LONG_S,
)
MESSAGE = Family(
    "heliotrope_message_seconds",
    H,
    "From a message of an agent to the commit of what it changes.",
    ("kind",),
    buckets=FAST_S,
)
COMMIT = Family(
    "heliotrope_database_commit_seconds",
    H,
    "Commit of a transaction that wrote.",
    buckets=FAST_S,
)
TICK = Family("heliotrope_planner_tick_seconds", H, "A plan, from its snapshot to its last order.", buckets=FAST_S)
DECISIONS = Family(
    "heliotrope_decisions_total",
    C,
    "Decisions about jobs; binding: the constraint that decided, ok for a place or move.",
    ("action", "binding"),
)
MIGRATIONS = Family("heliotrope_migrations_total", C, "Migrations that ended.", ("kind", "result"))
STANDSTILL = Family("heliotrope_standstill_seconds", H, "Standstill of a move, as measured.", buckets=LONG_S)
STANDSTILL_NETWORK = Family(
    "heliotrope_standstill_network_seconds", H, "The part of it from the whole checkpoint to VERIFIED.", buckets=LONG_S
)
STANDSTILL_RATIO = Family(
    "heliotrope_standstill_expected_ratio",
    H,
    "Measured standstill over what was expected when the move was planned.",
    buckets=RATIOS,
)
SITE_ENERGY = Family("heliotrope_site_energy_joules_total", C, "Energy in the ledger, all of its time.", ("site",))
SITE_RENEWABLE = Family("heliotrope_site_renewable_energy_joules_total", C, "Its renewable part.", ("site",))
SITE_UNKNOWN = Family(
    "heliotrope_site_unknown_energy_joules_total", C, "Its part for which no carbon intensity is known.", ("site",)
)
SITE_CARBON = Family("heliotrope_site_carbon_grams_total", C, "CO2 equivalent of it, PUE applied.", ("site",))
SITE_CARBON_UNMOVED = Family(
    "heliotrope_site_carbon_unmoved_grams_total", C, "What it would be had no job left its first site.", ("site",)
)

# State: read when somebody scrapes.
FLEET = Family("heliotrope_fleet_info", G, "Always 1; which fleet this coordinates.", ("fleet",))
NODES = Family("heliotrope_fleet_nodes", G, "Nodes: connected, away, draining, forgotten.", ("site", "state"))
NODE_AGE = Family(
    "heliotrope_fleet_node_heard_age_seconds", G, "Time since a node was heard of; not of forgotten ones.", ("node",)
)
JOBS = Family("heliotrope_fleet_jobs", G, "Jobs that have not ended, by state.", ("state",))
JOBS_ENDED = Family("heliotrope_fleet_jobs_ended", G, "Jobs in the database that have ended.")
UNPLACED = Family(
    "heliotrope_fleet_jobs_unplaced",
    G,
    "Waiting jobs for which the last plan had no place, by the constraint that binds.",
    ("binding",),
)
MIGRATIONS_OPEN = Family("heliotrope_migrations_open", G, "Migrations under way, by their step.", ("step",))
SITE_POWER = Family(
    "heliotrope_site_power_watts",
    G,
    "Power of a site's connected nodes, of those that tell.",
    ("site",),
)
SITE_INTENSITY = Family(
    "heliotrope_site_carbon_intensity_grams_per_joule", G, "Carbon intensity of a site's load now.", ("site",)
)
SITE_RATIO = Family("heliotrope_site_renewable_ratio", G, "Renewable share of a site's load now.", ("site",))
WINDOW_LEFT = Family(
    "heliotrope_site_window_left_seconds", G, "How long a site's renewable window still lasts; 0: none open.", ("site",)
)
WINDOW_NEXT = Family(
    "heliotrope_site_window_next_seconds", G, "Time until a site's next window opens, if one is known.", ("site",)
)
FORECAST_AGE = Family(
    "heliotrope_forecast_age_seconds",
    G,
    "Time since the oldest of a site's feeds was issued; without feeds, since its files were read.",
    ("site",),
)
FORECAST_LEFT = Family(
    "heliotrope_forecast_left_seconds",
    G,
    "Time for which a series still has values; absent for declared figures and what repeats.",
    ("site", "series"),
)
SESSIONS = Family("heliotrope_sessions", G, "Agents with an open session.")
QUEUE = Family("heliotrope_engine_queue", G, "Changes of state that wait for the state thread.")
DATABASE = Family("heliotrope_database_bytes", G, "The database's files.")

EVENTS: tuple[Family, ...] = (
    COMMAND,
    MESSAGE,
    COMMIT,
    TICK,
    DECISIONS,
    MIGRATIONS,
    STANDSTILL,
    STANDSTILL_NETWORK,
    STANDSTILL_RATIO,
    SITE_ENERGY,
    SITE_RENEWABLE,
    SITE_UNKNOWN,
    SITE_CARBON,
    SITE_CARBON_UNMOVED,
)
FAMILIES: tuple[Family, ...] = (
    *ownfigures.FAMILIES,
    *(value for value in globals().values() if isinstance(value, Family)),
)
