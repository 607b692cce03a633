"""``heliotrope coordinator``: run a fleet's coordinator, or only check its configuration."""

from __future__ import annotations

import tempfile
from pathlib import Path

import click

from heliotrope.coordinator import daemon
from heliotrope.coordinator.config import CoordinatorConfig
from heliotrope.coordinator.sites import open_sites
from heliotrope.foundation import config as configuration
from heliotrope.foundation import identity
from heliotrope.foundation.clock import SystemClock
from heliotrope.foundation.errors import Denied
from heliotrope.foundation.identity import Role

from . import output


@click.command()
@click.option("--config", "path", required=True, metavar="FILE", type=click.Path(path_type=Path), help="TOML or JSON.")
@click.option("--check", is_flag=True, help="Read and check configuration, identity and traces, then end.")
@output.log_options
def coordinator(path: Path, check: bool) -> None:
    """Run the coordinator until SIGTERM; relative paths in FILE are relative to it."""
    config = configuration.load(path, CoordinatorConfig)
    if check:
        _check(path, config)
    else:
        daemon.run(config, path.parent)


def _check(path: Path, config: CoordinatorConfig) -> None:
    """Nothing is written: the trace clock's origin, which begins with the first start, goes to a scratch folder."""
    own = identity.load(path.parent / config.identity)
    if own.name.role is not Role.COORDINATOR:
        raise Denied(
            f"{path}: field identity: {own.name} is no coordinator's; run: heliotrope ca issue --role coordinator"
        )
    with tempfile.TemporaryDirectory(prefix="heliotrope-check-") as scratch:
        sites = open_sites(config, path.parent, Path(scratch), SystemClock())
    expires = output.format_time(own.expires_utc)
    click.echo(f"{path} is fine: {own.name}, valid until {expires}; sites {', '.join(sorted(sites))}")
