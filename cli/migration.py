"""``heliotrope migration``: what moves, and how it went."""

from __future__ import annotations

import math

import click

from heliotrope.foundation.errors import HeliotropeError

from . import client, output, waiting
from .client import Operator
from .messages import Record
from .output import Column

_COLUMNS = (
    Column("MIGRATION"),
    Column("JOB"),
    Column("KIND"),
    Column("FROM"),
    Column("TO"),
    Column("STEP"),
    Column("PLANNED"),
    Column("STANDSTILL", right=True),
    Column("STATE", right=True),
    Column("WIRE", right=True),
    Column("CAUSE"),
)


# Of the rounds of pre-copy. EXPECTED: to be sent while the job stands, had it been stopped after that round.
_ROUND_COLUMNS = (
    Column("ROUND", right=True),
    Column("CHECKPOINT"),
    Column("BASE", right=True),
    Column("WIRE", right=True),
    Column("REUSED", right=True),
    Column("TOOK", right=True),
    Column("EXPECTED", right=True),
    Column("AND THEN"),
)


@click.group()
def migration() -> None:
    """List and show migrations: placements, moves, pauses and recoveries."""


@migration.command("list")
@click.option("--job", "job", default="", metavar="JOB", help="Only this job's.")
@click.option("--limit", "limit_count", type=click.IntRange(1, 10_000), default=100, show_default=True)
@client.options
@output.json_option
def list_(*, operator: Operator, job: str, limit_count: int, as_json: bool) -> None:
    """List migrations, newest first."""
    found = operator.migrations(job=job, limit_count=limit_count)
    if as_json:
        output.print_json(found)
    else:
        output.print_table(_COLUMNS, [_line(one) for one in found], empty="no migrations yet")


@migration.command()
@click.argument("migration_id", metavar="MIGRATION")
@click.option("--follow", is_flag=True, help="Print its steps as it enters them, until it ended.")
@client.options
@output.json_option
def show(*, operator: Operator, migration_id: str, follow: bool, as_json: bool) -> None:
    """Show one migration: its steps, bytes and standstill."""
    found = wait_for_migration(operator, migration_id, quiet=as_json) if follow else operator.migration(migration_id)
    if as_json:
        output.print_json(found)
        return
    if not follow:
        _print_steps(found["steps"], 0)
    click.echo()
    output.print_fields(_fields(found))
    if found["rounds"]:
        click.echo()
        output.print_table(_ROUND_COLUMNS, [_round(*one) for one in enumerate(found["rounds"], start=1)], empty="")


def wait_for_migration(operator: Operator, migration_id: str, *, quiet: bool) -> Record:
    """The migration once it ended, each step printed as it is entered unless ``quiet``."""
    printed = 0

    def ended(found: Record) -> bool:
        nonlocal printed
        if not quiet:
            _print_steps(found["steps"], printed)
        printed = len(found["steps"])
        return found["step"] in waiting.MIGRATION_ENDED

    return waiting.until(lambda: operator.migration(migration_id), ended, f"the end of migration {migration_id}")


def check_committed(found: Record) -> None:
    """Raises HeliotropeError saying why a migration did not do what it was for."""
    if found["step"] != "COMMITTED":
        raise HeliotropeError(
            f"cannot move job {found['job_name']} ({found['job_id']}): the migration ended {found['step']}: "
            f"{found['message'] or 'no message'}; see: heliotrope job show {found['job_id']}"
        )


def summary(found: Record) -> str:
    """One line: what moves where, and how long it stood or where to look on."""
    way = f"{found['source_site']} -> {found['destination_site']} (node {found['destination_node']})"
    if found["step"] in waiting.MIGRATION_ENDED:
        tail = f"{found['step']}, standstill {output.format_seconds(found['standstill_s'])}"
    else:
        tail = f"see: heliotrope migration show --follow {found['migration_id']}"
    return output.printable(f"{found['migration_id']}  {found['job_name']}: {way}; {tail}")


