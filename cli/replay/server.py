"""What all replayed services share: the clock, the key, the faults, and an errors' way of being said."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response, StreamingResponse

from heliotrope.foundation.errors import HeliotropeError, InvalidInput, NotFound

from . import faults
from .faults import STATUSES, Fault, Orders
from .traces import Row, Traces

Handler = Callable[[Request, frozenset[str]], Awaitable[Response]]
RETRY_AFTER_S = 120
HANG_LOOK_S = 0.2  # how often a hanging answer looks whether its client is still there
DRIP_S = 0.5


@dataclass
class Replay:
    """One server's settings and state. ``clock_s``: now [Unix s], as the clients see it."""

    traces: Traces
    clock_s: Callable[[], float]
    key: str = "replay"
    user: str = "replay"
    events_file: Path | None = None
    retry_after_s: int = RETRY_AFTER_S
    orders: Orders = field(default_factory=Orders)
    requests: Counter[str] = field(default_factory=Counter)

    def now_s(self) -> float:
        return self.clock_s()

    def spoiled(self, rows: list[Row], kinds: frozenset[str]) -> list[Row]:
        return faults.spoil(rows, kinds)

    def stamp(self, write: Callable[[float], str], kinds: frozenset[str]) -> Callable[[float], str]:
        return faults.spoil_stamp(write, kinds)

    def guarded(self, handler: Handler) -> Callable[[Request], Awaitable[Response]]:
        """The handler behind the faults; what it cannot answer is a 404 or 400 that says why."""

        async def guarded(request: Request) -> Response:
            self.requests[request.url.path] += 1
            kinds = self.orders.for_request(request.url.path)
            status = next((kind for kind in STATUSES if kind in kinds), None)
            if status is not None:
                headers = {"Retry-After": str(self.retry_after_s)} if status in ("429", "503") else {}
                return JSONResponse({"error": f"replayed fault {status}"}, int(status), headers)
            if "hang" in kinds:
                return await _hang(request)
            try:
                response = await handler(request, kinds)
            except NotFound as error:
                return refuse(404, {"error": str(error)})
            except (HeliotropeError, ValueError, OverflowError, KeyError) as error:
                return refuse(400, {"error": str(error)})
            return _spoiled_transport(response, kinds)

        return guarded

    # -- the server's own routes

    async def order(self, request: Request) -> Response:
        """POST: a JSON list of faults to add; DELETE: none any more."""
        if request.method == "DELETE":
            self.orders.clear()
            return JSONResponse({"faults": []})
        try:
            texts = await request.json()
            if not isinstance(texts, list):
                raise InvalidInput('field (body): give a JSON list of faults, say ["429@forecast*3"]')
            found: list[Fault] = [faults.parse(str(text)) for text in texts]
        except (ValueError, InvalidInput) as error:
            return refuse(400, {"error": str(error)})
        self.orders.add(found)
        return JSONResponse({"faults": texts})

    async def counts(self, request: Request) -> Response:
        """How often each path was asked."""
        return JSONResponse(dict(sorted(self.requests.items())))


def refuse(status: int, body: dict[str, Any]) -> Response:
    """An error as JSON."""
    return JSONResponse(body, status)


async def _hang(request: Request) -> Response:
    """Says nothing for as long as the client waits."""
    while not await request.is_disconnected():
        await asyncio.sleep(HANG_LOOK_S)
    return Response(status_code=500)


def _spoiled_transport(response: Response, kinds: frozenset[str]) -> Response:
    if "redirect" in kinds:
        return RedirectResponse("/elsewhere")
    if "html" in kinds:
        return Response("<html><body>Scheduled maintenance</body></html>", media_type="text/html")
    if "garbage" in kinds:
        return Response(bytes(response.body)[:-20] + b"\xff\x00", media_type="application/json")
    if "drip" in kinds:
        return StreamingResponse(_drops(bytes(response.body)), media_type="application/json")
    return response


async def _drops(body: bytes) -> AsyncIterator[bytes]:
    for place in range(len(body)):
        yield body[place : place + 1]
        await asyncio.sleep(DRIP_S)
