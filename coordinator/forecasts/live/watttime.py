"""WattTime v3: marginal operating emissions rate, past and forecast.

Shapes: docs.watttime.org (OpenAPI). The login's token lives 30 minutes and is kept for 25. The unit is in every answer
and is checked: 1 lb/MWh is 0.45359237 g/kWh (the international pound, exactly).
"""

from __future__ import annotations

import msgspec

from ..csvtrace import Range
from ..series import utc_at
from .answers import Answer, Sample, Tidy
from .feeds import WattTime
from .times import utc_s
from .trouble import Kind, Trouble
from .web import Request, Web, decode

SIGNAL = "co2_moer"
UNIT = "lbs_co2_per_mwh"
POUND_RANGE = Range("g_per_kwh", 0.45359237, 0.0, 6600.0)  # 3,000 g/kWh, the limit of all intensities
TOKEN_LIFE_S = 25 * 60.0
PAST_S = 86_400.0
HORIZON_H = 48


class Point(msgspec.Struct):
    """A value from its time on."""

    point_time: str
    value: float | None
    imputed_data_used: bool | None = False


class Warned(msgspec.Struct):
    """What the service says of its own answer."""

    message: str = ""


class Meta(msgspec.Struct):
    """What the values are."""

    units: str
    region: str | None = None
    signal_type: str | None = None
    generated_at: str | None = None
    warnings: list[Warned] | None = None


class Page(msgspec.Struct):
    """Answers of historical and forecast alike."""

    data: list[Point]
    meta: Meta


class Login(msgspec.Struct):
    token: str


class Token(msgspec.Struct, frozen=True):
    """A bearer token and until when it is used [Unix s]."""

    text: str = ""
    until_s: float = 0.0


async def log_in(feed: WattTime, password: str, web: Web, now_s: float) -> Token:
    """Raises Trouble."""
    request = Request("WattTime login", f"{feed.url.rstrip('/')}/login", basic=(feed.user, password))
    return Token((await web.json(request, Login)).token, now_s + TOKEN_LIFE_S)


async def fetch(feed: WattTime, token: Token, web: Web, now_s: float) -> Answer:
    """The last day, and the next two where ``feed.forecast`` says so. Raises Trouble."""
    past = {"start": _stamp(now_s - PAST_S), "end": _stamp(now_s), "include_imputed_marker": "true"}
    pages = [parse(await web.get(_request(feed, token, "v3/historical", past)), feed.region)]
    if feed.forecast == "provider":
        horizon = {"horizon_hours": str(HORIZON_H)}
        pages.append(parse(await web.get(_request(feed, token, "v3/forecast", horizon)), feed.region))
    tidy = Tidy(f"WattTime {feed.region}", POUND_RANGE)
    observed = tidy.samples(samples(pages[0]))
    forecast = tidy.samples(samples(pages[1])) if len(pages) > 1 else ()
    issued = pages[-1].meta.generated_at
    said = tuple(f"WattTime warns: {warned.message[:120]}" for page in pages for warned in page.meta.warnings or [])
    return Answer(
        observed=tuple(sample for sample in observed if sample.time_s <= now_s),
        forecast=forecast,
        issued_s=None if issued is None else utc_s(issued, "meta.generated_at"),
        kind="marginal",
        scope="direct",
        marks=(*tidy.marks, *said),
    )


def parse(body: bytes, region: str) -> Page:
    """A page of that region in pounds per MWh. Raises Trouble naming the field."""
    page = decode(body, Page, "WattTime")
    if page.meta.units != UNIT:
        raise Trouble(Kind.UNIT, f"WattTime: field meta.units: {page.meta.units!r} where {SIGNAL} is in {UNIT}")
    for field, said, wanted in (
        ("region", page.meta.region, region),
        ("signal_type", page.meta.signal_type, SIGNAL),
    ):
        if said not in (None, wanted):
            raise Trouble(Kind.MALFORMED, f"WattTime: field meta.{field}: asked for {wanted}, answered for {said!r}")
    return page


def samples(page: Page) -> list[Sample]:
    """Raises Trouble for a time without a zone."""
    return [Sample(utc_s(one.point_time, "point_time"), one.value, bool(one.imputed_data_used)) for one in page.data]


def _request(feed: WattTime, token: Token, route: str, params: dict[str, str]) -> Request:
    return Request(
        what=f"WattTime {route} of {feed.region}",
        url=f"{feed.url.rstrip('/')}/{route}",
        params={"region": feed.region, "signal_type": SIGNAL, **params},
        headers={"Authorization": f"Bearer {token.text}"},
    )


def _stamp(seconds: float) -> str:
    return utc_at(seconds).strftime("%Y-%m-%dT%H:%M:%S+00:00")