def _print_steps(steps: list[Record], first: int) -> None:
    """From the ``first`` on, each with the time that the step before it took."""
    for index, step in enumerate(steps[first:], start=first):
        entered_utc = step["entered_utc"]
        took_s = (entered_utc - steps[index - 1]["entered_utc"]).total_seconds() if index else None
        after = "" if took_s is None else f"+{output.format_seconds(took_s)}"
        line = f"{entered_utc:%Y-%m-%d %H:%M:%S.%f}"[:-3] + f"Z  {after:>13}  {step['step']:<10}  {step['message']}"
        click.echo(output.printable(line.rstrip()))


def _line(found: Record) -> tuple[str, ...]:
    return (
        found["migration_id"],
        found["job_name"],
        found["kind"],
        found["source_site"] or "-",
        found["destination_site"] or "-",
        found["step"],
        output.format_time(found["steps"][0]["entered_utc"]) if found["steps"] else "-",
        "-" if found["standstill_s"] is None else output.format_seconds(found["standstill_s"]),
        output.format_bytes(found["state_bytes"]),
        output.format_bytes(found["wire_bytes"]),
        found["cause"],
    )


def _fields(found: Record) -> list[tuple[str, str]]:
    fields = [
        ("migration", found["migration_id"]),
        ("job", f"{found['job_name']} ({found['job_id']})"),
        ("kind", f"{found['kind']}, cause: {found['cause']}"),
        ("from", _place(found, "source")),
        ("to", _place(found, "destination")),
        ("step", found["step"]),
        ("message", found["message"]),
        ("decision", found["decision_id"]),
        ("state", output.format_bytes(found["state_bytes"])),
        ("sent", f"{output.format_bytes(found['wire_bytes'])}, {_standing(found)} of it while the job stood"),
        ("standstill", _known(found["standstill_s"])),
        ("  network part", _known(found["standstill_network_s"])),
        ("expected", _expected(found["expected"])),
        ("progress", _progress(found)),
    ]
    return [(name, value) for name, value in fields if value]


def _place(found: Record, side: str) -> str:
    node, site = found[f"{side}_node"], found[f"{side}_site"]
    return f"{node} at {site}" if node else site


def _expected(expected: Record | None) -> str:
    """The plan's figures, and how far off those of the job's earlier moves were."""
    if expected is None:
        return ""
    standing = output.format_bytes(expected["standstill_wire_bytes"])
    text = (
        f"{output.format_bytes(expected['wire_bytes'])}, {standing} of it in a standstill of "
        f"{output.format_seconds(expected['standstill_s'])}"
    )
    if not expected["error_count"]:
        return text
    spread = expected["error_spread"]
    within = "" if spread is None else f", spread x{math.exp(spread):.2f}"
    moves = f"{expected['error_count']} earlier move{'s' if expected['error_count'] > 1 else ''}"
    return f"{text} ({moves}: x{math.exp(expected['error_mean']):.2f} of what was expected{within})"


def _round(number: int, one: Record) -> tuple[str, ...]:
    return (
        str(number),
        f"{one['epoch']}.{one['sequence']}",
        "none" if one["base_age_s"] is None else f"{output.format_seconds(one['base_age_s'])} older",
        "-" if one["wire_bytes"] is None else output.format_bytes(one["wire_bytes"]),
        "-" if one["reused_bytes"] is None else output.format_bytes(one["reused_bytes"]),
        "-" if one["duration_s"] is None else output.format_seconds(one["duration_s"]),
        output.format_bytes(one["left_bytes"]),
        one["verdict"],
    )


def _standing(found: Record) -> str:
    return output.format_bytes(found["standstill_wire_bytes"])


def _known(duration_s: float | None) -> str:
    return "" if duration_s is None else output.format_seconds(duration_s)


def _progress(found: Record) -> str:
    if not found["progress_ratio"]:
        return ""
    left = f", {output.format_seconds(found['left_s'])} left" if found["left_s"] is not None else ""
    rate = output.format_bytes(found["rate_bytes_per_s"])
    return f"{output.format_ratio(found['progress_ratio'])} of this transfer at {rate}/s{left}"
