"""The time line: windows of the sites as bands, the job's path over them, its moves, and what was killed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from ..output import format_seconds
from .drawing import Scale, Svg, ticks
from .recording import MigrationSeen, Recording, RunSeen
from .verdict import moves_of

WIDTH, LEFT, RIGHT = 960.0, 112.0, 16.0
LANE, LANE_GAP, TOP, BOTTOM = 62.0, 10.0, 34.0, 30.0
# The job stands from QUIESCING on; what comes before happens while it trains.
STANDING_FROM = "QUIESCING"
STEP_ORDER = ("PREPARING", "STAGING", "QUIESCING", "SENDING", "VERIFIED", "STARTING")
END_STEPS = ("COMMITTED", "ABORTED", "RECOVERED", "FAILED")


@dataclass(frozen=True)
class Frame:
    """Where a chart's plot lies, and its time axis, the same for all charts."""

    x: Scale
    top: float
    bottom: float


def frame(recording: Recording, top: float, bottom: float) -> Frame:
    """The frame of a chart between two heights."""
    return Frame(Scale(0.0, max(recording.duration_s, 1e-3), LEFT, WIDTH - RIGHT), top, bottom)


def draw(recording: Recording) -> str:
    """The time line as an svg element."""
    lanes = len(recording.sites)
    height = TOP + lanes * (LANE + LANE_GAP) + BOTTOM
    svg = Svg(WIDTH, height, "Time line: windows per site and the job's path over the sites")
    box = frame(recording, TOP, height - BOTTOM - LANE_GAP)
    _lanes(svg, recording, box)
    real_time_axis(svg, box)
    _trace_axis(svg, recording, box)
    _job_path(svg, recording, box)
    _strike(svg, recording, box)
    return svg.render()


def lane_middle(recording: Recording, site: str) -> float:
    """The height at which a site's lane has its middle."""
    return TOP + recording.sites.index(site) * (LANE + LANE_GAP) + LANE / 2


def real_time_axis(svg: Svg, box: Frame) -> None:
    """Real seconds since submission, below a plot."""
    for value in ticks(box.x.low, box.x.high, 8):
        x = box.x(value)
        svg.line(x, box.top, x, box.bottom, "grid")
        svg.text(x, box.bottom + 16, f"{value:g} s", "tick", "middle")


def _lanes(svg: Svg, recording: Recording, box: Frame) -> None:
    intensity = _intensity_scale(recording)
    for index, site in enumerate(recording.sites):
        top = TOP + index * (LANE + LANE_GAP)
        svg.rect(LEFT, top, WIDTH - LEFT - RIGHT, LANE, "lane")
        svg.text(LEFT - 10, top + LANE / 2 - 3, site, "site", "end")
        for span in recording.windows.get(site, []):
            left, right = box.x.clamp(span.start_s), box.x.clamp(span.end_s)
            title = f"window at {site}: {span.start_s:.1f} s to {span.end_s:.1f} s"
            svg.rect(left, top, right - left, LANE, "window", title)
        y = Scale(intensity[0], intensity[1], top + LANE - 4, top + 4)
        points = [
            None if (value := sample.intensity_g_per_kwh.get(site)) is None else (box.x.clamp(sample.at_s), y(value))
            for sample in recording.samples
        ]
        svg.path(points, "intensity")
        known = [value for one in recording.samples if (value := one.intensity_g_per_kwh.get(site)) is not None]
        extent = f"{min(known):.0f} to {max(known):.0f} g/kWh" if known else "intensity unknown"
        svg.text(LEFT - 10, top + LANE / 2 + 13, extent, "tick", "end")


def _intensity_scale(recording: Recording) -> tuple[float, float]:
    values = [value for one in recording.samples for value in one.intensity_g_per_kwh.values() if value is not None]
    return (0.0, max(values, default=1.0) or 1.0)


