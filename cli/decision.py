"""``heliotrope decision``: why jobs are where they are."""

from __future__ import annotations

import json

import click

from . import client, output
from .client import Operator
from .messages import Record
from .output import Column

_COLUMNS = (
    Column("DECISION"),
    Column("WHEN"),
    Column("JOB"),
    Column("ACTION"),
    Column("BINDING"),
    Column("TIMES", right=True),
    Column("WHY"),
)


@click.group()
def decision() -> None:
    """List decisions and explain one."""


@decision.command("list")
@click.option("--job", "job", default="", metavar="JOB", help="Only about this job.")
@click.option("--limit", "limit_count", type=click.IntRange(1, 10_000), default=100, show_default=True)
@client.options
@output.json_option
def list_(*, operator: Operator, job: str, limit_count: int, as_json: bool) -> None:
    """List decisions, newest first; the same one in a row is one line with a count."""
    found = operator.decisions(job=job, limit_count=limit_count)
    if as_json:
        output.print_json([_object(one) for one in found])
    else:
        output.print_table(_COLUMNS, [_line(one) for one in found], empty="nothing was decided yet")


@decision.command()
@click.argument("id_or_job", metavar="ID|JOB")
@client.options
@output.json_option
def explain(*, operator: Operator, id_or_job: str, as_json: bool) -> None:
    """Explain a decision, or the newest one about a job, with every term of the inequality."""
    found = operator.decision(id_or_job)
    if as_json:
        output.print_json(_object(found))
        return
    click.echo(f"{found['decision_id']}  {output.format_time(found['utc'])}, {_times(found)}")
    for line in found["text"].splitlines():
        click.echo(output.printable(line))
    if found["realised"]:
        click.echo(output.printable(_realised(found["realised"])))


def _realised(one: Record) -> str:
    """What came of it, beside what had been expected when the move began."""
    text = f"realised: {one['migration_id']} ended {one['step']}"
    if one["standstill_s"] is None:
        return text
    expected_s, wire_bytes = one["expected_standstill_s"], one["expected_standstill_wire_bytes"]
    stood = f"standstill {output.format_seconds(one['standstill_s'])}"
    sent = f"{output.format_bytes(one['standstill_wire_bytes'])} sent meanwhile"
    if expected_s is None or wire_bytes is None:
        return f"{text}; {stood}, {sent} (nothing had been expected)"
    return (
        f"{text}; {stood} (expected {output.format_seconds(expected_s)}), "
        f"{sent} (expected {output.format_bytes(wire_bytes)})"
    )


def _object(found: Record) -> Record:
    """With the stored record (docs/decisions.md) as an object instead of as text in ``record_json``."""
    rest = {name: value for name, value in found.items() if name != "record_json"}
    return {**rest, "record": json.loads(found["record_json"]) if found["record_json"] else None}


def _times(found: Record) -> str:
    count = found["repeat_count"]
    return "decided once" if count <= 1 else f"decided {count} times in a row"


def _line(found: Record) -> tuple[str, ...]:
    return (
        found["decision_id"],
        output.format_time(found["utc"]),
        found["job_name"],
        found["action"],
        found["binding"],
        str(found["repeat_count"]),
        found["reason"],
    )
