"""Electricity Maps v3, WattTime v3 and UK Carbon Intensity, as their documentation shows their answers."""

from __future__ import annotations

import base64
import secrets
from datetime import UTC, datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from heliotrope.coordinator.forecasts.series import DAY_S, utc_at

from .server import Replay, refuse
from .traces import Row

POUNDS_PER_GRAM = 1.0 / 0.45359237  # lb/MWh of a g/kWh
HALF_HOUR_S = 1800.0
LOGIN_S = 1800.0


def routes(replay: Replay) -> list[Route]:
    """Under /electricitymaps, /watttime and /uk."""
    maps, pounds, uk = ElectricityMaps(replay), WattTime(replay), UkCarbon(replay)
    return [
        Route("/electricitymaps/v3/{signal}/{part}", replay.guarded(maps.get)),
        Route("/watttime/login", replay.guarded(pounds.login)),
        Route("/watttime/v3/{part:path}", replay.guarded(pounds.get)),
        Route("/uk/{signal}/{start}/{span}", replay.guarded(uk.national)),
        Route("/uk/regional/intensity/{start}/{span}/regionid/{region:int}", replay.guarded(uk.region)),
    ]


class ElectricityMaps:
    """Routes history, latest and forecast of carbon-intensity and power-breakdown."""

    def __init__(self, replay: Replay) -> None:
        self._replay = replay

    async def get(self, request: Request, kinds: frozenset[str]) -> Response:
        replay, zone = self._replay, request.query_params.get("zone", "")
        signal, part = request.path_params["signal"], request.path_params["part"]
        if request.headers.get("auth-token") != replay.key:
            return refuse(401, {"error": "Invalid auth-token"})
        if signal not in ("carbon-intensity", "power-breakdown") or part not in ("latest", "history", "forecast"):
            return refuse(404, {"status": "error", "message": "Route not found"})
        quantity = "intensity" if signal == "carbon-intensity" else "renewable"
        now_s = replay.now_s()
        if part == "forecast":
            rows = replay.traces.ahead(quantity, zone, now_s, now_s + DAY_S * 3)
        else:
            rows = replay.traces.past(quantity, zone, now_s - DAY_S, now_s)
        factor = request.query_params.get("emissionFactorType", "lifecycle")
        points = [self._point(row, quantity, factor, part, kinds) for row in replay.spoiled(rows, kinds)]
        shown = "XX-WRONG" if "wrong-zone" in kinds else zone
        if part == "latest":
            return JSONResponse({"zone": shown, **points[-1], "updatedAt": _millis(now_s)})
        return JSONResponse({"zone": shown, part: points, "updatedAt": _millis(now_s)})

    def _point(self, row: Row, quantity: str, factor: str, part: str, kinds: frozenset[str]) -> dict[str, Any]:
        stamp = self._replay.stamp(_millis, kinds)
        point: dict[str, Any] = {"datetime": stamp(row.time_s)}
        if quantity == "intensity":
            point["carbonIntensity"] = row.value
        else:
            point["renewablePercentage"] = None if row.value is None else row.value * 100.0
        if part != "forecast":
            shown = "direct" if factor == "lifecycle" and "wrong-unit" in kinds else factor
            point |= {"emissionFactorType": shown, "isEstimated": False, "estimationMethod": None}
        return point


