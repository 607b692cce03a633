"""Tables. Each holds its record as JSON beside the columns that queries and constraints need."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    text,
)

VERSION = 1

metadata = MetaData()

about = Table("about", metadata, Column("key", String, primary_key=True), Column("value", String, nullable=False))

jobs = Table(
    "jobs",
    metadata,
    Column("job_id", String, primary_key=True),
    Column("name", String, nullable=False, index=True),
    Column("ended", Boolean, nullable=False, index=True),
    Column("node_id", String, nullable=False, index=True),
    Column("submitted_utc", String, nullable=False),
    Column("record", LargeBinary, nullable=False),
)

runs = Table(
    "runs",
    metadata,
    Column("job_id", String, primary_key=True),
    Column("epoch", BigInteger, primary_key=True),
    Column("record", LargeBinary, nullable=False),
)

copies = Table(
    "copies",
    metadata,
    Column("job_id", String, primary_key=True),
    Column("node_id", String, primary_key=True),
    Column("epoch", BigInteger, primary_key=True),
    Column("sequence", BigInteger, primary_key=True),
    Column("record", LargeBinary, nullable=False),
)

replicas = Table(
    "replicas",
    metadata,
    Column("job_id", String, primary_key=True),
    Column("node_id", String, primary_key=True),
    Column("record", LargeBinary, nullable=False),
)

staged_ahead = Table(
    "staged_ahead",
    metadata,
    Column("ahead_id", String, primary_key=True),
    Column("job_id", String, nullable=False, index=True),
    Column("planned_utc", String, nullable=False),
    Column("record", LargeBinary, nullable=False),
)

losses = Table(
    "losses",
    metadata,
    Column("job_id", String, primary_key=True),
    Column("epoch", BigInteger, primary_key=True),
    Column("record", LargeBinary, nullable=False),
)

nodes = Table(
    "nodes", metadata, Column("node_id", String, primary_key=True), Column("record", LargeBinary, nullable=False)
)

migrations = Table(
    "migrations",
    metadata,
    Column("migration_id", String, primary_key=True),
    Column("job_id", String, nullable=False, index=True),
    Column("open", Boolean, nullable=False, index=True),
    Column("released", Boolean, nullable=False),
    Column("planned_utc", String, nullable=False),
    Column("record", LargeBinary, nullable=False),
)
# At most one open migration per job: the database itself refuses a second.
Index(
    "one_open_migration",
    migrations.c.job_id,
    unique=True,
    sqlite_where=text("open"),
    postgresql_where=text("open"),
)

commands = Table(
    "commands",
    metadata,
    Column("command_id", String, primary_key=True),
    Column("order_number", Integer, nullable=False),
    Column("node_id", String, nullable=False),
    Column("job_id", String, nullable=False),
    Column("migration_id", String, nullable=False, index=True),
    Column("state", String, nullable=False),
    Column("record", LargeBinary, nullable=False),
)
Index("commands_by_node", commands.c.node_id, commands.c.state)

power_cap_events = Table(
    "power_cap_events",
    metadata,
    Column("node_id", String, primary_key=True),
    Column("event_id", String, primary_key=True),
    Column("cap_id", String, nullable=False, index=True),
    Column("event_number", Integer, nullable=False, index=True),
    Column("record", LargeBinary, nullable=False),
)

decisions = Table(
    "decisions",
    metadata,
    Column("decision_id", String, primary_key=True),
    Column("job_id", String, nullable=False, index=True),
    Column("utc", String, nullable=False, index=True),
    Column("record", LargeBinary, nullable=False),
)

requests = Table(
    "requests",
    metadata,
    Column("caller", String, primary_key=True),
    Column("request_id", String, primary_key=True),
    Column("object_id", String, nullable=False),
    Column("utc", String, nullable=False),
)

# A join token's serial, and what it was used for: the primary key is what makes it good for one key only.
enrolments = Table(
    "enrolments",
    metadata,
    Column("token_serial", String, primary_key=True),
    Column("record", LargeBinary, nullable=False),
)

revocations = Table(
    "revocations",
    metadata,
    Column("subject", String, primary_key=True),
    Column("record", LargeBinary, nullable=False),
)

link_samples = Table(
    "link_samples",
    metadata,
    Column("sample_id", Integer, primary_key=True, autoincrement=True),
    Column("source_site", String, nullable=False),
    Column("destination_site", String, nullable=False),
    Column("utc", String, nullable=False),
    Column("bandwidth_bytes_per_s", Float, nullable=False),
    Column("wire_bytes", BigInteger, nullable=False),
)
Index("samples_by_link", link_samples.c.source_site, link_samples.c.destination_site)

# How wrong a site's live forecasts were: the claims that wait for their hour, and the errors that became of others.
forecast_errors = Table(
    "forecast_errors",
    metadata,
    Column("site", String, primary_key=True),
    Column("series", String, primary_key=True),
    Column("record", LargeBinary, nullable=False),
)
