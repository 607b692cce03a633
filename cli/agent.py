"""``heliotrope agent``: run a node's agent, check its configuration, or put back what it set on the hardware."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec

from heliotrope.agent import daemon, releasing, restoring
from heliotrope.agent.config import AgentConfig
from heliotrope.agent.power import fake_scenario, release
from heliotrope.foundation import config as configuration
from heliotrope.foundation import identity
from heliotrope.foundation.errors import Denied, InvalidInput, Unreachable
from heliotrope.foundation.identity import Role

from . import output
from .durations import DURATION
from .join import join

STATE_DIR = click.option(
    "--state-dir", required=True, type=click.Path(path_type=Path), metavar="DIR", help="The agent's."
)
CLEAN_END = "success"  # systemd's $SERVICE_RESULT of a service that was stopped, or ended without an error


@click.group(invoke_without_command=True)
@click.option("--config", "path", metavar="FILE", type=click.Path(path_type=Path), help="TOML or JSON.")
@click.option("--check", is_flag=True, help="Read and check configuration and identity, then end.")
@click.option("--fake", metavar="SCENARIO", default="", help="Made-up GPUs instead of sensors: a name, or a file.")
@output.log_options
@click.pass_context
def agent(context: click.Context, *, path: Path | None, check: bool, fake: str) -> None:
    """Run the node's agent until SIGTERM; its jobs run on. Relative paths in FILE are relative to it."""
    if context.invoked_subcommand is not None:
        if path is not None or check or fake:
            raise InvalidInput("field --config: it goes after the verb: heliotrope agent join ... --config FILE")
        return
    if path is None:
        raise click.UsageError("Missing option '--config'.", context)
    config = _faked(configuration.load(path, AgentConfig), fake)
    if check:
        _check(path, config)
    else:
        daemon.run(config, path.parent)


agent.add_command(join)


@agent.command("restore-power-limits")
@STATE_DIR
@click.option(
    "--service-result",
    default=CLEAN_END,
    metavar="WORD",
    help="systemd's $SERVICE_RESULT: after any but success, caps with time left wait for the next agent.",
)
@click.option("--sys-root", default="/sys", hidden=True)
@output.json_option
def restore_power_limits(*, state_dir: Path, service_result: str, sys_root: str, as_json: bool) -> None:
    """Put back the power limits that an agent which runs no more has changed. The service's stop step; may be repeated.

    Exit code 5 when a limit could not be put back, with the reason; 4 while an agent runs.
    """
    _check_state(state_dir)
    crashed = service_result not in ("", CLEAN_END)
    cause = f"the agent ended with {service_result}" if crashed else "the agent was stopped"
    done = restoring.restore_power_limits(state_dir, sys_root=sys_root, cause=cause, goes_on=crashed)
    if done.problems:
        raise Unreachable(f"{'; '.join(done.problems)}; the next start of the agent, or this command, tries again")
    if as_json:
        output.print_json(done)
    else:
        for event in done.events:
            click.echo(f"{event.device}: {event.kind}: {event.message}")


@agent.command("release-driver")
@STATE_DIR
@click.option("--for", "for_s", type=DURATION, default=600.0, show_default="10m", help="At most; a day is the longest.")
@output.json_option
def release_driver(*, state_dir: Path, for_s: float, as_json: bool) -> None:
    """Have the agent of this machine close the GPUs' drivers, for an upgrade of them. Returns when it has.

    Its jobs run on, and nothing else of the agent stops. What the GPUs draw meanwhile is not measured: a gap, which an
    energy counter that goes on fills in where the time was shorter than a minute. The agent opens the drivers again
    after the time, or on `heliotrope agent retake-driver`.
    """
    _check_state(state_dir)
    if for_s > release.LONGEST_S:
        raise InvalidInput(f"field --for: {for_s:.0f} s are more than a day; release again when it is over")
    done = releasing.release_driver(state_dir, for_s)
    if as_json:
        output.print_json(done)
    elif done.agent_runs:
        click.echo(f"the agent has closed the drivers; it opens them in {for_s:.0f} s, or when told to")
    else:
        click.echo(f"no agent runs; one that starts leaves the drivers closed for {for_s:.0f} s, or until told")


@agent.command("retake-driver")
@STATE_DIR
def retake_driver(*, state_dir: Path) -> None:
    """Let the agent open the drivers again that were released."""
    _check_state(state_dir)
    was = releasing.retake_driver(state_dir)
    click.echo("the agent opens the drivers again within a second" if was else "the drivers were not released")


def _check_state(state_dir: Path) -> None:
    if not state_dir.is_dir():
        raise InvalidInput(f"field --state-dir: no folder {state_dir}; give state_dir of the agent's configuration")


def _faked(config: AgentConfig, fake: str) -> AgentConfig:
    """The configuration with a scenario of made-up GPUs. Raises InvalidInput naming the scenarios there are."""
    if fake:
        config = msgspec.structs.replace(config, power=msgspec.structs.replace(config.power, fake=fake))
    if config.power.fake:
        count = len(fake_scenario.load(config.power.fake).gpus)
        text = f"warning: power and GPUs are made up ({config.power.fake}, {count} GPUs), nothing is measured"
        click.echo(text, err=True)
    return config


def _check(path: Path, config: AgentConfig) -> None:
    own = identity.load(path.parent / config.identity)
    if own.name.role is not Role.AGENT:
        raise Denied(f"{path}: field identity: {own.name} is no agent's; run: heliotrope ca issue --role agent")
    expires = output.format_time(own.expires_utc)
    click.echo(f"{path} is fine: {own.name}, valid until {expires}; site {config.site} at {config.coordinator}")