class WattTime:
    """login, v3/historical and v3/forecast of co2_moer."""

    def __init__(self, replay: Replay) -> None:
        self._replay = replay
        self._tokens: dict[str, float] = {}

    async def login(self, request: Request, kinds: frozenset[str]) -> Response:
        scheme, _, code = request.headers.get("authorization", "").partition(" ")
        wanted = base64.b64encode(f"{self._replay.user}:{self._replay.key}".encode()).decode()
        if scheme.lower() != "basic" or code != wanted:
            return refuse(403, {"message": "Invalid username or password"})
        token = secrets.token_hex(16)
        self._tokens[token] = self._replay.now_s() + LOGIN_S
        return JSONResponse({"token": token})

    async def get(self, request: Request, kinds: frozenset[str]) -> Response:
        replay, part = self._replay, request.path_params["part"]
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        now_s = replay.now_s()
        if self._tokens.get(token, 0.0) <= now_s:
            return refuse(401, {"detail": "Token has expired or is not valid"})
        region = request.query_params.get("region", "")
        if part == "historical":
            given = [request.query_params.get(name, "") for name in ("start", "end")]
            start, end = (datetime.fromisoformat(text) for text in given)
            if start.tzinfo is None or end.tzinfo is None:
                return refuse(400, {"error": "start and end need a time zone"})
            rows = replay.traces.past("intensity", region, start.timestamp(), min(end.timestamp(), now_s))
        elif part == "forecast":
            hours = min(float(request.query_params.get("horizon_hours", "24")), 72.0)
            rows = replay.traces.ahead("intensity", region, now_s, now_s + hours * 3600.0)
        else:
            return refuse(404, {"error": "no such route"})
        stamp = replay.stamp(_offset, kinds)
        data = [
            {"point_time": stamp(row.time_s), "value": None if row.value is None else row.value * POUNDS_PER_GRAM}
            for row in replay.spoiled(rows, kinds)
        ]
        return JSONResponse({"data": data, "meta": self._meta(region, now_s, kinds)})

    @staticmethod
    def _meta(region: str, now_s: float, kinds: frozenset[str]) -> dict[str, Any]:
        return {
            "data_point_period_seconds": 300,
            "region": "XX_WRONG" if "wrong-zone" in kinds else region,
            "signal_type": "co2_moer",
            "units": "kg_co2_per_mwh" if "wrong-unit" in kinds else "lbs_co2_per_mwh",
            "generated_at": _offset(now_s),
            "warnings": [],
            "model": {"date": "2023-03-01"},
        }


class UkCarbon:
    """Half-hours before or after a time, of the whole or a region; the zone is GB or the region's number."""

    def __init__(self, replay: Replay) -> None:
        self._replay = replay

    async def national(self, request: Request, kinds: frozenset[str]) -> Response:
        signal = request.path_params["signal"]
        if signal not in ("intensity", "generation"):
            return refuse(404, {"error": {"code": "404 Not Found", "message": "Sorry, page not found"}})
        quantity = "intensity" if signal == "intensity" else "renewable"
        return JSONResponse({"data": self._half_hours(request, "GB", [quantity], kinds)})

    async def region(self, request: Request, kinds: frozenset[str]) -> Response:
        number = request.path_params["region"]
        given = [name for name in ("intensity", "renewable") if name in self._replay.traces.files]
        data = self._half_hours(request, str(number), given, kinds)
        shown = 99 if "wrong-zone" in kinds else number
        return JSONResponse({"data": {"regionid": shown, "shortname": f"region {number}", "data": data}})

    def _half_hours(
        self, request: Request, zone: str, quantities: list[str], kinds: frozenset[str]
    ) -> list[dict[str, Any]]:
        now_s = self._replay.now_s()
        asked_s = datetime.fromisoformat(request.path_params["start"]).timestamp()
        span_s = float(request.path_params["span"].strip("fwpth")) * 3600.0
        first_s = asked_s if request.path_params["span"].startswith("fw") else asked_s - span_s
        start_s = first_s // HALF_HOUR_S * HALF_HOUR_S
        times_s = [start_s + place * HALF_HOUR_S for place in range(int(span_s / HALF_HOUR_S) + 1)]
        stamp = self._replay.stamp(_minute, kinds)
        found: dict[float, dict[str, Any]] = {}
        listed: list[dict[str, Any]] = []
        for quantity in quantities:
            for row in self._replay.spoiled(self._replay.traces.at(quantity, zone, times_s), kinds):
                entry = {"from": stamp(row.time_s), "to": stamp(row.time_s + HALF_HOUR_S)}
                entry |= self._values(row, quantity, zone, now_s)
                if quantity == quantities[0]:
                    listed.append(entry)
                    found[row.time_s] = entry
                elif row.time_s in found:
                    found[row.time_s] |= entry
        return listed

    @staticmethod
    def _values(row: Row, quantity: str, zone: str, now_s: float) -> dict[str, Any]:
        if quantity == "renewable":
            percent = None if row.value is None else row.value * 100.0
            rest = None if percent is None else 100.0 - percent
            return {"generationmix": [{"fuel": "wind", "perc": percent}, {"fuel": "gas", "perc": rest}]}
        intensity: dict[str, Any] = {"forecast": row.value, "index": "moderate"}
        if zone == "GB":
            intensity["actual"] = row.value if row.time_s + HALF_HOUR_S <= now_s else None
        return {"intensity": intensity}


def _millis(seconds: float) -> str:
    return utc_at(seconds).strftime("%Y-%m-%dT%H:%M:%S.000Z")


def _offset(seconds: float) -> str:
    return utc_at(seconds).strftime("%Y-%m-%dT%H:%M:%S+00:00")


def _minute(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%MZ")
