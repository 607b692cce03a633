"""A report as tables, and its figures as words, for the terminal and for the page."""

from __future__ import annotations

from collections.abc import Mapping

import click

from . import output
from .aheadtables import print_ahead, print_sums
from .jobtables import print_losses
from .messages import Record
from .output import Column

_ENERGY = (
    Column("ENERGY", right=True),
    Column("WITH PUE", right=True),
    Column("CARBON", right=True),
    Column("EMBODIED", right=True),
    Column("NEVER MOVED", right=True),
    Column("RENEWABLE", right=True),
    Column("BY THE HOUR", right=True),
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
    Column("WORK", right=True),
)
TABLES = (
    ("job", "jobs", (Column("JOB"), Column("NAME"), *_ENERGY, *_JOB)),
    ("job_site", "jobs at sites", (Column("JOB"), Column("NAME"), Column("SITE"), *_ENERGY)),
    ("node", "nodes", (Column("NODE"), Column("SITE"), *_ENERGY)),
    ("site", "sites", (Column("SITE"), *_ENERGY)),
    ("day", "days (UTC)", (Column("DAY"), *_ENERGY)),
)
# What a job's work per energy is said in: the first that it reports.
_WORK = (("flop_per_j", "FLOP"), ("tokens_per_j", "tokens"), ("samples_per_j", "samples"), ("steps_per_j", "steps"))


def show(found: Record, names: Mapping[str, str]) -> None:
    """Print the report. ``names``: job id -> name."""
    since = output.format_time(found["start_utc"]) if found["start_utc"] else "the beginning"
    click.echo(f"from {since} to {output.format_time(found['end_utc'])}")
    for kind, title, columns in TABLES:
        rows = [row for row in found["rows"] if row["kind"] == kind]
        if rows:
            click.echo(f"\n{title}")
            output.print_table(columns, [line(row, names) for row in rows])
    if found["losses"]:
        click.echo("\nlost with their nodes")
        print_losses(found["losses"], dict(names))
    if found["staged_ahead"]:
        click.echo("\nstaged ahead")
        print_ahead(found["staged_ahead"], dict(names))
        print_sums(found["staged_ahead"])
    if not found["rows"]:
        click.echo("\nno energy was booked and no job submitted")
    for note in notes(found["rows"]):
        click.echo(f"\n{note}")


def notes(rows: list[Record]) -> list[str]:
    """What the marks in these rows mean."""
    found = []
    if any("fake" in row["sources"] for row in rows):
        found.append("MADE-UP energy of agents that run with --fake is in it; it was never drawn")
    if any(row["estimated"] for row in rows):
        found.append("~ contains estimates by a model, not only measurements")
    if any(row["unknown_energy_j"] > 0 for row in rows):
        found.append("? contains energy of unknown carbon intensity, which is in no carbon figure")
    if any(row["embodied_g"] is not None and row["unknown_embodied_s"] > 0 for row in rows):
        found.append("! leaves out devices that no table of embodied carbon names")
    return found


def line(row: Record, names: Mapping[str, str]) -> tuple[str, ...]:
    """The cells of a row."""
    label = {"job": (names.get(row["name"], "-"),), "job_site": (names.get(row["name"], "-"), row["site"])}
    first = (row["name"], *label.get(row["kind"], (row["site"],) if row["kind"] == "node" else ()))
    cells = (*first, *energy(row))
    return (*cells, *_job(row)) if row["kind"] == "job" else cells


def energy(row: Record) -> tuple[str, ...]:
    """Energy, carbon and shares; unknown where nothing was booked: that is not zero."""
    if not row["energy_j"] and not row["sources"]:
        return (output.UNKNOWN,) * len(_ENERGY)
    about = "~" if row["estimated"] else ""
    partly = " ?" if row["unknown_energy_j"] > 0 else ""
    return (
        about + output.format_energy(row["energy_j"]),
        about + output.format_energy(row["facility_energy_j"]),
        output.UNKNOWN if _nothing_known(row) else about + output.format_carbon(row["carbon_g"]) + partly,
        _embodied(row),
        output.UNKNOWN if _nothing_known(row) else about + output.format_carbon(row["carbon_static_g"]) + partly,
        output.format_ratio(row["renewable_ratio"]),
        output.format_ratio(row["renewable_hourly_ratio"]),
        output.format_ratio(row["coverage_ratio"]),
    )


def _nothing_known(row: Record) -> bool:
    return bool(row["energy_j"] > 0 and row["unknown_energy_j"] >= row["energy_j"])


def _embodied(row: Record) -> str:
    partly = " !" if row["embodied_g"] is not None and row["unknown_embodied_s"] > 0 else ""
    return output.format_carbon(row["embodied_g"]) + partly


def _job(row: Record) -> tuple[str, ...]:
    return (
        output.format_seconds(row["runtime_s"]),
        str(row["move_count"]),
        output.format_seconds(row["standstill_s"]),
        output.format_seconds(row["standstill_network_s"]),
        output.format_bytes(row["state_bytes"]),
        output.format_bytes(row["wire_bytes"]),
        str(row["step"]),
        work(row),
    )


def work(row: Record) -> str:
    """Work per energy: ``12.5 tokens/J``."""
    for name, unit in _WORK:
        if row[name] is not None:
            return f"{row[name]:.3g} {unit}/J"
    return output.UNKNOWN
