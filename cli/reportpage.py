"""A report as one HTML file: nothing is fetched, no script runs, light and dark; tables have the plots' figures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from html import escape

from . import reportplots as plots
from .messages import Record
from .output import (
    UNKNOWN,
    format_energy,
    format_ratio,
    format_seconds,
    format_time,
    printable,
)
from .reporttables import TABLES, energy, line, notes

STYLE = """
:root { color-scheme: light dark; --paper: #fbfaf6; --ink: #1d2320; --dim: #5c665f; --line: #d9d8cf; --card: #f0efe8;
  --renewable: #2e8b57; --other: #8c6d46; --unknown: #b9bcb6; --carbon: #4a5568; --embodied: #a8794e; }
@media (prefers-color-scheme: dark) { :root { --paper: #14181a; --ink: #e6e8e3; --dim: #a3ada7; --line: #343b3c;
  --card: #1d2325; --renewable: #5fc98a; --other: #c29b6c; --unknown: #5b6462; --carbon: #9fb0c6;
  --embodied: #d6a578; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }
main { max-width: 1120px; margin: 0 auto; padding: 24px 16px 64px; }
h1 { font-size: 1.9rem; margin: 0; } h2 { font-size: 1.15rem; margin: 36px 0 8px; }
p { max-width: 76ch; margin: 8px 0; } .dim { color: var(--dim); }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(170px, 1fr)); gap: 12px;
  margin: 20px 0; padding: 0; }
.cards div { background: var(--card); border-radius: 8px; padding: 12px 14px; }
.cards dt { color: var(--dim); font-size: 0.85rem; } .cards dd { margin: 0; font-size: 1.3rem; font-weight: 600; }
.cards dd.note { font-size: 0.82rem; font-weight: 400; color: var(--dim); }
.wide { overflow-x: auto; } figure { margin: 0; } figcaption { font-size: 0.88rem; margin: 4px 0; }
svg { display: block; width: 100%; min-width: 680px; height: auto; font: 12px system-ui, sans-serif; }
svg text { fill: var(--ink); } svg .tick { fill: var(--dim); font-size: 11px; } .grid { stroke: var(--line); }
.renewable { fill: var(--renewable); } .other { fill: var(--other); } .unknown { fill: var(--unknown); }
.carbon { fill: var(--carbon); } .embodied { fill: var(--embodied); }
.share { stroke: var(--renewable); stroke-width: 3; }
.key { margin-right: 18px; white-space: nowrap; } .key::before { content: ""; display: inline-block; width: 18px;
  height: 10px; margin-right: 6px; background: var(--unknown); }
.key.renewable::before { background: var(--renewable); } .key.other::before { background: var(--other); }
.key.carbon::before { background: var(--carbon); } .key.embodied::before { background: var(--embodied); }
table { border-collapse: collapse; font-size: 0.88rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; font-weight: 600; padding: 4px 0; }
th, td { text-align: right; padding: 4px 12px 4px 0; border-bottom: 1px solid var(--line); white-space: nowrap; }
th:first-child, td:first-child, th.text, td.text { text-align: left; }
"""
_KEYS = {"renewable": "renewable", "other": "not renewable", "unknown": "unknown"}


def render(found: Record, names: Mapping[str, str], made_utc: datetime) -> str:
    """The page. ``names``: job id -> name."""
    fleet = found["fleet"] or "fleet"
    buckets = plots.buckets(found["points"])
    length_s = found["point_length_s"] or 1.0
    jobs = [row for row in found["rows"] if row["kind"] == "job"]
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            # Nothing may be loaded, whatever a job is called.
            """<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">""",
            f"<title>Energy and carbon of {_e(fleet)}</title>",
            f"<style>{STYLE}</style></head><body><main>",
            *_head(found, fleet, made_utc),
            *_cards(found["rows"]),
            *_plot("Energy by source", plots.draw_energy(buckets, length_s), _KEYS, _step(length_s)),
            *_plot(
                "Carbon",
                plots.draw_carbon(buckets, length_s),
                {"carbon": "operational", "embodied": "embodied", "unknown": "more, of unknown intensity"},
                _step(length_s),
            ),
            *_plot("Renewable share", plots.draw_share(buckets, length_s), {"unknown": "unknown"}, _step(length_s)),
            *_plot("Jobs", plots.draw_jobs(jobs, names), _KEYS, f"At most {plots.BARS_LIMIT}, the largest first."),
            *_tables(found["rows"], names),
            *_reading(found["rows"]),
            "</main></body></html>",
            "",
        ]
    )


