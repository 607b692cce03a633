"""Jobs for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import click

from . import output
from .aheadtables import print_ahead
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
    Column("WAITS FOR"),
    Column("MESSAGE"),
)
_SITES = (Column("SITE"), Column("BINDING"), Column("WHY NOT THERE"))
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


_REPLICAS = (
    Column("REPLICA AT"),
    Column("SITE"),
    Column("CHECKPOINT"),
    Column("STEP", right=True),
    Column("VERIFIED"),
    Column("NOW"),
    Column("FOR"),
    Column("MESSAGE"),
)
_LOSSES = (
    Column("LOST AT"),
    Column("EPOCH", right=True),
    Column("LAST SEEN"),
    Column("OUTAGE", right=True),
    Column("STEPS LOST", right=True),
    Column("WORK LOST", right=True),
    Column("ENERGY LOST", right=True),
    Column("OUTCOME"),
    Column("WHY"),
)


def print_jobs(jobs: Sequence[Record], *, empty: str) -> None:
    """One line per job."""
    output.print_table(_JOBS, [_line(job) for job in jobs], empty=empty)


def print_job(job: Record) -> None:
    """Everything about one job, its runs at the end."""
    output.print_fields(_fields(job))
    if job["waiting"]:
        click.echo()
        rows = [(one["site"], one["binding"], one["reason"]) for one in job["waiting"]["sites"]]
        output.print_table(_SITES, rows, empty="the fleet has no site")
    if job["runs"]:
        click.echo()
        output.print_table(_RUNS, [_run(run) for run in job["runs"]])
    if job["replicas"]:
        click.echo()
        output.print_table(_REPLICAS, [_replica(replica) for replica in job["replicas"]])
    if job["staged_ahead"]:
        click.echo()
        print_ahead(job["staged_ahead"])
    if job["losses"]:
        click.echo()
        print_losses(job["losses"])


def print_losses(losses: Sequence[Record], names: Mapping[str, str] | None = None) -> None:
    """What went with lost nodes, one line per run; ``names``: of the jobs by id, shown where there are several."""
    if names is None:
        output.print_table(_LOSSES, [_loss(loss) for loss in losses])
    else:
        columns = (Column("JOB"), Column("NAME"), *_LOSSES)
        rows = [(one["job_id"], names.get(one["job_id"], "-"), *_loss(one)) for one in losses]
        output.print_table(columns, rows)


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
        job["waiting"]["binding"] if job["waiting"] else "-",
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
        ("waits", _waits(job["waiting"])),
        ("drained from", job["drained_from"]),
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


def _waits(waiting: Record | None) -> str:
    if waiting is None:
        return ""
    return f"for {waiting['binding']}, decided {output.format_time(waiting['decided_utc'])} ({waiting['decision_id']})"


def _replica(replica: Record) -> tuple[str, ...]:
    checkpoint = replica["checkpoint"]
    return (
        replica["node_id"],
        replica["site"],
        _checkpoint(checkpoint) or "-",
        str(checkpoint["step"]) if checkpoint and checkpoint["step"] else "-",
        output.format_time(replica["verified_utc"]) if replica["verified_utc"] else "-",
        replica["state"],
        _reason(replica),
        replica["message"],
    )


def _reason(replica: Record) -> str:
    """A coordinator that names none keeps replicas by the job's rule only."""
    until = f" until {output.format_time(replica['expires_utc'])}" if replica["expires_utc"] else ""
    return "a move" + until if replica["reason"] == "ahead" else "the rule"


def _loss(loss: Record) -> tuple[str, ...]:
    where = f" at {loss['resumed_node']}" if loss["resumed_node"] else ""
    return (
        loss["node_id"],
        str(loss["epoch"]),
        output.format_time(loss["last_seen_utc"]),
        output.format_seconds(loss["outage_s"]),
        output.UNKNOWN if loss["lost_steps"] is None else str(loss["lost_steps"]),
        output.format_seconds(loss["lost_work_s"]),
        output.format_energy(loss["lost_energy_j"]),
        loss["outcome"] + where,
        loss["cause"],
    )


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
