"""The report's style sheet: light by day, dark by night, narrow on a phone."""

from __future__ import annotations

STYLE = """
:root { --paper: #fbfaf6; --ink: #1d2320; --dim: #66706a; --line: #d9d8cf; --lane: #f0efe8; --window: #cfe8b8;
  --run: #1d2320; --standing: #e0562d; --curve: #8a7a2e; --good: #23733a; --bad: #b3261e;
  --site0: #d08a12; --site1: #2f7fb5; --site2: #7a4fa3; }
@media (prefers-color-scheme: dark) {
  :root { --paper: #14181a; --ink: #e6e8e3; --dim: #98a29c; --line: #343b3c; --lane: #1d2325; --window: #2c4a2b;
    --run: #f2f3ee; --standing: #ff7a4d; --curve: #d9c65a; --good: #7fd18f; --bad: #ff8a80;
    --site0: #f0b04a; --site1: #6db8e8; --site2: #b891dd; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }
main { max-width: 1040px; margin: 0 auto; padding: 24px 16px 64px; }
h1 { font-size: 1.9rem; margin: 0; letter-spacing: -0.02em; }
h2 { font-size: 1.15rem; margin: 40px 0 12px; border-bottom: 1px solid var(--line); padding-bottom: 4px; }
h3 { font-size: 0.95rem; margin: 20px 0 4px; font-weight: 600; }
p { max-width: 72ch; margin: 8px 0; }
.lead { font-size: 1.2rem; } .good { color: var(--good); } .bad { color: var(--bad); } .dim { color: var(--dim); }
.figure { overflow-x: auto; }
svg { display: block; width: 100%; min-width: 720px; height: auto; font: 12px system-ui, sans-serif; }
table { border-collapse: collapse; font-size: 0.92rem; margin: 8px 0; }
th, td { text-align: left; padding: 4px 14px 4px 0; border-bottom: 1px solid var(--line); vertical-align: top;
  font-variant-numeric: tabular-nums; }
.figure td { white-space: nowrap; }
th { font-weight: 600; }
table.fields { width: 100%; } table.fields th { width: 15em; color: var(--dim); font-weight: 400; }
table.fields td { overflow-wrap: anywhere; }
@media (max-width: 560px) { table.fields th, table.fields td { display: block; width: auto; border: 0; padding: 0; }
  table.fields th { padding-top: 8px; } table.fields tr { border-bottom: 1px solid var(--line); } }
details { border-bottom: 1px solid var(--line); padding: 6px 0; } summary { cursor: pointer; }
summary b { display: inline-block; min-width: 3.4em; } b.move, b.place { color: var(--good); }
b.stay { color: var(--dim); }
pre { overflow-x: auto; background: var(--lane); padding: 12px; border-radius: 6px; font-size: 0.85rem; }
.key { margin-right: 18px; white-space: nowrap; font-size: 0.9rem; }
.key::before { content: ""; display: inline-block; width: 22px; height: 10px; margin-right: 6px;
  background: var(--dim); }
.key.window::before { background: var(--window); } .key.run::before { background: var(--run); height: 5px; }
.key.standing::before { background: var(--standing); height: 5px; }
.key.intensity::before { background: var(--curve); height: 2px; vertical-align: middle; }
.key.site0::before { background: var(--site0); } .key.site1::before { background: var(--site1); }
.key.site2::before { background: var(--site2); }
svg text { fill: var(--ink); } svg .tick { fill: var(--dim); font-size: 11px; }
svg .site { font-weight: 600; font-size: 13px; }
svg .mark { fill: var(--standing); font-weight: 600; }
svg .number { fill: var(--paper); font-weight: 700; font-size: 11px; } svg .steplabel { fill: #fff; font-size: 11px; }
.lane { fill: var(--lane); } .window { fill: var(--window); } .grid { stroke: var(--line); stroke-width: 1; }
.intensity { fill: none; stroke: var(--curve); stroke-width: 1.5; }
.run { stroke: var(--run); stroke-width: 6; stroke-linecap: round; }
.hop { stroke: var(--run); stroke-width: 2; stroke-dasharray: 2 4; }
.standing { stroke: var(--standing); stroke-width: 6; }
.dot { fill: var(--run); } .strike { stroke: var(--bad); stroke-width: 2; }
.restart { stroke: var(--bad); stroke-width: 1; stroke-dasharray: 4 4; }
.curve { fill: none; stroke-width: 2; stroke: var(--ink); } .area { stroke: none; opacity: 0.85; }
.curve.site0 { stroke: var(--site0); } .curve.site1 { stroke: var(--site1); } .curve.site2 { stroke: var(--site2); }
.area.site0 { fill: var(--site0); } .area.site1 { fill: var(--site1); } .area.site2 { fill: var(--site2); }
.step { fill: var(--dim); } .step.preparing { fill: #8a9490; } .step.staging { fill: #4e8f5b; }
.step.quiescing { fill: #d9822b; }
.step.sending { fill: #c9472a; } .step.verified { fill: #8c3b8f; } .step.starting { fill: #34649e; }
.step.aborting, .step.recovering { fill: #b3261e; }
"""