def _head(found: Record, fleet: str, made_utc: datetime) -> list[str]:
    since = format_time(found["start_utc"]) if found["start_utc"] else "the beginning"
    return [
        f"<header><h1>Energy and carbon of {_e(fleet)}</h1>",
        f"<p>From {_e(since)} to {_e(format_time(found['end_utc']))}.</p>",
        f'<p class="dim">Made by heliotrope report at {_e(format_time(made_utc))}.</p></header>',
    ]


def _cards(rows: Sequence[Record]) -> list[str]:
    """The fleet's totals, or the one job's."""
    total = next((row for row in rows if row["kind"] == "fleet"), None)
    total = total or next((row for row in rows if row["kind"] == "job"), None)
    if total is None:
        return ["<p>No energy was booked in this time.</p>"]
    used, with_pue, carbon, embodied, _static, share, hourly, covered = energy(total)
    late = format_energy(total["late_energy_j"])
    unknown = f"{format_energy(total['unknown_energy_j'])} of unknown intensity in no figure"
    cards = [
        ("Energy", used, f"{with_pue} with PUE"),
        ("Operational carbon", carbon, unknown if total["unknown_energy_j"] else "intensity known throughout"),
        ("Embodied carbon", embodied, f"{format_seconds(total['unknown_embodied_s'])} of devices without a figure"),
        ("Renewable share", share, f"{hourly} matched by the hour"),
        ("Measured", covered, "of the time, the rest are gaps"),
        ("Came late", late, f"{total['lost_batch_count']} records lost"),
    ]
    body = "".join(
        f'<div><dt>{_e(name)}</dt><dd>{_e(value)}</dd><dd class="note">{_e(note)}</dd></div>'
        for name, value, note in cards
    )
    return [f'<dl class="cards">{body}</dl>']


def _plot(title: str, svg: str, keys: Mapping[str, str], note: str) -> list[str]:
    words = "".join(f'<span class="key {css}">{_e(name)}</span>' for css, name in keys.items())
    body = f'<div class="wide">{svg}</div>' if svg else f'<p class="dim">{UNKNOWN}: nothing was booked.</p>'
    return [
        f"<section><h2>{_e(title)}</h2><figure>{body}",
        f'<figcaption>{words}<span class="dim">{_e(note)}</span></figcaption></figure></section>',
    ]


def _tables(rows: Sequence[Record], names: Mapping[str, str]) -> list[str]:
    parts = ["<section><h2>Figures</h2>"]
    for kind, title, columns in TABLES:
        chosen = [row for row in rows if row["kind"] == kind]
        if chosen:
            head = [(column.title.capitalize().replace("pue", "PUE"), column.right) for column in columns]
            parts.append(_table(title.capitalize(), head, (line(row, names) for row in chosen)))
    return [*parts, "</section>"]


def _table(caption: str, head: Sequence[tuple[str, bool]], rows: Iterable[Sequence[str]]) -> str:
    css = ["" if right else ' class="text"' for _, right in head]
    top = "".join(f'<th scope="col"{mark}>{_e(name)}</th>' for (name, _), mark in zip(head, css, strict=True))
    body = ""
    for first, *rest in rows:
        cells = "".join(f"<td{mark}>{_e(cell)}</td>" for cell, mark in zip(rest, css[1:], strict=True))
        body += f'<tr><th scope="row">{_e(first)}</th>{cells}</tr>'
    inner = f"<caption>{_e(caption)}</caption><thead><tr>{top}</tr></thead><tbody>{body}</tbody>"
    return f'<div class="wide"><table>{inner}</table></div>'


def _reading(rows: list[Record]) -> list[str]:
    sources = sorted({source for row in rows for source in row["sources"]})
    said = [
        f"Meters: {', '.join(sources) or UNKNOWN}.",
        "Energy is what the nodes' meters showed; PUE is applied once, and never to energy metered at the facility. "
        "Unknown is never counted as zero: it is in no figure, and shown. Definitions: docs/ledger.md.",
        *(f"{note}." for note in notes(rows)),
    ]
    covered = format_ratio(next((row["coverage_ratio"] for row in rows if row["kind"] == "fleet"), None))
    said.append(f"Coverage of the measurement: {covered}.")
    return ["<section><h2>How to read this</h2>", *(f"<p>{_e(text)}</p>" for text in said), "</section>"]


def _step(length_s: float) -> str:
    return f"One bar is {format_seconds(length_s)}."


def _e(text: str) -> str:
    return escape(printable(text), quote=True)
