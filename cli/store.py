"""``heliotrope store``: what a node's store holds, and whether it still is what it was. Run on the node itself."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from heliotrope.agent.care.inspection import Finding, inspect
from heliotrope.agent.care.view import ChunkFile, StoreView
from heliotrope.agent.checkpoints.damage import DamageRecord, reference_name
from heliotrope.agent.checkpoints.registry import CheckpointRecord
from heliotrope.agent.config import AgentConfig
from heliotrope.foundation import config as configuration
from heliotrope.foundation.errors import Conflict, Corrupt, InvalidInput

from . import output
from .output import Column

_POLL_S = 0.5


@click.group()
def store() -> None:
    """A node's checkpoints, on the node itself and as its agent's user; the agent may run meanwhile."""


def _place(command: Any) -> Any:
    """Adds ``--config`` and ``--state-dir``, one of which is needed."""
    path = click.Path(path_type=Path)
    command = click.option("--state-dir", metavar="DIR", type=path, help="Its state_dir, instead.")(command)
    return click.option("--config", metavar="FILE", type=path, help="The agent's configuration.")(command)


@store.command()
@_place
@output.json_option
def show(config: Path | None, state_dir: Path | None, as_json: bool) -> None:
    """Show sizes, references, the quota, and what a collection would free."""
    view, agent = _open(config, state_dir)
    held, files = view.checkpoints(), view.chunk_files()
    damaged = view.damage.names()
    needed = {chunk.digest for one in held if (reader := view.reader(one)) for _, chunk in reader.places}
    summary = {
        "state_bytes": sum(one.state_bytes for one in held),
        "chunk_file_count": len(files),
        "used_bytes": sum(file.size_bytes for file in files),
        "quota_bytes": int(agent.store.quota_bytes) if agent else None,
        "collectable_bytes": sum(file.size_bytes for file in files if file.digest not in needed),
        "damaged_count": sum(_name(one) in damaged for one in held),
    }
    if as_json:
        checkpoints = [{**_identity(one), **_extent(one), "damaged": _name(one) in damaged} for one in held]
        output.print_json({**summary, "checkpoints": checkpoints})
        return
    columns = (Column("job"), Column("checkpoint"), Column("state", right=True), Column("condition"), Column("place"))
    rows = [
        (
            one.job_id,
            f"{one.epoch}.{one.sequence}",
            output.format_bytes(one.state_bytes),
            "damaged" if _name(one) in damaged else "",
            one.path,
        )
        for one in held
    ]
    output.print_table(columns, rows, empty="no checkpoint is registered here")
    quota = output.format_bytes(agent.store.quota_bytes) if agent else output.UNKNOWN
    click.echo(
        f"{len(files)} chunk files, {output.format_bytes(summary['used_bytes'])} of {quota}; "
        f"a collection would free {output.format_bytes(summary['collectable_bytes'])}"
    )


@store.command()
@_place
@click.option("--repair", is_flag=True, help="Wait until the running agent has mended the damage from its peers.")
@click.option("--timeout", "timeout_s", type=click.FloatRange(min=0), default=3600.0, show_default=True, metavar="S")
@output.json_option
def verify(config: Path | None, state_dir: Path | None, repair: bool, timeout_s: float, as_json: bool) -> int:
    """Read every checkpoint and chunk back from disk. Exit code 8 if anything is damaged (and was not repaired).

    What is damaged is withdrawn at once: not served, and not offered as a checkpoint to start from. A running agent
    asks the coordinator for a peer that holds the same bytes, with or without --repair.
    """
    view, _ = _open(config, state_dir)
    findings = [found for one in view.checkpoints() if (found := _verify_one(view, one)) is not None]
    files = view.chunk_files()
    bad_files = [file for file in files if not file.whole()]
    for file in bad_files:
        view.set_aside(file)
    damaged = [one.damage for one in findings if one.damage is not None]
    left = _wait(view, damaged, timeout_s) if repair and damaged else {one.reference: one for one in damaged}
    if as_json:
        output.print_json(_report(findings, files, bad_files, left))
    else:
        _print(findings, files, bad_files, left)
    return Corrupt.exit_code if left or bad_files else 0


def _open(config: Path | None, state_dir: Path | None) -> tuple[StoreView, AgentConfig | None]:
    if (config is None) == (state_dir is None):
        raise InvalidInput("field config: name either --config FILE or --state-dir DIR")
    if config is None:
        assert state_dir is not None
        return StoreView(state_dir), None
    agent = configuration.load(config, AgentConfig)
    return StoreView(config.parent / agent.state_dir), agent


def _verify_one(view: StoreView, checkpoint: CheckpointRecord) -> Finding | None:
    """What was found is on record before the next one is read; None: it was let go while we read."""
    finding = inspect(checkpoint, view.reader(checkpoint), lambda _: None, datetime.now(UTC))
    if finding.damage is None:
        view.damage.remove(_name(checkpoint))
    elif not view.holds(checkpoint):
        return None
    else:
        view.damage.put(finding.damage)  # all of it, and nothing of what an earlier attempt to mend it said
    return finding


def _wait(view: StoreView, damaged: list[DamageRecord], timeout_s: float) -> dict[str, DamageRecord]:
    """What is still damaged when nothing more can be waited for: its record, with what became of mending it.

    Raises Conflict when there is no agent to mend it.
    """
    end_s = time.monotonic() + timeout_s
    while True:
        left = {one.reference: found for one in damaged if (found := view.damage.find(one.reference)) is not None}
        if all(one.note for one in left.values()) or time.monotonic() >= end_s:
            return left
        if not view.agent_runs():
            raise Conflict(
                f"cannot repair {', '.join(sorted(left))}: no agent runs here; the damage is on record, start "
                "the agent and it is mended from a peer"
            )
        time.sleep(_POLL_S)


def _report(
    findings: list[Finding], files: list[ChunkFile], bad_files: list[ChunkFile], left: dict[str, DamageRecord]
) -> dict[str, Any]:
    damaged = []
    for one in findings:
        if one.damage is not None:
            still = left.get(one.damage.reference)
            damaged.append(
                {
                    **_identity(one.checkpoint),
                    "repaired": still is None,
                    "note": still.note if still else "",
                    "chunk_count": one.damage.chunk_count,
                    "chunks": one.damage.chunks,
                }
            )
    return {
        "checkpoint_count": len(findings),
        "chunk_count": sum(one.chunk_count for one in findings) + len(files),
        "size_bytes": sum(one.size_bytes for one in findings) + sum(file.size_bytes for file in files),
        "damaged": damaged,
        "damaged_chunk_files": [file.path.name for file in bad_files],
    }


def _print(
    findings: list[Finding], files: list[ChunkFile], bad_files: list[ChunkFile], left: dict[str, DamageRecord]
) -> None:
    for one in findings:
        if one.damage is None:
            continue
        still = left.get(one.damage.reference)
        fate = "repaired" if still is None else still.note or "withdrawn until it is mended from a peer"
        click.echo(f"job {one.checkpoint.job_id} checkpoint {one.checkpoint.epoch}.{one.checkpoint.sequence}: {fate}")
        for chunk in one.damage.chunks:
            click.echo(output.printable(f"  {chunk.file or 'the root'} at {chunk.offset}: {chunk.cause}"))
    for file in bad_files:
        click.echo(f"chunk file {file.path.name}: its bytes are not its name's; set aside")
    size_bytes = sum(one.size_bytes for one in findings) + sum(file.size_bytes for file in files)
    click.echo(
        f"{len(findings)} checkpoints and {len(files)} chunk files, {output.format_bytes(size_bytes)} read; "
        f"{sum(one.damage is not None for one in findings)} checkpoints and {len(bad_files)} chunk files damaged"
    )


def _name(checkpoint: CheckpointRecord) -> str:
    return reference_name(checkpoint.job_id, checkpoint.epoch, checkpoint.sequence)


def _identity(one: CheckpointRecord) -> dict[str, Any]:
    return {
        "job_id": one.job_id,
        "epoch": one.epoch,
        "sequence": one.sequence,
        "manifest_digest": one.manifest_digest,
    }


def _extent(one: CheckpointRecord) -> dict[str, Any]:
    return {"state_bytes": one.state_bytes, "path": one.path}
