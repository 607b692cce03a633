"""A site's own meter, or anything else that Prometheus keeps: one expression, the past days.

Shape: prometheus.io/docs, HTTP API, range queries. Values come as text, "NaN" among them. More than one series is
refused, because choosing one would be a guess.
"""

from __future__ import annotations

import math
from typing import Literal

import msgspec

from ..csvtrace import RANGES
from ..series import Scope
from .answers import Answer, Sample, Tidy
from .feeds import FieldName, Prometheus
from .trouble import Kind, Trouble
from .web import Request, Web, decode

RESOLUTION_LIMIT = 11_000  # points per series that Prometheus gives in one answer


class Row(msgspec.Struct):
    """One series: (Unix s, value as text) pairs."""

    values: list[tuple[float, str]] = []
    metric: dict[str, str] = {}


class Matrix(msgspec.Struct):
    resultType: Literal["matrix"]
    result: list[Row]


class Page(msgspec.Struct):
    status: Literal["success"]
    data: Matrix
    warnings: list[str] | None = None


async def fetch(feed: Prometheus, field: FieldName, token: str, web: Web, now_s: float) -> Answer:
    """The last ``history_s``. Raises Trouble."""
    end_s = math.floor(now_s / feed.step_s) * feed.step_s
    span_s = min(feed.history_s, (RESOLUTION_LIMIT - 1) * feed.step_s)
    request = Request(
        what="Prometheus query_range",
        url=f"{feed.url.rstrip('/')}/api/v1/query_range",
        params={
            "query": feed.query,
            "start": f"{end_s - span_s:.3f}",
            "end": f"{end_s:.3f}",
            "step": f"{feed.step_s:g}",
        },
        headers={"Authorization": f"Bearer {token}"} if token else {},
    )
    page = parse(await web.get(request))
    tidy = Tidy("Prometheus", RANGES[feed.unit])
    observed = tidy.samples(samples(page))
    scope: Scope = feed.stated_scope if field == "intensity" else "none"
    return Answer(
        observed=observed,
        forecast=(),
        issued_s=observed[-1].time_s if observed else None,
        kind=feed.stated_kind,
        scope=scope,
        marks=(*tidy.marks, *(f"Prometheus warns: {text[:120]}" for text in page.warnings or [])),
    )


def parse(body: bytes) -> Page:
    """Raises Trouble: no such shape, no series, or several."""
    page = decode(body, Page, "Prometheus")
    count = len(page.data.result)
    if count > 1:
        raise Trouble(
            Kind.MALFORMED, f"Prometheus: the query gives {count} series; aggregate it to one, say with sum(...)"
        )
    if not count or not page.data.result[0].values:
        raise Trouble(Kind.EMPTY, "Prometheus: the query gives no data; check its metric name and labels")
    return page


def samples(page: Page) -> list[Sample]:
    """Raises Trouble for a time or value that is no number; NaN is unknown."""
    return [Sample(_time_s(time_s), _number(text)) for time_s, text in page.data.result[0].values]


def _time_s(time_s: float) -> float:
    if not 946_684_800.0 <= time_s < 7_258_118_400.0:
        raise Trouble(Kind.TIME, f"Prometheus: {time_s!r} is no Unix time of this age [s]")
    return time_s


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError as error:
        raise Trouble(Kind.MALFORMED, f"Prometheus: {text[:40]!r} is not a number") from error
    return None if math.isnan(value) else value
