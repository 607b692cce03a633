"""Electricity Maps v3: carbon intensity and renewable share, the last day and the forecast of the next ones.

Routes and shapes: app.electricitymaps.com/developer-hub/api. A 401 means a wrong key, but also a plan without that zone
or route; the body says which and is repeated. ``renewablePercentage`` of power-breakdown is their figure.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from ..csvtrace import RANGES
from ..series import Scope
from .answers import Answer, Sample, Tidy
from .feeds import ElectricityMaps, FieldName
from .times import utc_s
from .trouble import Kind, Trouble
from .web import Request, Web, decode

FACTOR_TYPES: dict[Scope, str] = {"life-cycle": "lifecycle", "direct": "direct"}
# What counts as renewable where only the breakdown is given, as on their own page.
RENEWABLE = ("biomass", "geothermal", "hydro", "solar", "wind")
STORAGE = ("hydro discharge", "battery discharge")


class Point(msgspec.Struct):
    """One hour, as any of the routes gives it."""

    datetime: str
    carbonIntensity: float | None = None
    renewablePercentage: float | None = None
    powerConsumptionBreakdown: dict[str, float | None] | None = None
    isEstimated: bool | None = False
    emissionFactorType: str | None = None
    zone: str | None = None


class Page(msgspec.Struct):
    """History or forecast of a zone."""

    zone: str | None = None
    history: list[Point] = []
    forecast: list[Point] = []
    updatedAt: str | None = None


async def fetch(feed: ElectricityMaps, field: FieldName, scope: Scope, key: str, web: Web, now_s: float) -> Answer:
    """The last day and, where the plan has it, the forecast. Raises Trouble."""
    route = "carbon-intensity" if field == "intensity" else "power-breakdown"
    parts = ["history", "forecast"] if feed.forecast == "provider" else ["history"]
    pages = [parse(await web.get(_request(feed, f"{route}/{part}", scope, key)), feed.zone) for part in parts]
    tidy = Tidy(f"Electricity Maps {feed.zone}", RANGES["g_per_kwh" if field == "intensity" else "percent"])
    observed = tidy.samples(_samples(pages[0].history, field, scope))
    forecast = tidy.samples(_samples(pages[-1].forecast, field, scope))
    issued = pages[-1].updatedAt
    return Answer(
        observed=tuple(sample for sample in observed if sample.time_s <= now_s),
        forecast=forecast,
        issued_s=None if issued is None else utc_s(issued, "updatedAt"),
        kind="average",
        scope=scope if field == "intensity" else "none",
        marks=tidy.marks,
    )


def parse(body: bytes, zone: str) -> Page:
    """A page of that zone. Raises Trouble: no such shape, or another zone: they may answer for the caller's."""
    page = decode(body, Page, "Electricity Maps")
    said = {page.zone, *(point.zone for point in (*page.history, *page.forecast))} - {None, zone}
    if said:
        raise Trouble(
            Kind.MALFORMED, f"Electricity Maps: field zone: asked for {zone}, answered for {sorted(map(str, said))[0]}"
        )
    return page


def _request(feed: ElectricityMaps, route: str, scope: Scope, key: str) -> Request:
    params = {"zone": feed.zone}
    if route.startswith("carbon-intensity"):
        params["emissionFactorType"] = FACTOR_TYPES[scope]
    if not feed.estimations:
        params["disableEstimations"] = "true"
    return Request(
        what=f"Electricity Maps {route} of {feed.zone}",
        url=f"{feed.url.rstrip('/')}/{route}",
        params=params,
        headers={feed.key_header: key},
    )


def _samples(points: Sequence[Point], field: FieldName, scope: Scope) -> list[Sample]:
    found: list[Sample] = []
    for point in points:
        wanted = FACTOR_TYPES.get(scope)
        if field == "intensity" and point.emissionFactorType not in (None, wanted):
            raise Trouble(
                Kind.UNIT,
                f"Electricity Maps: field emissionFactorType: asked {wanted}, answered {point.emissionFactorType!r}",
            )
        value = point.carbonIntensity if field == "intensity" else _renewable_percent(point)
        found.append(Sample(utc_s(point.datetime, "datetime"), value, bool(point.isEstimated)))
    return found


def _renewable_percent(point: Point) -> float | None:
    """Their percentage, else from the breakdown [MW], where storage belongs to neither side."""
    if point.renewablePercentage is not None or not point.powerConsumptionBreakdown:
        return point.renewablePercentage
    known = {
        name: max(power, 0.0)
        for name, power in point.powerConsumptionBreakdown.items()
        if power is not None and name not in STORAGE
    }
    total = sum(known.values())
    return 100.0 * sum(known.get(name, 0.0) for name in RENEWABLE) / total if total > 0 else None
