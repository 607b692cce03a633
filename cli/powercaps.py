"""``heliotrope node cap``, ``uncap`` and ``caps``: power limits for a while."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from heliotrope.foundation.errors import InvalidInput, NotFound

from . import client, durations, output
from .client import Operator
from .messages import Record
from .output import Column

ALL = "all"

_CAPS = (
    Column("DEVICE"),
    Column("REQUESTED", right=True),
    Column("LIMIT", right=True),
    Column("ENFORCED", right=True),
    Column("BEFORE", right=True),
    Column("UNTIL"),
    Column("BY"),
    Column("WHY"),
)
_EVENTS = (
    Column("WHEN"),
    Column("NODE"),
    Column("CAP"),
    Column("DEVICE"),
    Column("WHAT"),
    Column("REQUESTED", right=True),
    Column("FOUND", right=True),
    Column("LIMIT", right=True),
    Column("BY"),
    Column("MESSAGE"),
)


def device_options(command: Any) -> Any:
    """Adds ``--gpu`` and ``--cpu``; see :func:`_device`."""
    command = click.option("--cpu", default="", metavar="PACKAGE", help="A processor package: rapl:package-0.")(command)
    return click.option("--gpu", default="", metavar="UUID|all", help="One GPU, or all of them [default: all].")(
        command
    )


@click.command()
@click.argument("node_id", metavar="NODE")
@click.option("--watts", "limit_w", type=float, required=True, help="The limit of each device.")
@device_options
@click.option(
    "--for", "lifetime_s", type=durations.DURATION, required=True, metavar="SPAN", help="From now: 90s, 30m, 2h, 1d."
)
@click.option("--message", default="", metavar="TEXT", help="Why; kept in the history.")
@client.request_option
@client.options
@output.json_option
def cap(
    *,
    operator: Operator,
    node_id: str,
    limit_w: float,
    gpu: str,
    cpu: str,
    lifetime_s: float,
    message: str,
    request_id: str,
    as_json: bool,
) -> None:
    """Limit the power of a node's devices for a while; again to change or extend it.

    The node ends it by itself, and sets the limit before back, also when its agent stops or crashes.
    """
    events = operator.cap(
        node_id,
        device=_device(gpu, cpu),
        limit_w=limit_w,
        lifetime_s=lifetime_s,
        message=message,
        request_id=request_id,
    )
    _print_events(events, as_json=as_json)


@click.command()
@click.argument("node_id", metavar="NODE")
@device_options
@click.option("--message", default="", metavar="TEXT", help="Why; kept in the history.")
@client.request_option
@client.options
@output.json_option
def uncap(
    *, operator: Operator, node_id: str, gpu: str, cpu: str, message: str, request_id: str, as_json: bool
) -> None:
    """End a node's power caps now: of one device, or of all that are capped."""
    events = operator.uncap(node_id, device=_device(gpu, cpu), message=message, request_id=request_id)
    _print_events(events, as_json=as_json)


@click.command()
@click.argument("node_id", metavar="[NODE]", default="")
@click.option("--history", is_flag=True, help="What was ordered, by whom, and what came of it; newest first.")
@click.option("--limit", "limit_count", type=click.IntRange(1, 10_000), help="At most so many lines [default: 100].")
@client.options
@output.json_option
def caps(*, operator: Operator, node_id: str, history: bool, limit_count: int | None, as_json: bool) -> None:
    """Show the power caps in force, or with --history all that happened to them."""
    if history:
        _print_events(operator.power_cap_events(node_id=node_id, limit_count=limit_count or 0), as_json=as_json)
        return
    if limit_count is not None:
        raise InvalidInput("field --limit: it is for --history; leave it out, or add --history")
    nodes = [one for one in operator.fleet()["nodes"] if node_id in ("", one["node_id"])]
    if node_id and not nodes:
        raise NotFound(f"cannot find node {node_id!r}: none of this id ever connected; see: heliotrope node list")
    found = [{"node_id": one["node_id"], **each} for one in nodes for each in one["power_caps"]]
    if as_json:
        output.print_json(found)
    else:
        rows = [(each["node_id"], *_line(each)) for each in found]
        output.print_table((Column("NODE"), *_CAPS), rows, empty="no power cap is in force")


def describe(found: Record) -> str:
    """One cap in the line of a node's fields."""
    enforced = f", enforced {output.format_power(found['enforced_w'])}" if found["enforced_w"] is not None else ""
    why = f": {found['message']}" if found["message"] else ""
    problem = f"; {found['problem']}" if found["problem"] else ""
    return (
        f"{found['device']} {output.format_power(found['requested_w'])}{enforced} until "
        f"{output.format_time(found['expires_utc'])} by {found['operator'] or output.UNKNOWN}{why}{problem}"
    )


def _device(gpu: str, cpu: str) -> str:
    """The wire's name: empty is every GPU (of an order to end: every device)."""
    if gpu and cpu:
        raise InvalidInput("field --cpu: only one of --gpu and --cpu; order twice for both")
    return cpu or ("" if gpu == ALL else gpu)


def _line(found: Record) -> tuple[str, ...]:
    powers = (found[name] for name in ("requested_w", "limit_w", "enforced_w", "previous_w"))
    why = "; ".join(text for text in (found["message"], found["problem"]) if text)
    until = output.format_time(found["expires_utc"])
    return (found["device"], *(output.format_power(power_w) for power_w in powers), until, found["operator"], why)


def _print_events(events: Sequence[Record], *, as_json: bool) -> None:
    if as_json:
        output.print_json(events)
        return
    rows = [
        (
            output.format_time(event["utc"]),
            event["node_id"],
            event["cap_id"],
            event["device"] or ALL,
            event["kind"],
            *("" if event[name] is None else output.format_power(event[name]) for name in _POWERS),
            event["operator"],
            event["message"],
        )
        for event in events
    ]
    output.print_table(_EVENTS, rows, empty="nothing happened to power caps yet")


_POWERS = ("requested_w", "found_w", "limit_w")
