"""``heliotrope job``: submit, watch, move, stop and fetch jobs."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

import click

from heliotrope.foundation.errors import Conflict

from . import client, following, ignoring, jobtables, output, outputs, submission, waiting
from .client import Connect, Operator
from .jobtables import print_job, print_jobs
from .messages import Record
from .migration import check_committed, summary, wait_for_migration

job_argument = click.argument("name", metavar="JOB")
wait_option = click.option("--wait", is_flag=True, help="Wait until it is so.")


@click.group()
def job() -> None:
    """Submit, watch, move and fetch jobs. JOB is a job's id, or its name if only one has it."""


@job.command()
@click.argument("path", metavar="FILE", type=click.Path(path_type=Path))
@click.option("--name", metavar="NAME", help="Instead of the name in FILE.")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Instead of what FILE says; repeatable.")
@click.option("--wait", is_flag=True, help="Wait until the job ended; exit code 10 if it failed.")
@click.option("--dry-run", is_flag=True, help="Only list what would be sent, with sizes.")
@click.option(
    "--limit",
    "limit_bytes",
    type=click.IntRange(min=0),
    default=submission.LIMIT_BYTES,
    show_default=True,
    metavar="BYTES",
    help="Refuse files that are more than this together.",
)
@client.request_option
@client.connect_option
@output.json_option
def submit(
    *,
    connect: Connect,
    path: Path,
    name: str | None,
    overrides: tuple[str, ...],
    wait: bool,
    dry_run: bool,
    limit_bytes: int,
    request_id: str,
    as_json: bool,
) -> None:
    """Submit the job that FILE describes (docs/job-contract.md), with its files."""
    spec = submission.read(path, (*overrides, *([f'name="{name}"'] if name is not None else [])))
    ignore = ignoring.load(path.parent)
    collected = submission.collect(path.parent, spec.files, ignore)
    if dry_run:
        jobtables.print_files(submission.sizes(collected), ignore.ignored, as_json=as_json)
        return
    submission.check_size(collected, limit_bytes)
    with connect() as operator, submission.pack(collected) as archive:
        submitted = operator.submit(
            spec,
            digest=archive.digest,
            size_bytes=archive.size_bytes,
            pieces=archive.pieces(),
            request_id=request_id,
        )
        if wait:
            _say(f"submitted {submitted['job_id']} ({spec.name})", as_json=as_json)
            _finish(operator, submitted["job_id"], timeout_s=None, as_json=as_json)
        elif as_json:
            output.print_json(submitted)
        else:
            size = output.format_bytes(archive.size_bytes)
            click.echo(f"{submitted['job_id']}  {spec.name}: {submitted['state']}; files: {len(collected)} in {size}")


@job.command("list")
@click.option("--all", "everything", is_flag=True, help="Also jobs that ended.")
@client.options
@output.json_option
def list_(*, operator: Operator, everything: bool, as_json: bool) -> None:
    """List the jobs, in order of submission."""
    jobs = [one for one in operator.fleet()["jobs"] if everything or one["state"] not in waiting.JOB_ENDED]
    if as_json:
        output.print_json(jobs)
    else:
        print_jobs(jobs, empty="no jobs" if everything else "no job waits or runs; --all shows those that ended")


@job.command()
@job_argument
@client.options
@output.json_option
def show(*, operator: Operator, name: str, as_json: bool) -> None:
    """Show one job: where it stands, what it reported, where it ran."""
    _print(operator.job(name), as_json=as_json)


@job.command()
@job_argument
@click.option("-f", "--follow", is_flag=True, help="Go on until the job ended.")
@click.option("--tail", "tail_bytes", type=click.IntRange(min=0), default=0, metavar="BYTES", help="Only the last.")
@client.options
def logs(*, operator: Operator, name: str, follow: bool, tail_bytes: int) -> None:
    """Print a job's output over all the nodes it ran on: its stdout to stdout, its stderr to stderr."""
    for piece in following.pieces(partial(operator.logs, name, follow=follow), tail_bytes=tail_bytes):
        stream = sys.stderr.buffer if piece.is_stderr else sys.stdout.buffer
        stream.write(piece.data)
        stream.flush()


@job.command()
@job_argument
@click.argument("paths", nargs=-1, metavar="[PATH]...")
@click.option("--out", required=True, metavar="DIR", type=click.Path(path_type=Path), help="Where to put them.")
@click.option("--force", is_flag=True, help="Replace files that are there.")
@client.options
@output.json_option
def fetch(*, operator: Operator, name: str, paths: tuple[str, ...], out: Path, force: bool, as_json: bool) -> None:
    """Fetch a job's outputs, or the PATHs of its working directory, straight from its node."""
    names = outputs.unpack(operator.outputs(name, paths), out, force=force)
    if as_json:
        output.print_json({"folder": str(out), "files": names})
    else:
        for fetched in names:
            click.echo(output.printable(str(out / fetched)))


