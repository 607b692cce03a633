"""``heliotrope replay``: serve trace files as the carbon and demand-response services would."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path

import click

from heliotrope.coordinator.forecasts.csvtrace import RANGES, FileUnit
from heliotrope.coordinator.forecasts.live import secretfiles
from heliotrope.foundation.errors import InvalidInput

from . import faults, serving
from .faults import Orders
from .server import Replay
from .traces import TraceFile, Traces

UNITS: dict[str, tuple[FileUnit, str]] = {
    "intensity": ("g_per_kwh", "g_per_kwh"),
    "renewable": ("percent", "ratio"),
    "price": ("price_per_mwh", "price_per_mwh"),
    "generation": ("w", "w"),
}
HOUR_S = 3600.0


@click.command()
@click.option(
    "--intensity", metavar="FILE[:UNIT]", default="", help="CSV of intensities, a column per zone [g_per_kwh]."
)
@click.option("--renewable", metavar="FILE[:UNIT]", default="", help="CSV of renewable shares [percent] or ratio.")
@click.option("--price", metavar="FILE[:UNIT]", default="", help="CSV of prices [price_per_mwh].")
@click.option("--generation", metavar="FILE[:UNIT]", default="", help="CSV of own generation [w], kw or mw.")
@click.option("--zone", "zones", metavar="ASKED=COLUMN", multiple=True, help="Which column a zone or region is.")
@click.option("--events", metavar="FILE", type=click.Path(path_type=Path), help="OpenADR 3 events, a JSON list.")
@click.option("--as-of", metavar="TIME", default="", help="The trace's time that is now; else trace time is real time.")
@click.option(
    "--forecast-error", metavar="RATIO", type=click.FloatRange(0, 1), default=0.0, help="Of forecasts, at their end."
)
@click.option(
    "--fault", "orders", metavar="KIND[@PART][*COUNT]", multiple=True, help=f"One of {', '.join(faults.KINDS)}."
)
@click.option(
    "--retry-after", metavar="SECONDS", type=click.IntRange(0), default=120, show_default=True, help="With 429, 503."
)
@click.option("--key-file", metavar="FILE", default="", help="The key all services ask for; else it is 'replay'.")
@click.option("--listen", metavar="HOST:PORT", default="127.0.0.1:7480", show_default=True)
def replay(
    *,
    intensity: str,
    renewable: str,
    price: str,
    generation: str,
    zones: tuple[str, ...],
    events: Path | None,
    as_of: str,
    forecast_error: float,
    orders: tuple[str, ...],
    retry_after: int,
    key_file: str,
    listen: str,
) -> None:
    """Answer as Electricity Maps, WattTime, UK Carbon Intensity, ENTSO-E, Prometheus and an OpenADR 3 VTN.

    For tests and for trying a configuration out: the answers come from your files, the faults are yours to order.
    """
    given = {"intensity": intensity, "renewable": renewable, "price": price, "generation": generation}
    files = {name: _file(name, text) for name, text in given.items() if text}
    traces = Traces(
        files, columns=dict(map(_pair, zones)), offset_s=_offset_s(as_of), forecast_error_ratio=forecast_error
    )
    traces.span_s()  # a file that cannot be read is refused now, not at the first request
    if events is not None and not events.is_file():
        raise InvalidInput(f"field --events: no file {events}; give a JSON list of events")
    shared = Replay(
        traces=traces,
        clock_s=time.time,
        key=secretfiles.read(key_file, None, "--key-file") if key_file else "replay",
        events_file=events,
        retry_after_s=retry_after,
        orders=Orders([faults.parse(text) for text in orders]),
    )
    host, _, port = listen.rpartition(":")
    if not port.isdecimal():
        raise InvalidInput(f"field --listen: {listen!r} is not HOST:PORT; write 127.0.0.1:7480")
    with serving.listen(host or "127.0.0.1", int(port)) as listening:
        _say(f"http://{host}:{listening.getsockname()[1]}")
        serving.server(shared).run(sockets=[listening])


def _say(base: str) -> None:
    click.echo(f"replaying on {base}; the url of a feed, by provider:")
    for provider, path in (
        ("electricitymaps", "/electricitymaps/v3"),
        ("watttime", "/watttime"),
        ("uk_carbon_intensity", "/uk"),
        ("entsoe", "/entsoe/api"),
        ("prometheus", "/prometheus"),
        ("demand_response.vtn_url", "/openadr3"),
    ):
        click.echo(f"  {provider:24} {base}{path}")


def _file(name: str, text: str) -> TraceFile:
    path, colon, unit = text.rpartition(":")
    usual, meaning = UNITS[name]
    if not colon:
        return TraceFile(Path(text), usual)
    known: list[FileUnit] = [one for one, limits in RANGES.items() if limits.unit == meaning]
    found = next((one for one in known if one == unit), None)
    if found is None:
        raise InvalidInput(f"field --{name}: {unit!r} is no unit of it; use one of {', '.join(known)}")
    return TraceFile(Path(path), found)


def _pair(text: str) -> tuple[str, str]:
    asked, equals, column = text.partition("=")
    if not equals:
        raise InvalidInput(f"field --zone: {text!r} is not ASKED=COLUMN; write DE=germany")
    return asked, column


def _offset_s(as_of: str) -> float:
    """Whole hours, so that an hour of the trace is an hour of the clients."""
    if not as_of:
        return 0.0
    try:
        moment = datetime.fromisoformat(as_of)
    except ValueError as error:
        raise InvalidInput(f"field --as-of: {as_of!r} is not a time; write 2023-06-01T00:00Z") from error
    moment = moment.replace(tzinfo=moment.tzinfo or UTC)
    return (time.time() - moment.timestamp()) // HOUR_S * HOUR_S
