"""``heliotrope install`` and ``heliotrope uninstall``: the daemons as services of systemd (docs/install.md)."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import click
import msgspec

from heliotrope.foundation import records
from heliotrope.foundation.errors import Conflict, Denied, Incompatible, InvalidInput, NotFound, OutOfSpace

from . import installation, output
from .installation import Installation, Manager, Step

_ROOT = Path("/")
_SYSTEMD = Path("/run/systemd/system")  # there while systemd runs the machine, see sd_booted(3)


def _parts_options(command: click.decorators.FC) -> click.decorators.FC:
    for option in (
        click.option("--root", type=click.Path(path_type=Path), default=_ROOT, metavar="DIR", help="Below DIR only."),
        click.option("--dry-run", is_flag=True, help="Only say what would be done."),
        click.option("--agent", "agent", is_flag=True, help="The node's agent."),
        click.option("--coordinator", "coordinator", is_flag=True, help="The fleet's coordinator."),
    ):
        command = option(command)
    return command


@click.command()
@_parts_options
@click.option("--program", type=click.Path(path_type=Path), metavar="FILE", help="The heliotrope program to start.")
@output.json_option
def install(*, coordinator: bool, agent: bool, root: Path, program: Path | None, dry_run: bool, as_json: bool) -> None:
    """Put units, accounts, folders and example configuration in place; nothing is started.

    Again after an upgrade: units are renewed, edited configuration is kept. With --root files are only written, for
    making a package.
    """
    parts = _chosen(coordinator, agent)
    if not parts:
        raise InvalidInput("name what to install: --coordinator, --agent or both")
    program = program or Path(sys.executable).parent / "heliotrope"
    installation.check_program(program)
    live = root == _ROOT
    if live:
        _check_live(dry_run)
        _check_visible(program)
    steps = _place(Installation(root, dry_run=dry_run), parts, program)
    if live:
        steps += Manager(dry_run=dry_run).take_up(parts)
    _show(steps, dry_run, as_json)
    if live and not as_json and not dry_run:
        units = " ".join(installation.unit(part) for part in parts)
        click.echo(f"\nnext: {_next_step(parts)}, then: systemctl enable --now {units}")
        click.echo(f"after an upgrade: systemctl restart {units} (running jobs are left running)")


@click.command()
@_parts_options
@click.option("--purge", is_flag=True, help="Remove configuration and state too, checkpoints included.")
@output.json_option
def uninstall(*, coordinator: bool, agent: bool, root: Path, purge: bool, dry_run: bool, as_json: bool) -> None:
    """Stop the services and take their files away; configuration and state stay, accounts always do.

    Without --coordinator or --agent, whatever is installed. Refused while jobs run here.
    """
    files, manager, live = Installation(root, dry_run=dry_run), Manager(dry_run=dry_run), root == _ROOT
    if live:
        _check_live(dry_run)
    parts = _chosen(coordinator, agent) or [part for part in installation.PARTS if files.has(part) or purge]
    if live and "agent" in parts and (jobs := manager.running_jobs()):
        raise Conflict(
            f"cannot uninstall the agent: {', '.join(jobs)} still runs; drain the node first, or systemctl stop it"
        )
    steps: list[Step] = []
    for part in parts:
        if live and files.has(part):
            steps.append(manager.stop(part))
        steps += files.remove(part, purge=purge)
    if live and steps:
        steps.append(manager.forget())
    _show(steps, dry_run, as_json)


def _next_step(parts: Sequence[str]) -> str:
    edit = f"edit {installation.CONFIGURATION}"
    if "coordinator" in parts:
        return f"{edit}, issue the certificates"
    return f"heliotrope agent join TOKEN HOST:PORT, {edit}"


def _chosen(coordinator: bool, agent: bool) -> list[str]:
    return [part for part, wanted in zip(installation.PARTS, (coordinator, agent), strict=True) if wanted]


def _check_live(dry_run: bool) -> None:
    if not _SYSTEMD.is_dir():
        raise Incompatible(
            "cannot install services: systemd does not run this machine; run `heliotrope agent` under its own service "
            "manager, or write the files for another machine with --root DIR"
        )
    if os.geteuid() != 0 and not dry_run:
        raise Denied("cannot write the system's folders: only root may; run it with sudo, or look first with --dry-run")


def _check_visible(program: Path) -> None:
    """The services' sandbox hides home folders and /tmp: a program in there would not start."""
    if not program.exists():
        raise NotFound(f"cannot install: there is no {program}; name the heliotrope program with --program")
    interpreter, dependency = Path(sys.executable), Path(msgspec.__file__)
    used = [program, interpreter, Path(records.__file__), dependency]
    if found := next(installation.hidden(used), None):
        raise InvalidInput(
            f"cannot install: {found.resolve()} lies where the services' sandbox hides it (home folders, /tmp); "
            "make the environment elsewhere, with an interpreter of the system: python3 -m venv /opt/heliotrope"
        )


def _place(files: Installation, parts: Sequence[str], program: Path) -> list[Step]:
    steps: list[Step] = []
    try:
        for part in parts:
            said = {step.object for step in steps}  # both parts have the example of a job
            steps += [step for step in files.place(part, program) if step.object not in said]
    except PermissionError as error:
        raise Denied(f"cannot write {error.filename}: {error.strerror}; run it with sudo") from error
    except OSError as error:
        raise OutOfSpace(f"cannot write {error.filename}: {error.strerror}; make room, then install again") from error
    return steps


def _show(steps: Sequence[Step], dry_run: bool, as_json: bool) -> None:
    if as_json:
        output.print_json({"dry_run": dry_run, "steps": steps})
        return
    columns = [output.Column("WOULD BE" if dry_run else "ACTION"), output.Column("OBJECT")]
    output.print_table(columns, [(step.action, step.object) for step in steps], empty="nothing is installed")
