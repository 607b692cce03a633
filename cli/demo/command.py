"""``heliotrope demo``: the whole system on one machine, with a verdict at the end."""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import click
import msgspec

from heliotrope.foundation import records
from heliotrope.foundation.errors import InvalidInput

from ..output import (
    Column,
    console,
    format_bytes,
    format_carbon,
    format_energy,
    format_seconds,
    json_option,
    print_fields,
    print_json,
    print_table,
)
from . import page, views
from .performance import Options, perform
from .recording import Recording
from .striking import Who
from .verdict import Verdict, failure, judge

REPORT, RECORDING = "report.html", "recording.json"


@click.command()
@click.option(
    "--traces",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Real carbon intensities (CSV: datetime_utc, then a column per zone) instead of the sun's position.",
)
@click.option(
    "--zones", metavar="A,B,C", default="", help="Which three columns of --traces [default: three that differ]."
)
@click.option(
    "--kill",
    type=click.Choice(["coordinator", "source", "destination"]),
    help="SIGKILL this process in the middle of a move and start it again.",
)
@click.option(
    "--state-mb", type=click.FloatRange(2, 5000), default=100.0, show_default=True, help="The job's state, in MB."
)
@click.option(
    "--target-s",
    type=click.FloatRange(15, 3600),
    default=75.0,
    show_default=True,
    help="How long the training shall take; its steps are counted accordingly.",
)
@click.option(
    "--day-s",
    type=click.FloatRange(24, 86_400),
    default=70.0,
    show_default=True,
    help="How many seconds a day of the traces takes.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("demo-report"),
    show_default=True,
    metavar="DIR",
    help="Where the report is written.",
)
@click.option("--keep", is_flag=True, help="Keep the fleet's folder: its logs, configuration files and database.")
@click.option("--live/--no-live", default=True, help="A live view on a terminal, or a line per event.")
@json_option
def demo(
    traces: Path | None,
    zones: str,
    kill: str | None,
    state_mb: float,
    target_s: float,
    day_s: float,
    out: Path,
    keep: bool,
    live: bool,
    as_json: bool,
) -> None:
    """Watch a training job follow the green power through three sites, on this machine.

    Real processes, real training, real bytes over mutual TLS; only the traces' clock runs faster. Exit code 0 only if
    the job moved at least twice and its result equals that of an uninterrupted run, byte for byte.
    """
    if zones and traces is None:
        raise InvalidInput("field --zones: it names columns of --traces FILE; give that as well")
    _check_out(out)
    options = Options(
        traces=traces,
        zones=tuple(zone.strip() for zone in zones.split(",") if zone.strip()),
        kill=cast(Who | None, kill),
        state_mb=state_mb,
        target_s=target_s,
        day_s=day_s,
        keep=keep,
    )
    with (
        _ends_cleanly(),
        views.choose(console(), sys.stderr if as_json else sys.stdout, live=live and not as_json) as view,
    ):
        recording = perform(options, view)
    verdict = write(recording, out)
    if as_json:
        print_json(verdict)
    else:
        show(verdict)
    error = failure(verdict, recording)
    if error is not None:
        raise error


def write(recording: Recording, out: Path) -> Verdict:
    """Report and recording, each whole by rename; the verdict that names where the report is."""
    verdict = judge(recording, str(out / REPORT))
    out.mkdir(parents=True, exist_ok=True)
    records.write_durably(out / RECORDING, msgspec.json.encode(recording), mode=0o644)
    records.write_durably(out / REPORT, page.render(recording, verdict).encode(), mode=0o644)
    return verdict


def show(verdict: Verdict) -> None:
    """The verdict as tables for people."""
    mark = " (estimated)" if verdict.energy_estimated else ""
    print_table(
        [
            Column("site"),
            Column("steps", True),
            Column(f"energy{mark}", True),
            Column("carbon", True),
            Column("never moved", True),
        ],
        [
            (
                site.site,
                str(site.steps),
                format_energy(site.energy_j),
                format_carbon(site.carbon_g),
                format_carbon(site.carbon_static_g),
            )
            for site in verdict.sites
        ],
    )
    click.echo()
    rows = [
        ("moves", str(verdict.moves)),
        ("state", format_bytes(verdict.state_bytes)),
        ("sent", format_bytes(verdict.wire_bytes)),
        ("standstill", ", ".join(format_seconds(one) for one in verdict.standstill_s)),
        ("of it network", ", ".join(format_seconds(one) for one in verdict.standstill_network_s)),
        ("energy", f"{format_energy(verdict.energy_j)}{mark}"),
        ("carbon", f"{format_carbon(verdict.carbon_g)}, never moved {format_carbon(verdict.carbon_static_g)}{mark}"),
        (
            "the job alone",
            f"{format_carbon(verdict.job_carbon_g)}, never moved {format_carbon(verdict.job_carbon_static_g)}{mark}",
        ),
        ("digest", verdict.parameters_digest),
        ("uninterrupted", verdict.reference_digest),
        ("bit exact", "yes" if verdict.bit_exact else "NO"),
        ("took", format_seconds(verdict.seconds)),
        ("report", verdict.report),
    ]
    if verdict.killed is not None:
        rows.insert(1, ("killed", f"{verdict.killed.member} by SIGKILL in {verdict.killed.step}"))
    print_fields(rows)


def _check_out(out: Path) -> None:
    """Before two minutes of work, not after."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        probe = out / f".{REPORT}.probe"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise InvalidInput(f"cannot write to {out}: {error.strerror}; choose another --out") from error


@contextlib.contextmanager
def _ends_cleanly() -> Iterator[None]:
    """SIGTERM ends the demonstration as Ctrl-C does: through every context manager, leaving no process behind.

    The second of an impatient person must not interrupt that: it is ignored.
    """
    numbers = (signal.SIGINT, signal.SIGTERM)

    def interrupt(_number: int, _frame: Any) -> None:
        for number in numbers:
            signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in numbers}
    try:
        yield
    except KeyboardInterrupt:
        raise click.Abort from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