@job.command()
@job_argument
@click.argument("destination", metavar="DESTINATION")
@wait_option
@client.request_option
@client.options
@output.json_option
def move(*, operator: Operator, name: str, destination: str, wait: bool, request_id: str, as_json: bool) -> None:
    """Move a running job to DESTINATION, a node or a site."""
    migration = operator.move(name, destination, request_id=request_id)
    if wait:
        migration = wait_for_migration(operator, migration["migration_id"], quiet=as_json)
        check_committed(migration)
    if as_json:
        output.print_json(migration)
    else:
        click.echo(summary(migration))


@job.command()
@job_argument
@wait_option
@client.request_option
@client.options
@output.json_option
def pause(*, operator: Operator, name: str, wait: bool, request_id: str, as_json: bool) -> None:
    """Checkpoint and stop a job until it is resumed."""
    paused = operator.pause(name, request_id=request_id)
    _changed(operator, paused, "PAUSED", wait=wait, as_json=as_json)


@job.command()
@job_argument
@wait_option
@client.request_option
@client.options
@output.json_option
def resume(*, operator: Operator, name: str, wait: bool, request_id: str, as_json: bool) -> None:
    """Let a paused job go on from its newest checkpoint."""
    resumed = operator.resume(name, request_id=request_id)
    _changed(operator, resumed, "RUNNING", wait=wait, as_json=as_json)


@job.command()
@job_argument
@wait_option
@client.request_option
@client.options
@output.json_option
def cancel(*, operator: Operator, name: str, wait: bool, request_id: str, as_json: bool) -> None:
    """Stop a job for good."""
    cancelled = operator.cancel(name, request_id=request_id)
    _changed(operator, cancelled, "", wait=wait, as_json=as_json)


@job.command("wait")
@job_argument
@click.option(
    "--for",
    "wanted",
    type=click.Choice(("end", "running", "paused")),
    default="end",
    help="What for.",
    show_default=True,
)
@click.option("--timeout", "timeout_s", type=click.FloatRange(min=0), metavar="SECONDS", help="Then exit code 9.")
@client.options
@output.json_option
def wait_(*, operator: Operator, name: str, wanted: str, timeout_s: float | None, as_json: bool) -> None:
    """Wait until a job ended: exit code 0 if it finished, 10 if it failed. Or until it runs, or is paused."""
    found = operator.job(name)
    if wanted == "end":
        _finish(operator, found["job_id"], timeout_s=timeout_s, as_json=as_json)
    else:
        _show_change(_reached(operator, found["job_id"], wanted.upper(), timeout_s=timeout_s), as_json=as_json)


def _finish(operator: Operator, job_id: str, *, timeout_s: float | None, as_json: bool) -> None:
    def ended(answer: Record) -> bool:
        return answer["state"] in waiting.JOB_ENDED

    found = waiting.until(lambda: operator.job(job_id), ended, f"the end of job {job_id}", timeout_s=timeout_s)
    waiting.check_finished(found)
    _say(f"{job_id}  {found['spec']['name']}: {found['state']}", as_json=as_json)
    if as_json:
        output.print_json(found)


def _changed(operator: Operator, changed: Record, wanted: str, *, wait: bool, as_json: bool) -> None:
    """The answer to a wish; with ``wait`` the job once it is ``wanted`` ("": ended). Conflict if it ends instead."""
    if wait:
        changed = _reached(operator, changed["job_id"], wanted)
    _show_change(changed, as_json=as_json)


def _reached(operator: Operator, job_id: str, wanted: str, *, timeout_s: float | None = None) -> Record:
    """The job once it is ``wanted`` ("": ended). Raises Conflict if it ends instead, DeadlineExceeded."""
    what = f"job {job_id} to be {wanted or 'ended'}"
    ends = (wanted, *waiting.JOB_ENDED)
    found = waiting.until(lambda: operator.job(job_id), lambda one: one["state"] in ends, what, timeout_s=timeout_s)
    if wanted and found["state"] in waiting.JOB_ENDED:
        raise Conflict(f"cannot wait for {what}: it ended {found['state']}; see: heliotrope job show {job_id}")
    return found


def _show_change(changed: Record, *, as_json: bool) -> None:
    if as_json:
        output.print_json(changed)
    else:
        name, state, wanted = changed["spec"]["name"], changed["state"], changed["wanted"]
        click.echo(f"{changed['job_id']}  {name}: {state}, wanted: {wanted}")


def _print(found: Record, *, as_json: bool) -> None:
    if as_json:
        output.print_json(found)
    else:
        print_job(found)


def _say(text: str, *, as_json: bool) -> None:
    if not as_json:
        click.echo(text)
