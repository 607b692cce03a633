"""``heliotrope node``: the machines of the fleet."""

from __future__ import annotations

import click

from heliotrope.foundation.errors import InvalidInput

from . import client, drains, durations, output, powercaps
from .client import Operator
from .messages import Record
from .output import Column

MODES = ("migrate", "stop", "leave")

_COLUMNS = (
    Column("NODE"),
    Column("SITE"),
    Column("STATUS"),
    Column("SLOTS", right=True),
    Column("GPUS", right=True),
    Column("JOBS", right=True),
    Column("POWER", right=True),
    Column("DISK FREE", right=True),
    Column("LAST SEEN"),
)


@click.group()
def node() -> None:
    """List, show, drain and forget nodes, and take them back; cap their power."""


for _command in (powercaps.cap, powercaps.uncap, powercaps.caps):
    node.add_command(_command)


@node.command("list")
@client.options
@output.json_option
def list_(*, operator: Operator, as_json: bool) -> None:
    """List the nodes."""
    nodes = operator.fleet()["nodes"]
    if as_json:
        output.print_json(nodes)
    else:
        output.print_table(_COLUMNS, [_line(one) for one in nodes], empty="no node has connected yet")


@node.command()
@click.argument("node_id", metavar="NODE")
@client.options
@output.json_option
def show(*, operator: Operator, node_id: str, as_json: bool) -> None:
    """Show one node."""
    _print(operator.node(node_id), as_json=as_json)


@node.command()
@click.argument("node_id", metavar="NODE")
@click.option("--mode", type=click.Choice(MODES), help="What becomes of its jobs [default: migrate].")
@click.option("--deadline", "deadline_s", type=durations.DURATION, help="From now; then what is left is stopped.")
@click.option("--no-deadline", is_flag=True, help="However long it takes; the default.")
@click.option("--message", default="", metavar="TEXT", help="Why; shown wherever the node is.")
@click.option("--monitor", is_flag=True, help="Follow until it is drained; alone, it changes no drain under way.")
@click.option("--off", is_flag=True, help="Take the node back into service, as undrain does.")
@client.request_option
@client.options
@output.json_option
def drain(
    *,
    operator: Operator,
    node_id: str,
    mode: str | None,
    deadline_s: float | None,
    no_deadline: bool,
    message: str,
    monitor: bool,
    off: bool,
    request_id: str,
    as_json: bool,
) -> None:
    """Give a node no more jobs, and empty it of those that it has.

    migrate: move them. stop: checkpoint and stop them now; they go on wherever there is room. leave: they stay until
    they end. A newer drain takes the place of an older one.
    """
    asked = mode is not None or deadline_s is not None or no_deadline or message != ""
    if off:
        if asked or monitor:
            raise InvalidInput("field --off: it takes the node back into service; leave the other options out with it")
        _print(operator.undrain(node_id, request_id=request_id), as_json=as_json)
        return
    if deadline_s is not None and no_deadline:
        raise InvalidInput("field --no-deadline: it excludes --deadline; leave one of the two out")
    found = operator.node(node_id) if monitor and not asked else None
    if found is None or found["drain"] is None:
        found = operator.drain(
            node_id, mode=mode or MODES[0], deadline_s=deadline_s, message=message, request_id=request_id
        )
    if monitor:
        drains.monitor(operator, node_id, as_json=as_json)
    else:
        _print(found, as_json=as_json)


@node.command()
@click.argument("node_id", metavar="NODE")
@client.request_option
@client.options
@output.json_option
def undrain(*, operator: Operator, node_id: str, request_id: str, as_json: bool) -> None:
    """Take a drained node back into service; the jobs that its drain stopped go on."""
    _print(operator.undrain(node_id, request_id=request_id), as_json=as_json)


@node.command()
@click.argument("node_id", metavar="NODE")
@click.option("--yes", is_flag=True, help="Yes, its jobs will never run on there.")
@client.request_option
@client.options
@output.json_option
def forget(*, operator: Operator, node_id: str, yes: bool, request_id: str, as_json: bool) -> None:
    """State that a node is gone for good, so that its jobs may start elsewhere.

    Nothing can check this for you: if the node still runs a job, there will be two of it until it comes back and is
    fenced. It gets no jobs again before `heliotrope node readmit`.
    """
    if not yes:
        raise InvalidInput(
            f"cannot forget node {node_id} without --yes: its jobs start elsewhere from their newest copies; add --yes "
            "once the node is off for good"
        )
    _print(operator.forget(node_id, request_id=request_id), as_json=as_json)


@node.command()
@click.argument("node_id", metavar="NODE")
@client.request_option
@client.options
@output.json_option
def readmit(*, operator: Operator, node_id: str, request_id: str, as_json: bool) -> None:
    """Let a forgotten node, which came back after all, take jobs again."""
    _print(operator.readmit(node_id, request_id=request_id), as_json=as_json)


def _print(found: Record, *, as_json: bool) -> None:
    if as_json:
        output.print_json(found)
    else:
        output.print_fields(_fields(found))
        drains.print_jobs(found["drain"])


def _status(found: Record) -> str:
    words = ["connected" if found["connected"] else "away"]
    if found["draining"]:
        done = found["drain"] is not None and found["drain"]["done_utc"] is not None
        words.append("drained" if done else "draining")
    if found["forgotten"]:
        words.append("forgotten")
    return ", ".join(words)


def _power(found: Record) -> str:
    """A node that is away has no power reading, and none draws nothing; a modelled one is marked."""
    if not found["connected"] or not found["power_w"]:
        return output.UNKNOWN
    return ("~" if found["power_estimated"] else "") + output.format_power(found["power_w"])


def _line(found: Record) -> tuple[str, ...]:
    return (
        found["node_id"],
        found["site"],
        _status(found),
        str(found["slot_count"]),
        str(found["gpu_count"]),
        str(len(found["job_ids"])),
        _power(found),
        output.format_bytes(found["disk_free_bytes"]),
        output.format_time(found["last_seen_utc"]),
    )


def _fields(found: Record) -> list[tuple[str, str]]:
    gpus = f" ({', '.join(found['gpu_models'])})" if found["gpu_models"] else ""
    estimated = " (~ estimated, not measured)" if _power(found).startswith("~") else ""
    fields = [
        ("node", found["node_id"]),
        ("site", found["site"]),
        ("status", _status(found)),
        ("drain", drains.summary(found["drain"])),
        ("drained because", found["drain_message"]),
        ("host", found["hostname"]),
        ("software", found["software"]),
        ("slots", str(found["slot_count"])),
        ("GPUs", f"{found['gpu_count']}{gpus}"),
        ("jobs", ", ".join(found["job_ids"]) or "none"),
        ("power", _power(found) + estimated),
        *(("power cap", powercaps.describe(cap)) for cap in found["power_caps"]),
        ("disk free", output.format_bytes(found["disk_free_bytes"])),
        ("clock skew", output.format_seconds(found["clock_skew_s"])),
        ("last seen", output.format_time(found["last_seen_utc"])),
        *((f"  {name}", value) for name, value in found["fingerprint_parts"].items()),
    ]
    return [(name, value) for name, value in fields if value]
