"""The demonstration as it runs: a live table on a terminal, a line per event anywhere else."""

from __future__ import annotations

import time
from datetime import datetime
from typing import IO, Any

import click
from rich import box
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from ..output import UNKNOWN, format_bytes, format_power, format_seconds, printable
from .recording import DecisionSeen, FleetSeen, JobSeen, MigrationSeen, SiteSeen
from .scenario import Scenario

DECISIONS_SHOWN = 4
BAR_WIDTH = 32
STEP_LINES = 12  # lines of the plain view about the training's progress


class LineView:
    """Events as lines, to a file that is no terminal. With ``quiet`` only milestones."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file
        self._began_s = time.monotonic()
        self._steps = 0
        self._told_step = 0
        self._known: dict[str, str] = {}
        self._decisions: set[str] = set()

    def __enter__(self) -> LineView:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to put back."""

    def say(self, text: str) -> None:
        click.echo(f"{time.monotonic() - self._began_s:7.1f} s  {printable(text)}", file=self._file)

    def begin(self, scenario: Scenario, steps: int, submitted_utc: datetime) -> None:
        self._steps = steps
        self.say(f"submitted: {steps} steps of training, and the same run uninterrupted beside it")

    def picture(
        self, fleet: FleetSeen, job: JobSeen | None, decisions: list[DecisionSeen], reference_steps: int
    ) -> None:
        for site in fleet.sites:
            self._changed(f"window {site.name}", window_state(site), window_text(site))
        for migration in fleet.migrations:
            self._changed(migration.migration_id, migration.step, migration_text(migration))
        if job is not None:
            self._changed("job", f"{job.state} {job.site}", f"job {job.state.lower()} at {job.site or 'no site yet'}")
            if job.progress.step >= self._told_step + self._steps / STEP_LINES:
                self._told_step = job.progress.step
                self.say(job_text(job, self._steps))
        for decision in reversed(decisions):
            if decision.action in ("place", "move") and decision.decision_id not in self._decisions:
                self._decisions.add(decision.decision_id)
                self.say(f"decision {decision.decision_id}: {decision.reason}")

    def _changed(self, what: str, state: str, text: str) -> None:
        if self._known.get(what) != state:
            self._known[what] = state
            self.say(text)


