"""Tables of the ledger. What is closed can only be added to: the database itself refuses to change or delete it."""

from __future__ import annotations

from sqlalchemy import DDL, BigInteger, Boolean, Column, Index, LargeBinary, String, Table, event

from .schema import metadata

# Per spool of a node: up to where its records were taken, and what was skipped below that.
energy_spools = Table(
    "energy_spools",
    metadata,
    Column("node_id", String, primary_key=True),
    Column("spool_id", String, primary_key=True),
    Column("sequence", BigInteger, nullable=False),
    Column("lost_count", BigInteger, nullable=False),
    Column("end_ms", BigInteger, nullable=False),
)

spool_holes = Table(
    "spool_holes",
    metadata,
    Column("node_id", String, primary_key=True),
    Column("spool_id", String, primary_key=True),
    Column("first", BigInteger, primary_key=True),
    Column("last", BigInteger, nullable=False),
)

# Sums of intervals that are not closed yet. By time first: closing looks for the oldest.
open_energy = Table(
    "open_energy",
    metadata,
    Column("start_ms", BigInteger, primary_key=True),
    Column("node_id", String, primary_key=True),
    Column("device", String, primary_key=True),
    Column("job_id", String, primary_key=True),
    Column("source", String, primary_key=True),
    Column("scope", String, primary_key=True),
    Column("site", String, primary_key=True),
    Column("length_ms", BigInteger, nullable=False),
    Column("estimated", Boolean, nullable=False),
    Column("energy_uj", BigInteger, nullable=False),
    Column("covered_us", BigInteger, nullable=False),
    Column("span_us", BigInteger, nullable=False),
    Column("reserved_us", BigInteger, nullable=False),
    Column("opened_ms", BigInteger, nullable=False),
    Column("touched_ms", BigInteger, nullable=False),
)

# The columns are the fields of heliotrope.foundation.ledger.Entry: an entry's text is made from them, so that whatever
# is changed in one of them breaks its hash.
ledger_entries = Table(
    "ledger_entries",
    metadata,
    Column("node_id", String, primary_key=True),
    Column("sequence", BigInteger, primary_key=True),
    Column("version", BigInteger, nullable=False),
    Column("kind", String, nullable=False),
    Column("corrects", BigInteger),
    Column("start_ms", BigInteger, nullable=False),
    Column("length_ms", BigInteger, nullable=False),
    Column("site", String, nullable=False),
    Column("device", String, nullable=False),
    Column("scope", String, nullable=False),
    Column("source", String, nullable=False),
    Column("estimated", Boolean, nullable=False),
    Column("metered", String, nullable=False),
    Column("job_id", String, nullable=False),
    Column("energy_uj", BigInteger, nullable=False),
    Column("covered_us", BigInteger, nullable=False),
    Column("span_us", BigInteger, nullable=False),
    Column("reserved_us", BigInteger, nullable=False),
    Column("pue_ppm", BigInteger),
    Column("intensity_ug_per_kwh", BigInteger),
    Column("renewable_ppm", BigInteger),
    Column("carbon_ng", BigInteger),
    Column("carbon_static_ng", BigInteger),
    Column("renewable_uj", BigInteger),
    Column("embodied_ug_per_h", BigInteger),
    Column("embodied_ng", BigInteger),
    Column("lost_count", BigInteger),
    Column("note", String),
    Column("hash", LargeBinary, nullable=False),
)
Index("ledger_by_start", ledger_entries.c.start_ms, ledger_entries.c.node_id)
Index("ledger_by_job", ledger_entries.c.job_id, ledger_entries.c.start_ms)

ledger_heads = Table(
    "ledger_heads",
    metadata,
    Column("node_id", String, primary_key=True),
    Column("sequence", BigInteger, primary_key=True),
    Column("fleet", String, nullable=False),
    Column("hash", String, nullable=False),
    Column("signed_utc", String, nullable=False),
    Column("signer", String, nullable=False),
    Column("signature", LargeBinary, nullable=False),
)

ledger_signers = Table(
    "ledger_signers",
    metadata,
    Column("serial", String, primary_key=True),
    Column("certificate_pem", String, nullable=False),
)

APPEND_ONLY = (ledger_entries, ledger_heads, ledger_signers)

_SQLITE = (
    "CREATE TRIGGER {table}_no_{low} BEFORE {verb} ON {table} BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
)
_POSTGRESQL_FUNCTION = (
    "CREATE OR REPLACE FUNCTION {table}_append_only() RETURNS trigger LANGUAGE plpgsql AS $$ "
    "BEGIN RAISE EXCEPTION '{table} is append-only'; END $$"
)
_POSTGRESQL_TRIGGER = (
    "CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
    "FOR EACH STATEMENT EXECUTE FUNCTION {table}_append_only()"
)


def _protect(table: Table) -> None:
    """Triggers in the same transaction that makes the table."""
    name = table.name
    for verb in ("UPDATE", "DELETE"):
        ddl = DDL(_SQLITE.format(table=name, verb=verb, low=verb.lower()))  # type: ignore[no-untyped-call]
        event.listen(table, "after_create", ddl.execute_if(dialect="sqlite"))
    for text in (_POSTGRESQL_FUNCTION, _POSTGRESQL_TRIGGER):
        ddl = DDL(text.format(table=name))  # type: ignore[no-untyped-call]
        event.listen(table, "after_create", ddl.execute_if(dialect="postgresql"))


for _table in APPEND_ONLY:
    _protect(_table)
