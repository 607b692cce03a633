"""The ``heliotrope`` command: finds the verb, runs it, and turns every error into one line and an exit code.

Verbs are imported when they are used: ``heliotrope ca`` shall not wait for what the coordinator needs. A verb whose
module is not part of this installation is not offered.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass

import click

from heliotrope.foundation.errors import HeliotropeError, Incompatible

UNEXPECTED_EXIT_CODE = 70  # EX_SOFTWARE of sysexits.h: a defect of ours, not of the request
INTERRUPTED_EXIT_CODE = 130  # 128 + SIGINT, as shells report it
DEBUG_VARIABLE = "HELIOTROPE_DEBUG"


@dataclass(frozen=True, slots=True)
class Verb:
    """Where a verb's click command is (``module:attribute``) and its line in the help, known without importing it."""

    target: str
    help: str

    @property
    def module(self) -> str:
        return self.target.partition(":")[0]


VERBS = {
    "demo": Verb("heliotrope.cli.demo:demo", "Watch a job follow the green power, on this machine."),
    "coordinator": Verb("heliotrope.cli.coordinator:coordinator", "Run the coordinator."),
    "agent": Verb("heliotrope.cli.agent:agent", "Run a node's agent."),
    "doctor": Verb("heliotrope.cli.doctor:doctor", "Examine this machine and its daemons' set-up."),
    "install": Verb("heliotrope.cli.install:install", "Make the coordinator or the agent services of systemd."),
    "uninstall": Verb("heliotrope.cli.install:uninstall", "Take the services away again."),
    "store": Verb("heliotrope.cli.store:store", "Show and verify a node's checkpoints."),
    "ca": Verb("heliotrope.cli.ca:ca", "Make a fleet's certificate authority and certificates."),
    "identity": Verb("heliotrope.cli.identity:identity", "List and revoke certificates, and renew your own."),
    "job": Verb("heliotrope.cli.job:job", "Submit, watch, move and fetch jobs."),
    "node": Verb("heliotrope.cli.node:node", "List, show, drain and forget nodes."),
    "site": Verb("heliotrope.cli.site:site", "List and show sites."),
    "migration": Verb("heliotrope.cli.migration:migration", "List and show migrations."),
    "decision": Verb("heliotrope.cli.decision:decision", "List decisions and explain one."),
    "report": Verb("heliotrope.cli.report:report", "Report energy and carbon."),
    "replay": Verb("heliotrope.cli.replay.command:replay", "Serve trace files as the carbon services would."),
    "ledger": Verb("heliotrope.cli.ledger:ledger", "Export and verify the ledger."),
}


class VerbGroup(click.Group):
    """A group that imports a verb's module when the verb is called, and none of them for ``--help``."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [name for name, verb in VERBS.items() if importlib.util.find_spec(verb.module) is not None]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.list_commands(ctx):
            return None
        module_name, _, attribute = VERBS[cmd_name].target.partition(":")
        try:
            found = getattr(importlib.import_module(module_name), attribute)
        except ModuleNotFoundError as error:
            if (error.name or "").startswith("heliotrope"):
                raise
            raise Incompatible(
                f"cannot run `heliotrope {cmd_name}`: the Python package {error.name} is missing; "
                "run: pip install 'heliotrope[coordinator]'"
            ) from error
        if not isinstance(found, click.Command):
            raise TypeError(f"{VERBS[cmd_name].target} is no click command")
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, VERBS[name].help) for name in self.list_commands(ctx)])


@click.group(cls=VerbGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="heliotrope", message="heliotrope %(version)s")
@click.option("--debug", is_flag=True, help=f"Show the Python trace of an error (or set {DEBUG_VARIABLE}=1).")
def cli(debug: bool) -> None:
    """Keeps AI work on green power: measures it, moves it, decides where it runs."""


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code; everything for people to read is printed."""
    try:
        result = cli.main(list(arguments), prog_name="heliotrope", standalone_mode=False)
        sys.stdout.flush()
    except click.Abort:
        return _fail("interrupted", INTERRUPTED_EXIT_CODE, arguments)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)  # a group without a verb: its help says more than one line could
        return error.exit_code
    except click.UsageError as error:
        return _fail(_usage(error), error.exit_code, arguments)
    except click.ClickException as error:
        return _fail(error.format_message(), error.exit_code, arguments)
    except HeliotropeError as error:
        return _fail(str(error), error.exit_code, arguments)
    except BrokenPipeError:
        # The reader (head, less) has enough. The interpreter flushes once more at exit: give it somewhere to write.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:  # noqa: BLE001 the last line of defence, and it says how to see the trace
        text = f"unexpected {type(error).__name__}: {error}; this is a defect, `heliotrope --debug ...` shows the trace"
        return _fail(text, UNEXPECTED_EXIT_CODE, arguments)
    return result if isinstance(result, int) else 0


def main() -> None:
    """The console script."""
    sys.exit(run(sys.argv[1:]))


def _fail(text: str, exit_code: int, arguments: Sequence[str]) -> int:
    if _debugging(arguments):
        traceback.print_exc()
    click.echo("heliotrope: " + " ".join(text.split()), err=True)
    return exit_code


def _debugging(arguments: Sequence[str]) -> bool:
    """Whether --debug stands before the verb; read here because the command line itself may be what is wrong."""
    options = []
    for argument in arguments:
        if not argument.startswith("-"):
            break
        options.append(argument)
    return "--debug" in options or os.environ.get(DEBUG_VARIABLE, "") not in ("", "0")


def _usage(error: click.UsageError) -> str:
    path = error.ctx.command_path if error.ctx is not None else "heliotrope"
    return f"{error.format_message().rstrip('.')}; see: {path} --help"
