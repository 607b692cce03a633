"""``heliotrope agent``: run a node's agent, or only check its configuration."""

from __future__ import annotations

from pathlib import Path

import click

from heliotrope.agent import daemon
from heliotrope.agent.config import AgentConfig
from heliotrope.foundation import config as configuration
from heliotrope.foundation import identity
from heliotrope.foundation.errors import Denied, InvalidInput
from heliotrope.foundation.identity import Role

from . import output
from .join import join


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


def _check(path: Path, config: AgentConfig) -> None:
    own = identity.load(path.parent / config.identity)
    if own.name.role is not Role.AGENT:
        raise Denied(f"{path}: field identity: {own.name} is no agent's; run: heliotrope ca issue --role agent")
    expires = output.format_time(own.expires_utc)
    click.echo(f"{path} is fine: {own.name}, valid until {expires}; site {config.site} at {config.coordinator}")
