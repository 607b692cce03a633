"""What learnt error quantiles are worth: pinball loss against plain persistence, on recorded series.

    python -m benchmarks.forecasts --data FOLDER --json

FOLDER holds `electricitymaps/lca.csv.gz` (hours of intensity, a column per zone) and, if it likes, `rts-gmlc/`
(day-ahead and real-time wind). Only past errors enter: at each issue the model knows what had been realised by then.
One row per series, method and lead: mean pinball loss over the quantiles 0.1, 0.5 and 0.9, its ratio to plain
persistence (the last value as every quantile), and how often the stated p10 was missed.
"""

from __future__ import annotations

import csv
import gzip
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import click
import msgspec
import numpy as np

from heliotrope.coordinator.forecasts import baseline, csvtrace, learning
from heliotrope.coordinator.forecasts.learning import ErrorModel
from heliotrope.coordinator.forecasts.series import Floats

HOUR_S = 3600.0
RATIOS = (0.1, 0.5, 0.9)
WEEK_H = 8 * 24
LEADS_H = tuple(int(lead_s / HOUR_S) for lead_s in learning.LEADS_S)

Method = Callable[[Floats, Floats, int], Floats]  # (times, values, issued at) -> the next 48 values


@dataclass
class Score:
    """Sums over issues of one method at one lead."""

    loss: float = 0.0
    missed: int = 0
    count: int = 0


@dataclass
class Run:
    """One method over one series."""

    model: ErrorModel = field(default_factory=ErrorModel)
    scores: dict[int, Score] = field(default_factory=dict)


def persistence(times_s: Floats, values: Floats, at: int) -> Floats:
    return np.full(LEADS_H[-1], values[at])


