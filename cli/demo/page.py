"""The report: one HTML file that needs nothing else, readable in five years and without a network."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from ..output import format_bytes, format_carbon, format_energy, format_ratio, format_seconds, format_time
from .charts import draw_intensity, draw_loss, draw_power
from .recording import DecisionSeen, Recording
from .style import STYLE
from .timeline import draw, draw_moves
from .verdict import Verdict, moves_of


def render(recording: Recording, verdict: Verdict) -> str:
    """The whole page."""
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>Heliotrope: {_e(recording.title)}</title>",
            f"<style>{STYLE}</style></head><body><main>",
            *_head(recording, verdict),
            *_section("What happened", [_figure(draw(recording)), _time_line_key(), _p(recording.source)]),
            *_section("Verdict", [_verdict_table(recording, verdict), *_site_table(recording, verdict)]),
            *_moves(recording),
            *_curves(recording),
            *_decisions(recording),
            *_how(recording),
            "</main></body></html>",
            "",
        ]
    )


def _head(recording: Recording, verdict: Verdict) -> list[str]:
    if verdict.failure:
        sentence, css = verdict.failure, "bad"
    else:
        sentence = (
            f"One training job ran at {len({run.site for run in recording.job.runs})} sites, moved {verdict.moves} "
            "times, and ended with the same bytes as a run that was never interrupted."
        )
        css = "good"
    return [
        "<header><h1>Heliotrope</h1>",
        f'<p class="lead {css}">{_e(sentence)}</p>',
        f'<p class="dim">{_e(recording.title)}, {_e(format_time(recording.submitted_utc))}</p></header>',
    ]


def _verdict_table(recording: Recording, verdict: Verdict) -> str:
    estimated = " (estimated)" if verdict.energy_estimated else ""
    saved_g = verdict.carbon_static_g - verdict.carbon_g
    job_saved_g = verdict.job_carbon_static_g - verdict.job_carbon_g
    standing_bytes = sum(one.standstill_wire_bytes for one in moves_of(recording))
    rows = [
        (
            "Moves",
            str(verdict.moves) + (f", and {verdict.moves_not_committed} begun in vain" if _vain(verdict) else ""),
        ),
        ("Bit exact", "yes" if verdict.bit_exact else "no"),
        ("Digest of the moved job", verdict.parameters_digest or "none"),
        ("Digest of the uninterrupted run", verdict.reference_digest or "none"),
        ("Steps, final loss", f"{verdict.steps}, {_loss(verdict.final_loss)}"),
        ("State", format_bytes(verdict.state_bytes)),
        (
            "Sent for all moves",
            f"{format_bytes(verdict.wire_bytes)}, {format_bytes(standing_bytes)} of it while the job stood",
        ),
        ("Standstill per move", ", ".join(format_seconds(one) for one in verdict.standstill_s) or "none"),
        ("of it network", ", ".join(format_seconds(one) for one in verdict.standstill_network_s) or "none"),
        (f"Energy, all sites{estimated}", format_energy(verdict.energy_j)),
        (f"Carbon, all sites{estimated}", f"{format_carbon(verdict.carbon_g)}"),
        (
            "Never moved, all sites",
            f"{format_carbon(verdict.carbon_static_g)}: {_saved(saved_g, verdict.carbon_static_g)}",
        ),
        (f"The job alone{estimated}", f"{format_energy(verdict.job_energy_j)}, {format_carbon(verdict.job_carbon_g)}"),
        (
            "The job, never moved",
            f"{format_carbon(verdict.job_carbon_static_g)}: {_saved(job_saved_g, verdict.job_carbon_static_g)}",
        ),
        ("Training took", f"{verdict.training_s:g} s; uninterrupted {_seconds(verdict.reference_s)}"),
        ("The whole demonstration", f"{verdict.seconds:g} s"),
    ]
    if recording.strike is not None:
        strike = recording.strike
        back = (
            ""
            if strike.restarted_utc is None
            else (f", back {format_seconds((strike.restarted_utc - strike.killed_utc).total_seconds())} later")
        )
        rows.insert(1, ("Killed on purpose", f"{strike.member} ({strike.who}) by SIGKILL in {strike.step}{back}"))
    return _fields(rows)


def _site_table(recording: Recording, verdict: Verdict) -> list[str]:
    rows = [
        (
            site.site,
            str(site.steps),
            format_energy(site.energy_j),
            format_energy(site.job_energy_j),
            format_carbon(site.carbon_g),
            format_carbon(site.carbon_static_g),
        )
        for site in verdict.sites
    ]
    head = ("site", "steps", "energy", "of it the job", "carbon", "the same energy at the first site")
    return [_table(head, rows), _p(recording.power_model)]


def _moves(recording: Recording) -> list[str]:
    moves = moves_of(recording)
    if not moves:
        return []
    rows = [
        (
            str(number),
            f"{one.source_site} to {one.destination_site}",
            one.step.lower(),
            format_bytes(one.state_bytes),
            format_bytes(one.wire_bytes),
            format_bytes(one.standstill_wire_bytes),
            format_seconds(one.standstill_s),
            format_seconds(one.standstill_network_s),
        )
        for number, one in enumerate(moves, 1)
    ]
    head = ("", "move", "ended", "state", "sent", "sent while standing", "standstill", "network part")
    messages = [f"Move {number}: {one.message}" for number, one in enumerate(moves, 1) if not one.committed]
    return _section("Moves", [_figure(draw_moves(recording)), _table(head, rows), *(_p(text) for text in messages)])


def _curves(recording: Recording) -> list[str]:
    key = "".join(f'<span class="key site{index}">{_e(site)}</span>' for index, site in enumerate(recording.sites))
    estimated = " (estimated)" if any(row.estimated for row in recording.report) else ""
    return _section(
        "Carbon, power, loss",
        [
            f"<p>{key}</p>",
            "<h3>Carbon intensity of each site's load, own generation included</h3>",
            _figure(draw_intensity(recording)),
            f"<h3>Power of the sites' nodes, stacked{estimated}; no area where it is unknown</h3>",
            _figure(draw_power(recording)),
            "<h3>Loss</h3>",
            _figure(draw_loss(recording)),
        ],
    )


def _decisions(recording: Recording) -> list[str]:
    return _section("Decisions, oldest first", [_decision(one) for one in recording.decisions])


def _decision(decision: DecisionSeen) -> str:
    times = f", {decision.repeat_count} times in a row" if decision.repeat_count > 1 else ""
    head = f'<summary><b class="{_e(decision.action)}">{_e(decision.action)}</b> {_e(decision.reason)}{times}</summary>'
    return f"<details>{head}<pre>{_e(decision.text)}</pre></details>"


def _how(recording: Recording) -> list[str]:
    machine = ", ".join(f"{name} {value}" for name, value in recording.machine.items())
    scaled = (
        f"One second of the demonstration is {recording.trace_scale:.0f} seconds of the traces; windows were "
        "turned into real seconds before any inequality. Nothing else is scaled: processes, training, sockets and "
        "bytes are real. "
        f"The job tolerates disruption for {format_ratio(recording.alpha_ratio)} of a window, where 10 % is usual: "
        "a window of hours lasts half a minute here, and a move takes its real time."
    )
    return _section("How to read this", [_p(scaled), _p(recording.weighting), _p(f"Machine: {machine}.")])


def _time_line_key() -> str:
    return (
        '<p><span class="key window">renewable window</span><span class="key run">job runs</span>'
        '<span class="key standing">job stands</span><span class="key intensity">carbon intensity</span></p>'
    )


def _section(title: str, parts: Iterable[str]) -> list[str]:
    return [f"<section><h2>{_e(title)}</h2>", *(part for part in parts if part), "</section>"]


def _figure(svg: str) -> str:
    return f'<div class="figure">{svg}</div>' if svg else ""


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    top = "".join(f"<th>{_e(cell)}</th>" for cell in head)
    body = "".join("<tr>" + "".join(f"<td>{_e(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<div class="figure"><table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'


def _fields(rows: Iterable[tuple[str, str]]) -> str:
    body = "".join(f"<tr><th>{_e(name)}</th><td>{_e(value)}</td></tr>" for name, value in rows)
    return f'<table class="fields"><tbody>{body}</tbody></table>'


def _p(text: str) -> str:
    return f"<p>{_e(text)}</p>" if text else ""


def _vain(verdict: Verdict) -> bool:
    return verdict.moves_not_committed > 0


def _saved(saved_g: float, static_g: float) -> str:
    if static_g <= 0:
        return "nothing to compare"
    return (
        f"{format_carbon(abs(saved_g))} ({format_ratio(abs(saved_g) / static_g)}) {'saved' if saved_g >= 0 else 'more'}"
    )


def _loss(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.4f}"


def _seconds(value: float | None) -> str:
    return "unknown" if value is None else f"{value:g} s"


def _e(text: str) -> str:
    return escape(text, quote=True)
