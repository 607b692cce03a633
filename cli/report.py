"""``heliotrope report``: energy, carbon and standstill per job, node and site."""

from __future__ import annotations

import csv
import sys
from datetime import datetime

import click

from heliotrope.foundation.errors import InvalidInput

from . import client, output
from .aheadtables import print_ahead, print_sums
from .client import Operator
from .jobtables import print_losses
from .messages import Record
from .output import Column

_ENERGY = (
    Column("ENERGY", right=True),
    Column("WITH PUE", right=True),
    Column("CARBON", right=True),
    Column("NEVER MOVED", right=True),
    Column("RENEWABLE", right=True),
    Column("COVERED", right=True),
)
_JOB = (
    Column("RUNTIME", right=True),
    Column("MOVES", right=True),
    Column("STANDSTILL", right=True),
    Column("NETWORK PART", right=True),
    Column("STATE", right=True),
    Column("WIRE", right=True),
    Column("STEP", right=True),
)
_TABLES = (
    ("job", "jobs", (Column("JOB"), Column("NAME"), *_ENERGY, *_JOB)),
    ("job_site", "jobs at sites", (Column("JOB"), Column("NAME"), Column("SITE"), *_ENERGY)),
    ("node", "nodes", (Column("NODE"), Column("SITE"), *_ENERGY)),
    ("site", "sites", (Column("SITE"), *_ENERGY)),
)


@click.command()
@click.option("--job", "job", default="", metavar="JOB", help="Only this job.")
@click.option("--since", metavar="TIME", help="From this moment on, e.g. 2026-06-21T06:00:00Z.")
@click.option("--until", metavar="TIME", help="Before this moment.")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV: one line per row of the report (see docs/cli.md).")
@client.options
@output.json_option
def report(*, operator: Operator, job: str, since: str | None, until: str | None, as_csv: bool, as_json: bool) -> None:
    """Report energy and carbon, per job, job and site, node and site."""
    if as_csv and as_json:
        raise InvalidInput("field --csv: it excludes --json; choose one of them")
    start, end = _moment("--since", since), _moment("--until", until)
    if start is not None and end is not None and start >= end:
        raise InvalidInput(f"field --until: {until} is not after --since {since}; correct one of them")
    found = operator.report(job=job, since=start, until=end)
    if as_json:
        output.print_json(found)
    elif as_csv:
        _print_csv(found["rows"])
    else:
        names = {one["job_id"]: one["spec"]["name"] for one in operator.fleet()["jobs"]}
        _print_tables(found, names)


def _moment(option: str, text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise InvalidInput(f"field {option}: {text!r} is not RFC 3339; write 2026-06-21T06:00:00Z") from error
    if moment.tzinfo is None:
        raise InvalidInput(f"field {option}: {text!r} has no time zone; append Z for UTC")
    return moment


def _print_tables(found: Record, names: dict[str, str]) -> None:
    since = output.format_time(found["start_utc"]) if found["start_utc"] else "the beginning"
    click.echo(f"from {since} to {output.format_time(found['end_utc'])}")
    for kind, title, columns in _TABLES:
        rows = [row for row in found["rows"] if row["kind"] == kind]
        if rows:
            click.echo(f"\n{title}")
            output.print_table(columns, [_line(row, names) for row in rows])
    if found["losses"]:
        click.echo("\nlost with their nodes")
        print_losses(found["losses"], names)
    if found["staged_ahead"]:
        click.echo("\nstaged ahead")
        print_ahead(found["staged_ahead"], names)
        print_sums(found["staged_ahead"])
    if not found["rows"]:
        click.echo("\nno energy was booked and no job submitted")
    for note in _notes(found["rows"]):
        click.echo(f"\n{note}")


def _notes(rows: list[Record]) -> list[str]:
    notes = []
    if any(row["estimated"] for row in rows):
        notes.append("~ contains estimates by a model, not only measurements")
    if any(row["unknown_energy_j"] > 0 for row in rows):
        notes.append("? contains energy of unknown carbon intensity, which is in no carbon figure")
    return notes


def _line(row: Record, names: dict[str, str]) -> tuple[str, ...]:
    label = {"job": (names.get(row["name"], "-"),), "job_site": (names.get(row["name"], "-"), row["site"])}
    first = (row["name"], *label.get(row["kind"], (row["site"],) if row["kind"] == "node" else ()))
    cells = (*first, *_energy(row))
    return (*cells, *_job(row)) if row["kind"] == "job" else cells


def _energy(row: Record) -> tuple[str, ...]:
    if not row["energy_j"] and not row["sources"]:
        return (output.UNKNOWN,) * len(_ENERGY)  # nothing was booked: that is not zero
    about = "~" if row["estimated"] else ""
    partly = " ?" if row["unknown_energy_j"] > 0 else ""
    share = row["renewable_energy_j"] / row["energy_j"] if row["energy_j"] else None
    return (
        about + output.format_energy(row["energy_j"]),
        about + output.format_energy(row["facility_energy_j"]),
        about + output.format_carbon(row["carbon_g"]) + partly,
        about + output.format_carbon(row["carbon_static_g"]) + partly,
        output.format_ratio(share),
        output.format_ratio(row["coverage_ratio"]),
    )


def _job(row: Record) -> tuple[str, ...]:
    return (
        output.format_seconds(row["runtime_s"]),
        str(row["move_count"]),
        output.format_seconds(row["standstill_s"]),
        output.format_seconds(row["standstill_network_s"]),
        output.format_bytes(row["state_bytes"]),
        output.format_bytes(row["wire_bytes"]),
        str(row["step"]),
    )


def _print_csv(rows: list[Record]) -> None:
    names = [name for name in client.REPORT_COLUMNS if name != "sources"]
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow([*names, "sources"])
    for row in rows:
        writer.writerow([*(_plain(row[name]) for name in names), " ".join(row["sources"])])


def _plain(value: object) -> object:
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else value