def _trace_axis(svg: Svg, recording: Recording, box: Frame) -> None:
    """The trace's clock above: whole hours of it, as many as fit."""
    span_s = recording.duration_s * recording.trace_scale
    step_s = next((hours * 3600 for hours in (1, 2, 3, 6, 12, 24) if span_s / (hours * 3600) <= 12), 48 * 3600)
    first = recording.trace_start_utc.replace(minute=0, second=0, microsecond=0)
    for count in range(int(span_s // 3600) + 2):
        moment = first + timedelta(hours=count)
        at_s = (moment - recording.trace_start_utc).total_seconds() / recording.trace_scale
        if moment.hour * 3600 % step_s == 0 and 0 <= at_s <= recording.duration_s:
            svg.text(box.x(at_s), TOP - 12, f"{moment:%H:%M}", "tick", "middle")
    svg.text(LEFT - 10, TOP - 12, "trace, UTC", "tick", "end")


def _job_path(svg: Svg, recording: Recording, box: Frame) -> None:
    runs = [run for run in recording.job.runs if run.site in recording.sites]
    for index, run in enumerate(runs):
        start, end = _span_s(recording, runs, index)
        y = lane_middle(recording, run.site)
        title = f"epoch {run.epoch} at {run.site}: {start:.1f} s to {end:.1f} s"
        svg.line(box.x.clamp(start), y, box.x.clamp(end), y, "run", title)
        if index:
            x = box.x.clamp(start)
            svg.line(x, lane_middle(recording, runs[index - 1].site), x, y, "hop")
    for number, migration in enumerate(moves_of(recording), 1):
        _move(svg, recording, box, migration, number)


def _span_s(recording: Recording, runs: list[RunSeen], index: int) -> tuple[float, float]:
    run = runs[index]
    end = recording.duration_s if run.ended_utc is None else recording.at_s(run.ended_utc)
    return recording.at_s(run.started_utc), min(end, recording.duration_s)


def _move(svg: Svg, recording: Recording, box: Frame, migration: MigrationSeen, number: int) -> None:
    """The standstill as a gap over the source's lane and, if it came to that, a numbered mark at the destination."""
    standing = migration.entered_utc(STANDING_FROM)
    passed = migration.entered_utc("STARTING")
    ended = next((found for step in END_STEPS if (found := migration.entered_utc(step))), None)
    if standing is None or migration.source_site not in recording.sites:
        return
    left = recording.at_s(standing)
    right = recording.at_s(passed or ended or standing)
    y = lane_middle(recording, migration.source_site)
    title = f"move {number}: {migration.source_site} to {migration.destination_site}, {migration.step.lower()}"
    svg.line(box.x.clamp(left), y, box.x.clamp(right), y, "standing", title)
    if passed is None or migration.destination_site not in recording.sites:
        svg.text(box.x.clamp(right) + 4, y - 8, f"move {number} {migration.step.lower()}", "mark")
        return
    at, there = box.x.clamp(recording.at_s(passed)), lane_middle(recording, migration.destination_site)
    if ended is not None:
        svg.line(at, there, box.x.clamp(recording.at_s(ended)), there, "standing", title)
    svg.circle(at, there, 9, "dot", title)
    svg.text(at, there + 4, str(number), "number", "middle")


def _strike(svg: Svg, recording: Recording, box: Frame) -> None:
    if recording.strike is None:
        return
    at = recording.at_s(recording.strike.killed_utc)
    x = box.x.clamp(at)
    title = f"{recording.strike.member} killed at {at:.1f} s, in {recording.strike.step}"
    svg.line(x, box.top, x, box.bottom, "strike", title)
    svg.text(x + 5, box.bottom - 4, f"SIGKILL {recording.strike.member}", "mark")
    if recording.strike.restarted_utc is not None:
        back = box.x.clamp(recording.at_s(recording.strike.restarted_utc))
        svg.line(back, box.top, back, box.bottom, "restart", f"{recording.strike.member} back")


def draw_moves(recording: Recording) -> str:
    """Each move's steps on a common scale of seconds, as an svg element; empty when there was no move."""
    moves = [one for one in moves_of(recording) if len(one.steps) > 1]
    if not moves:
        return ""
    longest_s = max(_length_s(one) for one in moves)
    height = TOP + len(moves) * 44.0 + BOTTOM
    svg = Svg(WIDTH, height, "The steps of each move")
    box = Frame(Scale(0.0, longest_s, LEFT, WIDTH - RIGHT), 10.0, height - BOTTOM)
    real_time_axis(svg, box)
    for index, migration in enumerate(moves):
        top = 18.0 + index * 44.0
        svg.text(LEFT - 10, top + 12, f"move {index + 1}", "site", "end")
        svg.text(LEFT - 10, top + 26, migration.step.lower(), "tick", "end")
        began = migration.steps[0].entered_utc
        for seen, following in zip(migration.steps, migration.steps[1:], strict=False):
            first = (seen.entered_utc - began).total_seconds()
            last = (following.entered_utc - began).total_seconds()
            title = f"{seen.step}: {format_seconds(last - first)}"
            svg.rect(box.x(first), top, box.x(last) - box.x(first), 22, f"step {seen.step.lower()}", title)
            if box.x(last) - box.x(first) > 8 * len(seen.step):
                svg.text(box.x((first + last) / 2), top + 15, seen.step.lower(), "steplabel", "middle")
        path = f"{migration.source_site} to {migration.destination_site}"
        svg.text(box.x(0), top + 35, path, "tick")
    return svg.render()


def _length_s(migration: MigrationSeen) -> float:
    return max((migration.steps[-1].entered_utc - migration.steps[0].entered_utc).total_seconds(), 1e-3)
