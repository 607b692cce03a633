"""Copies that were staged ahead, for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import click

from . import output
from .messages import Record
from .output import Column

_COLUMNS = (
    Column("STAGED AHEAD AT"),
    Column("SITE"),
    Column("PLANNED"),
    Column("LEAVES"),
    Column("WIRE", right=True),
    Column("CARBON", right=True),
    Column("OUTCOME"),
    Column("WHY"),
)


def print_ahead(staged: Sequence[Record], names: Mapping[str, str] | None = None) -> None:
    """One line per copy; ``names``: of the jobs by id, shown where there are several."""
    if names is None:
        output.print_table(_COLUMNS, [_line(one) for one in staged])
    else:
        rows = [(one["job_id"], names.get(one["job_id"], "-"), *_line(one)) for one in staged]
        output.print_table((Column("JOB"), Column("NAME"), *_COLUMNS), rows)


def print_sums(staged: Sequence[Record]) -> None:
    """What was a hit and what was waste, in one line."""
    wasted = [one for one in staged if one["outcome"] == "waste"]
    hits = sum(one["outcome"] == "hit" for one in staged)
    wasted_bytes = sum(one["wire_bytes"] for one in wasted)
    energy_j, carbon_g = (sum(one[name] for one in wasted) for name in ("energy_j", "carbon_g"))
    partly = " ?" if any(one["unknown_energy_j"] for one in wasted) else ""
    click.echo(
        f"{len(staged)} staged ahead: {hits} served a move, {len(wasted)} wasted "
        f"({output.format_bytes(wasted_bytes)}, {output.format_energy(energy_j)} of the network, "
        f"{output.format_carbon(carbon_g)}{partly})"
    )


def _line(one: Record) -> tuple[str, ...]:
    unknown = " ?" if one["unknown_energy_j"] else ""
    return (
        one["node_id"],
        one["site"],
        output.format_time(one["planned_utc"]),
        output.format_time(one["leave_utc"]),
        output.format_bytes(one["wire_bytes"]),
        output.format_carbon(one["carbon_g"]) + unknown,
        f"{one['outcome']} ({one['migration_id']})" if one["migration_id"] else one["outcome"],
        one["message"] or one["reason"],
    )
