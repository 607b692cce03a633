"""Carbon Intensity API of Great Britain (NESO and partners, CC BY 4.0): half-hours, no key.

Shapes: carbon-intensity.github.io/api-definitions. Traps: `data` is a list in some answers and an object in others,
`intensity` and `actual` may be missing, the regions have forecasts only. So of a region the half-hours that have passed
are its forecasts, and are marked as estimated.
"""

from __future__ import annotations

import msgspec

from ..csvtrace import RANGES, Range
from ..series import utc_at
from .answers import Answer, Sample, Tidy
from .feeds import FieldName, UkCarbonIntensity
from .times import utc_s
from .trouble import Kind, Trouble
from .web import Request, Web, decode

RENEWABLE = ("biomass", "hydro", "solar", "wind")


class Intensity(msgspec.Struct):
    """gCO2 per kWh."""

    forecast: float | None = None
    actual: float | None = None


class Fuel(msgspec.Struct):
    """A fuel's share [%]."""

    fuel: str
    perc: float | None = None


class HalfHour(msgspec.Struct, rename={"from_": "from"}):
    """One settlement period."""

    from_: str
    intensity: Intensity | None = None
    generationmix: list[Fuel] | None = None


class Region(msgspec.Struct):
    """A region's half-hours."""

    data: list[HalfHour]
    regionid: int | None = None


class Shape(msgspec.Struct):
    data: msgspec.Raw


async def fetch(feed: UkCarbonIntensity, field: FieldName, web: Web, now_s: float) -> Answer:
    """The last day and the next two. Raises Trouble."""
    tidy = Tidy(f"UK Carbon Intensity {'region ' + str(feed.region_id) if feed.region_id else 'GB'}", _range(field))
    past = parse(await web.get(_request(feed, field, now_s, "pt24h")), feed.region_id)
    ahead = parse(await web.get(_request(feed, field, now_s, "fw48h")), feed.region_id)
    observed = tidy.samples(samples(past, field, measured=True))
    forecast = tidy.samples(samples(ahead, field, measured=False))
    return Answer(
        observed=tuple(sample for sample in observed if sample.time_s + 1800.0 <= now_s),
        forecast=forecast,
        issued_s=None,
        kind="average",
        scope="direct" if field == "intensity" else "none",
        marks=tidy.marks,
    )


def parse(body: bytes, region_id: int) -> list[HalfHour]:
    """The half-hours, whichever way they are wrapped. Raises Trouble."""
    what = "UK Carbon Intensity"
    raw = bytes(decode(body, Shape, what).data)
    if not region_id:
        return decode(raw, list[HalfHour], what)
    regions = decode(raw, list[Region], what) if raw.lstrip().startswith(b"[") else [decode(raw, Region, what)]
    found = [one for one in regions if one.regionid in (None, region_id)]
    if not found:
        raise Trouble(Kind.MALFORMED, f"{what}: field regionid: asked for {region_id}, answered for others")
    return found[0].data


def samples(half_hours: list[HalfHour], field: FieldName, *, measured: bool) -> list[Sample]:
    """``measured``: the past, where a forecast stands in for a missing actual. Raises Trouble: a time without zone."""
    found: list[Sample] = []
    for one in half_hours:
        time_s = utc_s(one.from_, "from")
        if field == "renewable":
            found.append(Sample(time_s, _renewable_percent(one), measured))
            continue
        intensity = one.intensity or Intensity()
        actual = intensity.actual if measured else None
        found.append(Sample(time_s, intensity.forecast if actual is None else actual, measured and actual is None))
    return found


def _range(field: FieldName) -> Range:
    return RANGES["g_per_kwh" if field == "intensity" else "percent"]


def _request(feed: UkCarbonIntensity, field: FieldName, now_s: float, span: str) -> Request:
    stamp = utc_at(now_s).strftime("%Y-%m-%dT%H:%MZ")
    if feed.region_id:
        route = f"regional/intensity/{stamp}/{span}/regionid/{feed.region_id}"
    elif field == "intensity":
        route = f"intensity/{stamp}/{span}"
    else:
        route = f"generation/{stamp}/{span}"
    return Request(f"UK Carbon Intensity {span}", f"{feed.url.rstrip('/')}/{route}")


def _renewable_percent(one: HalfHour) -> float | None:
    if not one.generationmix:
        return None
    return sum(fuel.perc or 0.0 for fuel in one.generationmix if fuel.fuel in RENEWABLE)
