"""Drains for people: what is left at a node, and following it until nothing is."""

from __future__ import annotations

from typing import Any

import click
import msgspec

from heliotrope.foundation.errors import Conflict, DeadlineExceeded, NotFound

from . import output, waiting
from .client import Operator
from .messages import Record
from .output import Column

_JOBS = (Column("LEFT"), Column("NAME"), Column("STATE"), Column("BINDING"), Column("WHY"))
_STOPPED = (Column("STOPPED"), Column("NAME"), Column("STATE"), Column("WHY"))


def summary(drain: Record | None) -> str:
    """One line; empty for a node in service."""
    if drain is None:
        return ""
    words = [drain["mode"].lower()]
    if drain["started_utc"]:
        words.append(f"since {output.format_time(drain['started_utc'])}")
    if drain["deadline_utc"]:
        words.append(f"deadline {output.format_time(drain['deadline_utc'])}")
    if drain["done_utc"]:
        words.append(f"done {output.format_time(drain['done_utc'])}")
    else:
        words.append(f"{len(drain['left'])} left")
    return ", ".join(words)


def print_jobs(drain: Record | None) -> None:
    """What is left, and what the drain stopped, each with why."""
    if drain is None:
        return
    if drain["left"]:
        click.echo()
        left = [(one["job_id"], one["job_name"], one["state"], one["binding"], one["reason"]) for one in drain["left"]]
        output.print_table(_JOBS, left)
    if drain["stopped"]:
        click.echo()
        stopped = [(one["job_id"], one["job_name"], one["state"], one["reason"]) for one in drain["stopped"]]
        output.print_table(_STOPPED, stopped)


def monitor(operator: Operator, node_id: str, *, as_json: bool) -> None:
    """Follow the drain of a node, one line (or JSON object) per change.

    Returns once nothing is left. Raises DeadlineExceeded naming the jobs that the deadline stopped or that are left
    after it, Conflict when somebody ends the drain.
    """
    look = _Look(node_id, as_json=as_json)
    try:
        waiting.until(operator.fleet, look.is_over, f"the drain of node {node_id}")
    except KeyboardInterrupt:
        click.echo(f"\nthe drain goes on without you; follow it: heliotrope node drain {node_id} --monitor", err=True)
        raise
    look.check()


class _Look:
    """What was seen last, so that only changes are printed."""

    def __init__(self, node_id: str, *, as_json: bool) -> None:
        self._node_id = node_id
        self._as_json = as_json
        self._seen: Any = None
        self._lines: dict[str, str] = {}
        self._at_rest_count = 0
        self._drain: Record = {}

    def is_over(self, fleet: Record) -> bool:
        node = next((one for one in fleet["nodes"] if one["node_id"] == self._node_id), None)
        if node is None:
            raise NotFound(f"cannot follow node {self._node_id}: no such node; see: heliotrope node list")
        drain = node["drain"]
        if drain is None:
            why = "forgotten" if node["forgotten"] else "taken back into service"
            raise Conflict(f"cannot follow the drain of node {self._node_id}: the node was {why} meanwhile")
        self._drain = drain
        if (node["connected"], drain) != self._seen:
            self._seen = (node["connected"], drain)
            self._print(fleet, node)
        # Between a stop that failed and what follows from it nothing is under way for a moment: look twice.
        at_rest = drain["deadline_passed"] and not any(one["under_way"] for one in drain["left"])
        self._at_rest_count = self._at_rest_count + 1 if at_rest and node["connected"] else 0
        return drain["done_utc"] is not None or self._at_rest_count > 2

    def check(self) -> None:
        """Raises DeadlineExceeded unless all of it went as the mode says."""
        drain = self._drain
        stopped = drain["stopped"] if drain["deadline_passed"] and drain["mode"] != "STOP" else []
        if not drain["left"] and not stopped:
            return
        jobs = [f"{one['job_name']} ({one['job_id']}) is left: {one['reason']}" for one in drain["left"]]
        jobs += [f"{one['job_name']} ({one['job_id']}) was stopped: {one['reason']}" for one in stopped]
        raise DeadlineExceeded(
            f"cannot drain node {self._node_id} by its deadline: {'; '.join(jobs)}; "
            f"see: heliotrope node show {self._node_id}"
        )

    def _print(self, fleet: Record, node: Record) -> None:
        if self._as_json:
            click.echo(msgspec.json.encode(node).decode())
            return
        lines = self._describe(fleet, node)
        for key, line in lines.items():
            if self._lines.get(key) != line:
                click.echo(output.printable(f"{output.format_time(fleet['utc'])}  {line}"))
        self._lines = lines

    def _describe(self, fleet: Record, node: Record) -> dict[str, str]:
        """Subject -> its line."""
        drain = node["drain"]
        away = "" if node["connected"] else "; it is not connected, and the drain goes on when it is back"
        lines = {one["job_id"]: f"{one['job_name']} ({one['job_id']}): {one['reason']}" for one in drain["left"]}
        for one in drain["stopped"]:
            lines[one["job_id"]] = f"{one['job_name']} ({one['job_id']}): {one['state']}, {one['reason']}"
        for job in fleet["jobs"]:
            if job["job_id"] in self._lines and job["job_id"] not in lines:
                where = f" at {job['node_id']}" if job["node_id"] else ""
                lines[job["job_id"]] = f"{job['spec']['name']} ({job['job_id']}): left, {job['state']}{where}"
        lines[""] = f"node {self._node_id}: {summary(drain)}{away}"
        return lines