class LiveView:
    """One picture that is redrawn, for terminals."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._began_s = time.monotonic()
        self._said = ""
        self._scenario: Scenario | None = None
        self._steps = 0
        self._submitted_utc: datetime | None = None
        self._seen: tuple[FleetSeen, JobSeen | None, list[DecisionSeen], int] | None = None
        # Last: rich asks for the first picture at once.
        self._live = Live(console=console, refresh_per_second=8, transient=True, get_renderable=self.render)

    def __enter__(self) -> LiveView:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def say(self, text: str) -> None:
        self._said = text

    def begin(self, scenario: Scenario, steps: int, submitted_utc: datetime) -> None:
        self._scenario, self._steps, self._submitted_utc = scenario, steps, submitted_utc
        self._said = f"training {steps} steps; the same run goes uninterrupted beside it"

    def picture(
        self, fleet: FleetSeen, job: JobSeen | None, decisions: list[DecisionSeen], reference_steps: int
    ) -> None:
        self._seen = (fleet, job, decisions, reference_steps)

    def render(self) -> RenderableType:
        """The picture of this moment."""
        head = Text(f"heliotrope demo  {time.monotonic() - self._began_s:5.0f} s  ", style="bold")
        head.append(printable(self._said), style="dim")
        if self._seen is None:
            return head
        fleet, job, decisions, reference_steps = self._seen
        head.append(f"\ntrace clock {fleet.trace_utc:%a %d %b %H:%M} UTC, {fleet.trace_scale:.0f} x", style="cyan")
        parts: list[RenderableType] = [head, self._sites(fleet, job)]
        if job is not None:
            parts.append(self._bars(fleet, job, reference_steps))
        parts.append(_decisions(decisions))
        return Group(*parts)

    def _sites(self, fleet: FleetSeen, job: JobSeen | None) -> Table:
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        for title in ("site", "window", "g/kWh", "power", "runs"):
            table.add_column(title, justify="right" if title in ("g/kWh", "power") else "left", min_width=6)
        for site in fleet.sites:
            nodes = [node for node in fleet.nodes if node.site == site.name]
            known = [node.power_w for node in nodes if node.connected and node.power_w is not None]
            mark = " est." if any(node.power_estimated for node in nodes) else ""
            away = "" if nodes and all(node.connected for node in nodes) else " (agent away)"
            here = job is not None and job.site == site.name
            intensity = "unknown" if site.intensity_g_per_kwh is None else f"{site.intensity_g_per_kwh:.0f}"
            table.add_row(
                Text(site.name, style="bold" if here else ""),
                Text(_window(site), style="green" if site.window_remaining_s else "dim"),
                intensity,
                f"{format_power(sum(known))}{mark}" if known else UNKNOWN,
                Text((f"train: {job.state.lower()}" if here and job else "") + away, style="yellow"),
            )
        return table

    def _bars(self, fleet: FleetSeen, job: JobSeen, reference_steps: int) -> Table:
        table = Table.grid(padding=(0, 2))
        loss = "" if job.progress.loss is None or not job.progress.step else f"loss {job.progress.loss:.3f}"
        table.add_row("training", _bar(job.progress.step, self._steps), f"{job.progress.step}/{self._steps} {loss}")
        table.add_row("reference", _bar(reference_steps, self._steps), f"{reference_steps}/{self._steps}")
        for migration in fleet.migrations:
            table.add_row(
                migration.step.lower(),
                _bar(migration.progress_ratio, 1.0),
                f"{migration.source_site or 'bundle'} to {migration.destination_site} {_rate(migration)}",
            )
        return table


def window_state(site: SiteSeen) -> str:
    """What of a window is worth a line when it changes."""
    return "open" if site.window_remaining_s else "closed"


def window_text(site: SiteSeen) -> str:
    """One line about a site's window, in real seconds."""
    return f"window at {site.name}: {_window(site)}"


def job_text(job: JobSeen, steps: int) -> str:
    """One line about the job's progress."""
    loss = f", loss {job.progress.loss:.3f}" if job.progress.loss is not None else ""
    return f"step {job.progress.step}/{steps}{loss} at {job.site}"


def migration_text(migration: MigrationSeen) -> str:
    """One line about a migration's step."""
    path = (
        f"{migration.source_site} to {migration.destination_site}"
        if migration.source_site
        else (f"to {migration.destination_site}")
    )
    note = f" ({migration.message})" if migration.message not in ("", migration.cause) else ""
    return f"{migration.kind.lower()} {migration.migration_id} {path}: {migration.step}{note}"


def _window(site: SiteSeen) -> str:
    if site.window_remaining_s:
        return f"open, closes in {format_seconds(round(site.window_remaining_s))}"
    if site.next_window_in_s is None:
        return "closed"
    return f"closed, opens in {format_seconds(round(site.next_window_in_s))}"


def _rate(migration: MigrationSeen) -> str:
    if migration.step not in ("STAGING", "SENDING") or not migration.rate_bytes_per_s:
        return ""
    left = "" if migration.left_s is None else f", {format_seconds(migration.left_s)} left"
    return f"{format_bytes(migration.rate_bytes_per_s)}/s{left}"


def _bar(done: float, total: float) -> ProgressBar:
    return ProgressBar(total=max(total, 1e-9), completed=min(done, total), width=BAR_WIDTH)


def _decisions(decisions: list[DecisionSeen]) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False, expand=True)
    table.add_column(style="magenta", no_wrap=True, min_width=6)
    table.add_column(overflow="ellipsis", no_wrap=True, ratio=1)
    for decision in decisions[:DECISIONS_SHOWN]:
        times = f" ({decision.repeat_count} x)" if decision.repeat_count > 1 else ""
        table.add_row(decision.action, Text(printable(decision.reason) + times, style="dim"))
    return table


def choose(console: Console, file: IO[str], *, live: bool) -> Any:
    """The live view where it can be seen, else lines to ``file``."""
    return LiveView(console) if live and console.is_terminal else LineView(file)
