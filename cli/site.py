"""``heliotrope site``: places, their power and their windows."""

from __future__ import annotations

import click

from heliotrope.foundation.errors import NotFound

from . import client, output, sitefeeds
from .client import Operator
from .messages import Record
from .output import Column

_COLUMNS = (
    Column("SITE"),
    Column("WINDOW"),
    Column("NEXT IN", right=True),
    Column("INTENSITY", right=True),
    Column("RENEWABLE", right=True),
    Column("NODES", right=True),
    Column("JOBS", right=True),
)
_LINKS = (Column("LINK TO"), Column("BANDWIDTH", right=True), Column("SOURCE"), Column("SAMPLES", right=True))


@click.group()
def site() -> None:
    """List and show sites."""


@site.command("list")
@client.options
@output.json_option
def list_(*, operator: Operator, as_json: bool) -> None:
    """List the sites and their renewable windows."""
    fleet = operator.fleet()
    if as_json:
        output.print_json(fleet["sites"])
        return
    output.print_table(_COLUMNS, [_line(one, fleet) for one in fleet["sites"]], empty="no sites")
    if fleet["trace_scale"] != 1.0:
        click.echo()
        click.echo(f"trace time {output.format_time(fleet['trace_utc'])}, {fleet['trace_scale']:g} times as fast")


@site.command()
@click.argument("name", metavar="SITE")
@client.options
@output.json_option
def show(*, operator: Operator, name: str, as_json: bool) -> None:
    """Show one site: place, power, window and links."""
    fleet = operator.fleet()
    found = next((one for one in fleet["sites"] if one["name"] == name), None)
    if found is None:
        known = ", ".join(one["name"] for one in fleet["sites"])
        raise NotFound(f"cannot find site {name!r}: the fleet has {known}; see: heliotrope site list")
    if as_json:
        output.print_json(found)
        return
    output.print_fields([*_fields(found, fleet), *sitefeeds.fields(found)])
    sitefeeds.print_tables(found)
    if found["links"]:
        click.echo()
        output.print_table(_LINKS, [_link(one) for one in found["links"]])


def _window(found: Record) -> str:
    if found["window_remaining_s"] is None:
        return "closed"
    return f"open for {output.format_seconds(found['window_remaining_s'])}"


def _next(found: Record) -> str:
    return "-" if found["next_window_in_s"] is None else output.format_seconds(found["next_window_in_s"])


def _intensity(found: Record) -> str:
    value = found["intensity_g_per_kwh"]
    return output.UNKNOWN if value is None else f"{value:.0f} g/kWh"


def _line(found: Record, fleet: Record) -> tuple[str, ...]:
    nodes = [one for one in fleet["nodes"] if one["site"] == found["name"] and not one["forgotten"]]
    return (
        found["name"],
        _window(found),
        _next(found),
        _intensity(found),
        output.format_ratio(found["renewable_ratio"]),
        f"{sum(one['connected'] for one in nodes)}/{len(nodes)}",
        str(sum(len(one["job_ids"]) for one in nodes)),
    )


def _fields(found: Record, fleet: Record) -> list[tuple[str, str]]:
    nodes = [one["node_id"] for one in fleet["nodes"] if one["site"] == found["name"]]
    return [
        ("site", found["name"]),
        ("place", f"{found['latitude_deg']:.2f}, {found['longitude_deg']:.2f} (latitude, longitude in degrees)"),
        ("window", _window(found)),
        ("next window in", _next(found)),
        ("window rule", found["window_rule"]),
        ("intensity", _intensity(found)),
        ("renewable share", output.format_ratio(found["renewable_ratio"])),
        ("PUE", f"{found['pue_ratio']:g}"),
        ("nodes", ", ".join(nodes) or "none"),
    ]


def _link(link: Record) -> tuple[str, ...]:
    return (
        link["destination_site"],
        f"{output.format_bytes(link['bandwidth_bytes_per_s'])}/s",
        link["bandwidth_source"],
        str(link["sample_count"]),
    )
