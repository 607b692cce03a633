"""Jobs for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import click

from . import output
from .messages import Record
from .output import Column

_JOBS = (
    Column("JOB"),
    Column("NAME"),
    Column("STATE"),
    Column("SITE"),
    Column("NODE"),
    Column("STEP", right=True),
    Column("POWER", right=True),
    Column("MOVES", right=True),
    Column("MESSAGE"),
)
_RUNS = (Column("EPOCH", right=True), Column("SITE"), Column("NODE"), Column("STARTED"), Column("ENDED"), Column("WHY"))

_FILES = (Column("SIZE", right=True), Column("FILE"))


def print_files(sizes: Mapping[str, int], ignored: Mapping[str, str], *, as_json: bool) -> None:
    """What a submission would send (entry -> bytes), and what it leaves behind (entry -> why)."""
    total_bytes = sum(sizes.values())
    if as_json:
        files = [{"path": path, "size_bytes": size_bytes} for path, size_bytes in sizes.items()]
        left = [{"path": path, "reason": reason} for path, reason in sorted(ignored.items())]
        output.print_json({"files": files, "size_bytes": total_bytes, "ignored": left})
        return
    rows = [(output.format_bytes(size_bytes), output.printable(path)) for path, size_bytes in sizes.items()]
    output.print_table(_FILES, rows, empty="no files")
    for path, reason in sorted(ignored.items()):
        click.echo(f"left out: {output.printable(path)}, by {reason}")
    click.echo(f"{len(sizes)} entries, {output.format_bytes(total_bytes)}; nothing was sent")


def print_jobs(jobs: Sequence[Record], *, empty: str) -> None:
    """One line per job."""
    output.print_table(_JOBS, [_line(job) for job in jobs], empty=empty)


def print_job(job: Record) -> None:
    """Everything about one job, its runs at the end."""
    output.print_fields(_fields(job))
    if job["runs"]:
        click.echo()
        output.print_table(_RUNS, [_run(run) for run in job["runs"]])


def _line(job: Record) -> tuple[str, ...]:
    return (
        job["job_id"],
        job["spec"]["name"],
        job["state"],
        job["site"] or "-",
        job["node_id"] or "-",
        _step(job),
        output.format_power(job["power_w"]) if job["power_w"] else "-",
        str(job["move_count"]),
        job["message"],
    )


def _fields(job: Record) -> list[tuple[str, str]]:
    spec, progress = job["spec"], job["progress"] or {}
    where = f"{job['node_id']} at {job['site']}" if job["node_id"] else "nowhere"
    fields = [
        ("job", job["job_id"]),
        ("name", spec["name"]),
        ("state", f"{job['state']} (wanted: {job['wanted']})"),
        ("place", f"{where}, epoch {job['epoch']}"),
        ("message", job["message"]),
        ("fault", job["fault"]),
        ("exit code", "" if job["exit_code"] is None else str(job["exit_code"])),
        ("submitted", output.format_time(job["submitted_utc"])),
        ("started", output.format_time(job["started_utc"]) if job["started_utc"] else ""),
        ("ended", output.format_time(job["ended_utc"]) if job["ended_utc"] else ""),
        ("step", _step(job) if progress.get("reported_utc") else ""),
        ("loss", f"{progress['loss']:g}" if progress.get("loss") else ""),  # 0: the job reports none
        ("checkpoint", _checkpoint(job["checkpoint"])),
        ("moves, restarts", f"{job['move_count']}, {job['restart_count']}"),
        ("power", output.format_power(job["power_w"]) if job["power_w"] else ""),
        ("command", " ".join(spec["command"])),
    ]
    return [(name, value) for name, value in fields if value]


def _step(job: Record) -> str:
    """Unknown until the job reports one."""
    progress = job["progress"]
    return str(progress["step"]) if progress and progress["reported_utc"] else "-"


def _checkpoint(checkpoint: Record | None) -> str:
    if checkpoint is None:
        return ""
    size = output.format_bytes(checkpoint["state_bytes"])
    return f"{checkpoint['epoch']}.{checkpoint['sequence']}, {size}, {output.format_time(checkpoint['created_utc'])}"


def _run(run: Record) -> tuple[str, ...]:
    ended = output.format_time(run["ended_utc"]) if run["ended_utc"] else "-"
    return (
        str(run["epoch"]),
        run["site"],
        run["node_id"],
        output.format_time(run["started_utc"]),
        ended,
        run["end_reason"],
    )
