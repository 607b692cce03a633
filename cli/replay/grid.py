"""Prometheus, ENTSO-E and a VTN of OpenADR 3."""

from __future__ import annotations

import json
import secrets
from typing import Any
from urllib.parse import parse_qsl
from xml.sax.saxutils import escape

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from heliotrope.coordinator.forecasts.series import utc_at

from .server import Replay, refuse

TOKEN_S = 3600
PAGE_LIMIT = 50
QUANTITIES = ("generation", "intensity", "renewable", "price")


def routes(replay: Replay) -> list[Route]:
    """Under /prometheus, /entsoe and /openadr3."""
    vtn = Vtn(replay)
    return [
        Route("/prometheus/api/v1/query_range", replay.guarded(Prometheus(replay).get)),
        Route("/entsoe/api", replay.guarded(Entsoe(replay).get)),
        Route("/openadr3/auth/token", replay.guarded(vtn.token), methods=["POST"]),
        Route("/openadr3/events", replay.guarded(vtn.events)),
        Route("/openadr3/programs", replay.guarded(vtn.programs)),
    ]


class Prometheus:
    """Range queries; the expression is QUANTITY:ZONE, a name that a recording rule could have, or a plain zone."""

    def __init__(self, replay: Replay) -> None:
        self._replay = replay

    async def get(self, request: Request, kinds: frozenset[str]) -> Response:
        asked = request.query_params
        quantity, colon, zone = asked.get("query", "").partition(":")
        if not colon:
            quantity, zone = "generation", quantity
        if quantity not in QUANTITIES:
            said = f"unknown function with name {quantity!r}; the replay server knows {', '.join(QUANTITIES)}"
            return refuse(400, {"status": "error", "errorType": "bad_data", "error": said})
        start_s, end_s, step_s = (float(asked.get(name, "nan")) for name in ("start", "end", "step"))
        end_s = min(end_s, self._replay.now_s())
        count = max(int((end_s - start_s) / step_s) + 1, 0)
        times_s = [start_s + place * step_s for place in range(count)]
        rows = self._replay.spoiled(self._replay.traces.at(quantity, zone, times_s), kinds)
        values = [[row.time_s, "NaN" if row.value is None else repr(row.value)] for row in rows]
        result: list[dict[str, Any]] = [{"metric": {"__name__": quantity, "zone": zone}, "values": values}]
        result += [{"metric": {"zone": "another"}, "values": values}] if "wrong-zone" in kinds else []
        return JSONResponse({"status": "success", "data": {"resultType": "matrix", "result": result}})


class Entsoe:
    """A44 by bidding zone, a Period of hours; the last value of equals is left out, as curve type A03 does."""

    def __init__(self, replay: Replay) -> None:
        self._replay = replay

    async def get(self, request: Request, kinds: frozenset[str]) -> Response:
        asked = request.query_params
        if asked.get("securityToken") != self._replay.key:
            return Response("<html>Unauthorized</html>", 401, media_type="text/html")
        now_s = self._replay.now_s()
        rows = self._replay.spoiled(
            self._replay.traces.past("price", asked.get("in_Domain", ""), now_s // 3600 * 3600 - 86400, now_s + 86400),
            kinds,
        )
        if not rows or asked.get("documentType") != "A44":
            return Response(_ACKNOWLEDGEMENT, media_type="text/xml")
        unit = "KWH" if "wrong-unit" in kinds else "MWH"
        first_s = rows[0].time_s
        points: list[str] = []
        before: float | None = None
        for row in rows:
            if row.value is not None and row.value != before:
                position = int((row.time_s - first_s) // 3600) + 1
                points.append(f"<Point><position>{position}</position><price.amount>{row.value}</price.amount></Point>")
                before = row.value
        stamp = self._replay.stamp(_minute, kinds)
        body = _DOCUMENT.format(
            unit=escape(unit), start=stamp(first_s), end=stamp(rows[-1].time_s + 3600.0), points="".join(points)
        )
        return Response(body, media_type="text/xml")


class Vtn:
    """The events of the file given, page by page, for whoever has a token."""

    def __init__(self, replay: Replay) -> None:
        self._replay = replay
        self._tokens: set[str] = set()

    async def token(self, request: Request, kinds: frozenset[str]) -> Response:
        # By hand: Starlette's form() wants one package more, for uploads.
        form = dict(parse_qsl((await request.body()).decode("utf-8")))
        if form.get("grant_type") != "client_credentials" or form.get("client_secret") != self._replay.key:
            return refuse(401, {"error": "invalid_client"})
        token = secrets.token_hex(16)
        self._tokens.add(token)
        return JSONResponse({"access_token": token, "token_type": "bearer", "expires_in": TOKEN_S})

    async def events(self, request: Request, kinds: frozenset[str]) -> Response:
        if not self._may(request):
            return refuse(401, {"type": "about:blank", "title": "Unauthorized", "status": 401})
        given = json.loads(self._replay.events_file.read_text("utf-8")) if self._replay.events_file else []
        program = request.query_params.get("programID")
        found = [one for one in given if program in (None, one.get("programID"))]
        skip = 0 if "wrong-zone" in kinds else int(request.query_params.get("skip", "0"))
        limit = min(int(request.query_params.get("limit", str(PAGE_LIMIT))), PAGE_LIMIT)
        return JSONResponse(found[skip : skip + limit])

    async def programs(self, request: Request, kinds: frozenset[str]) -> Response:
        if not self._may(request):
            return refuse(401, {"type": "about:blank", "title": "Unauthorized", "status": 401})
        given = json.loads(self._replay.events_file.read_text("utf-8")) if self._replay.events_file else []
        names = sorted({one["programID"] for one in given})
        return JSONResponse([{"id": name, "programName": name} for name in names])

    def _may(self, request: Request) -> bool:
        return request.headers.get("authorization", "").removeprefix("Bearer ") in self._tokens


def _minute(seconds: float) -> str:
    return utc_at(seconds).strftime("%Y-%m-%dT%H:%MZ")


_DOCUMENT = """<?xml version="1.0" encoding="UTF-8"?>
<Publication_MarketDocument xmlns="urn:iec62325.351:tc57wg16:451-3:publicationdocument:7:3"><type>A44</type>
<TimeSeries><curveType>A03</curveType><currency_Unit.name>EUR</currency_Unit.name>
<price_Measure_Unit.name>{unit}</price_Measure_Unit.name>
<Period><timeInterval><start>{start}</start><end>{end}</end></timeInterval><resolution>PT60M</resolution>{points}</Period>
</TimeSeries></Publication_MarketDocument>
"""
_ACKNOWLEDGEMENT = """<?xml version="1.0" encoding="UTF-8"?>
<Acknowledgement_MarketDocument xmlns="urn:iec62325.351:tc57wg16:451-1:acknowledgementdocument:7:0">
<Reason><code>999</code><text>No matching data found</text></Reason></Acknowledgement_MarketDocument>
"""
