"""``heliotrope agent``: run a node's agent, check its configuration, or put back what it set on the hardware."""

from __future__ import annotations

from pathlib import Path

import click

from heliotrope.agent import daemon, restoring
from heliotrope.agent.config import AgentConfig
from heliotrope.foundation import config as configuration
from heliotrope.foundation import identity
from heliotrope.foundation.errors import Denied, InvalidInput, Unreachable
from heliotrope.foundation.identity import Role

from . import output
from .join import join

CLEAN_END = "success"  # systemd's $SERVICE_RESULT of a service that was stopped, or ended without an error


@click.group(invoke_without_command=True)
@click.option("--config", "path", metavar="FILE", type=click.Path(path_type=Path), help="TOML or JSON.")
@click.option("--check", is_flag=True, help="Read and check configuration and identity, then end.")
@output.log_options
@click.pass_context
def agent(context: click.Context, path: Path | None, check: bool) -> None:
    """Run the node's agent until SIGTERM; its jobs run on. Relative paths in FILE are relative to it."""
    if context.invoked_subcommand is not None:
        if path is not None or check:
            raise InvalidInput("field --config: it goes after the verb: heliotrope agent join ... --config FILE")
        return
    if path is None:
        raise click.UsageError("Missing option '--config'.", context)
    config = configuration.load(path, AgentConfig)
    if check:
        _check(path, config)
    else:
        daemon.run(config, path.parent)


agent.add_command(join)


@agent.command("restore-power-limits")
@click.option("--state-dir", required=True, type=click.Path(path_type=Path), metavar="DIR", help="The agent's.")
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
    if not state_dir.is_dir():
        raise InvalidInput(f"field --state-dir: no folder {state_dir}; give state_dir of the agent's configuration")
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


def _check(path: Path, config: AgentConfig) -> None:
    own = identity.load(path.parent / config.identity)
    if own.name.role is not Role.AGENT:
        raise Denied(f"{path}: field identity: {own.name} is no agent's; run: heliotrope ca issue --role agent")
    expires = output.format_time(own.expires_utc)
    click.echo(f"{path} is fine: {own.name}, valid until {expires}; site {config.site} at {config.coordinator}")