def yesterday(times_s: Floats, values: Floats, at: int) -> Floats:
    return np.tile(values[at - 23 : at + 1], LEADS_H[-1] // 24)


def blended(times_s: Floats, values: Floats, at: int) -> Floats:
    past = slice(at + 1 - WEEK_H, at + 1)
    return baseline.predict(times_s[past], values[past], times_s[at] + HOUR_S * np.arange(1, LEADS_H[-1] + 1))


def fading(fade_h: float) -> Method:
    """The baseline with another time constant, to see what that is worth."""

    def method(times_s: Floats, values: Floats, at: int) -> Floats:
        past = slice(at + 1 - WEEK_H, at + 1)
        ahead_s = times_s[at] + HOUR_S * np.arange(1, LEADS_H[-1] + 1)
        return baseline.predict(times_s[past], values[past], ahead_s, fade_s=fade_h * HOUR_S)

    return method


def evaluate(times_s: Floats, values: Floats, method: Method, every_h: int, *, learn: bool) -> Run:
    """Issue a forecast every ``every_h`` hours, learn from what had been realised, and score the rest."""
    run = Run()
    for at in range(WEEK_H, values.size - LEADS_H[-1], every_h):
        now_s = float(times_s[at])
        ahead = method(times_s, values, at)
        run.model = learning.settle(run.model, now_s, lambda s: float(values[round((s - times_s[0]) / HOUR_S)]))
        for lead_h in LEADS_H:
            _score(run, lead_h, float(values[at + lead_h]), float(ahead[lead_h - 1]), learn=learn)
        ahead_of = dict(zip((now_s + HOUR_S * np.arange(1, ahead.size + 1)).tolist(), ahead.tolist(), strict=True))
        run.model = learning.claim(run.model, now_s, ahead_of.__getitem__)
    return run


def _score(run: Run, lead_h: int, realised: float, forecast: float, *, learn: bool) -> None:
    errors = [learning.error_quantile(run.model, lead_h * HOUR_S, ratio) for ratio in RATIOS]
    if learning.count(run.model, lead_h * HOUR_S) < learning.ERRORS_NEEDED or None in errors:
        return  # both ways are scored on the same issues
    shown = [forecast + (error or 0.0) if learn else forecast for error in errors]
    score = run.scores.setdefault(lead_h, Score())
    score.loss += sum(learning.pinball(realised, one, ratio) for one, ratio in zip(shown, RATIOS, strict=True)) / 3
    score.missed += realised < shown[0]
    score.count += 1


def compare(
    name: str, times_s: Floats, values: Floats, methods: dict[str, Method], every_h: int
) -> Iterator[dict[str, object]]:
    """Rows for a series."""
    plain = evaluate(times_s, values, persistence, every_h, learn=False)
    runs = {"plain persistence": plain}
    runs |= {
        f"{key} + learnt": evaluate(times_s, values, method, every_h, learn=True) for key, method in methods.items()
    }
    for method, run in runs.items():
        for lead_h, score in run.scores.items():
            mean = score.loss / score.count
            base = plain.scores[lead_h].loss / plain.scores[lead_h].count
            yield {
                "series": name,
                "method": method,
                "lead_h": lead_h,
                "pinball": round(mean, 4),
                "ratio_to_persistence": round(mean / base, 4),
                "p10_missed_ratio": round(score.missed / score.count, 4),
                "issues": score.count,
            }


def grid_hours(folder: Path, zones: Sequence[str], hours: int) -> Iterator[tuple[str, Floats, Floats]]:
    path = folder / "electricitymaps" / "lca.csv.gz"
    for zone in zones or csvtrace.zones(path):
        series = csvtrace.read(path, zone, "g_per_kwh", scope="life-cycle")
        yield f"intensity {zone} [g/kWh]", series.times_s[:hours], series.values[:hours]


def wind(folder: Path, hours: int) -> Iterator[tuple[str, Floats, Floats, Floats]]:
    """(plant, times, real-time hourly means [MW], the day-ahead forecast [MW])."""
    ahead, real = (_plants(folder / "rts-gmlc" / f"{kind}_wind.csv.gz") for kind in ("DAY_AHEAD", "REAL_TIME"))
    for plant, values in ahead.items():
        means: Floats = np.mean(real[plant].reshape(values.size, -1), axis=1)
        start_s = datetime(2020, 1, 1, tzinfo=UTC).timestamp()
        times_s: Floats = start_s + HOUR_S * np.arange(values.size, dtype=np.float64)
        yield f"wind {plant} [MW]", times_s[:hours], means[:hours], values[:hours]


def _plants(path: Path) -> dict[str, Floats]:
    with gzip.open(path, "rt") as file:
        rows = list(csv.DictReader(file))
    return {name: np.array([float(row[name]) for row in rows]) for name in rows[0] if "WIND" in name}


@click.command()
@click.option("--data", "folder", required=True, type=click.Path(path_type=Path, exists=True))
@click.option("--zone", "zones", multiple=True, help="Default: all of the file.")
@click.option("--hours", default=8760, show_default=True)
@click.option("--every", "every_h", default=3, show_default=True, help="Hours between issues.")
@click.option("--fade", "fades", multiple=True, type=float, help="Other decays of the baseline [h].")
@click.option("--json", "as_json", is_flag=True)
def main(
    folder: Path, zones: tuple[str, ...], hours: int, every_h: int, fades: tuple[float, ...], as_json: bool
) -> None:
    """Compare ways to forecast recorded series."""
    rows: list[dict[str, object]] = []
    methods: dict[str, Method] = {"persistence": persistence, "yesterday": yesterday, "baseline": blended}
    methods |= {f"baseline fading in {fade:g} h": fading(fade) for fade in fades}
    for name, times_s, values in grid_hours(folder, zones, hours):
        rows += compare(name, times_s, values, methods, every_h)
    if (folder / "rts-gmlc").is_dir():
        for name, times_s, real, ahead in wind(folder, hours):

            def day_ahead(times: Floats, values: Floats, at: int, ahead: Floats = ahead) -> Floats:
                return ahead[at + 1 : at + 1 + LEADS_H[-1]]

            rows += compare(name, times_s, real, {**methods, "day-ahead": day_ahead}, every_h)
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(rows)).decode())
        return
    for row in rows:
        click.echo("  ".join(str(value) for value in row.values()))


if __name__ == "__main__":
    main()
