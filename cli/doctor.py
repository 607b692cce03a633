"""``heliotrope doctor``: examine this machine and its daemons' configurations; every finding with its remedy."""

from __future__ import annotations

from pathlib import Path

import click
from rich.text import Text

from heliotrope.agent.config import AgentConfig
from heliotrope.agent.doctor import catalogue, running
from heliotrope.agent.doctor.finding import Finding, Status
from heliotrope.agent.doctor.subject import Daemon, Subject, installed_utc
from heliotrope.coordinator.config import CoordinatorConfig
from heliotrope.foundation import config as configuration
from heliotrope.foundation.clock import SystemClock
from heliotrope.foundation.errors import InvalidInput
from heliotrope.foundation.identity import Role

from . import output

ERROR_EXIT_CODE = 1  # docs/doctor.md: at least one finding is an error
_STYLES = {Status.OK: "green", Status.WARNING: "yellow", Status.ERROR: "bold red", Status.SKIPPED: "dim"}
_CONFIG = click.Path(path_type=Path)


@click.command()
@click.option("--config", "agent_path", metavar="FILE", type=_CONFIG, help="The agent's configuration.")
@click.option("--coordinator-config", "coordinator_path", metavar="FILE", type=_CONFIG, help="The coordinator's.")
@click.option("--peer", "peers", multiple=True, metavar="HOST:PORT", help="Another agent to meet; may be repeated.")
@click.option("--only", multiple=True, metavar="CHECK", help="FAMILY or FAMILY.THING (docs/doctor.md); repeatable.")
@output.json_option
def doctor(
    agent_path: Path | None, coordinator_path: Path | None, peers: tuple[str, ...], only: tuple[str, ...], as_json: bool
) -> int:
    """Examine this machine: driver, sensors, permissions, clock, disk, ports, certificates, and who can be reached.

    Without a configuration only the machine itself is examined. Run it as the user that the daemon runs as. The exit
    code is 0 when nothing is an error, else 1.
    """
    chosen = catalogue.choose(only)
    if peers and agent_path is None:
        raise InvalidInput("field peer: an agent's identity is needed to meet one; name --config too")
    subject = _subject(agent_path, coordinator_path, peers)
    found = [one for one in running.run(chosen, subject) if catalogue.selected(one, only)]
    if as_json:
        _print_json(found, subject)
    else:
        _print(found)
    return ERROR_EXIT_CODE if _count(found, Status.ERROR) else 0


def _subject(agent_path: Path | None, coordinator_path: Path | None, peers: tuple[str, ...]) -> Subject:
    """Raises InvalidInput for a configuration that the daemon would refuse as well."""
    daemons: list[Daemon] = []
    agent = None
    if agent_path is not None:
        agent = configuration.load(agent_path, AgentConfig)
        daemons.append(_daemon(Role.AGENT, agent_path, agent.identity, agent.state_dir, agent.transfer.listen))
    if coordinator_path is not None:
        other = configuration.load(coordinator_path, CoordinatorConfig)
        daemons.append(_daemon(Role.COORDINATOR, coordinator_path, other.identity, other.state_dir, other.listen))
    return Subject(installed_utc=installed_utc(), daemons=tuple(daemons), agent=agent, peers=peers, clock=SystemClock())


def _daemon(role: Role, path: Path, identity: str, state_dir: str, listen: str) -> Daemon:
    folder = path.parent.resolve()
    return Daemon(role, (folder / identity).resolve(), (folder / state_dir).resolve(), listen)


def _count(found: list[Finding], status: Status) -> int:
    return sum(1 for one in found if one.status is status)


def _print_json(found: list[Finding], subject: Subject) -> None:
    output.print_json(
        {
            "utc": subject.clock.utc(),
            **{f"{status}_count": _count(found, status) for status in Status},
            "findings": found,
        }
    )


def _print(found: list[Finding]) -> None:
    """One line per finding, its remedy below it."""
    screen = output.console()
    width = max((len(one.check) for one in found), default=0)
    for one in found:
        line = Text.assemble((f"{one.status.value:8}", _STYLES[one.status]), f"{one.check:{width}}  ")
        line.append(output.printable(one.found))
        screen.print(line, soft_wrap=True)
        if one.remedy:
            screen.print(Text(" " * (width + 10) + output.printable(one.remedy), style="italic"), soft_wrap=True)
    counts = ", ".join(f"{_count(found, status)} {status.value}" for status in Status)
    screen.print(Text(counts), soft_wrap=True)
