"""A VTN of OpenADR 3, polled as a VEN: a token by client credentials, the events page by page, the limits delivered.

While the VTN is out of reach the limits that it gave stay in force until they end: an outage lifts no limit.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import msgspec
import numpy as np

from heliotrope.foundation.clock import Clock
from heliotrope.foundation.errors import HeliotropeError

from ..live import secretfiles
from ..live.kept import Cache
from ..live.trouble import Kind, Trouble
from ..live.web import Request, Web
from ..series import Series
from . import events, limits
from .config import DemandResponse
from .limits import LimitSeries, PowerLimit, PriceSignal

log = logging.getLogger("heliotrope.coordinator.forecasts")

PAGE = 50  # the most that the specification lets a VTN give at once
PAGES_LIMIT = 100
RETRY_S = 30.0
LONGEST_RETRY_S = 600.0
TOKEN_SLACK_S = 60.0
TOKEN_LIFE_S = 900.0  # where the authority does not say
PRICE_HORIZON_S = 2 * 86_400.0


class Said(msgspec.Struct, frozen=True):
    """The last good answer of a VTN, as kept on disk."""

    limits: tuple[PowerLimit, ...] = ()
    prices: tuple[PriceSignal, ...] = ()
    marks: tuple[str, ...] = ()
    fetched_s: float | None = None
    seen_s: dict[str, float] = {}  # when each event was first seen, of those that the VTN still gives


class TokenAnswer(msgspec.Struct):
    access_token: str
    expires_in: float | None = None


@dataclass(frozen=True)
class Demand:
    """A site's demand response as it is known; ``failure``: why the last attempt brought nothing."""

    said: Said = field(default_factory=Said)
    failure: str = ""

    @property
    def series(self) -> LimitSeries:
        return LimitSeries(self.said.limits)

    def prices(self, now_s: float) -> Series | None:
        """The PRICE events as a series; None if there are none."""
        steps = limits.price_steps(self.said.prices, now_s + PRICE_HORIZON_S)
        if len(steps) < 2:
            return None
        values = np.array([np.nan if value is None else value for _, value in steps])
        times_s = np.array([time_s for time_s, _ in steps])
        return Series("OpenADR prices", "price_per_mwh", times_s[:-1], values[:-1], float(times_s[-1]))


Deliver = Callable[[str, Demand], None]


@dataclass
class VtnTask:
    """Polls for one site. ``folder``: what a relative secret file is relative to."""

    site: str
    config: DemandResponse
    cache: Cache
    clock: Clock
    deliver: Deliver
    folder: Path | None = None
    failures: int = 0
    _token: str = ""
    _token_until_s: float = 0.0

    def __post_init__(self) -> None:
        kept = self.cache.load(self.key, Said)
        self._said = kept if isinstance(kept, Said) else Said()

    @property
    def key(self) -> str:
        return f"{self.site} {self.config.vtn_url} {','.join(self.config.programs)} {','.join(self.config.targets)}"

    @property
    def name(self) -> str:
        return f"demand_response of site {self.site}"

    def demand(self, failure: str = "") -> Demand:
        return Demand(self._said, failure)

    async def step(self, client: httpx.AsyncClient) -> float:
        """One attempt; returns the seconds until the next."""
        now_s = self.clock.utc().timestamp()
        web = Web(client, self.config.deadline_s, lambda: None)
        try:
            given = await self._events(web, now_s)
        except (Trouble, HeliotropeError) as error:
            return self._failed(error)
        seen_s = {event.key: self._said.seen_s.get(event.key, now_s) for event in given}
        found = events.read(given, self.config, now_s, seen_s)
        self._said = Said(
            limits=tuple(one for one in found.limits if one.end_s is None or one.end_s > now_s),
            prices=tuple(one for one in found.prices if one.end_s is None or one.end_s > now_s - 86_400.0),
            marks=tuple(found.marks[:50]),
            fetched_s=now_s,
            seen_s=seen_s,
        )
        self.failures = 0
        self.deliver(self.site, self.demand())  # before it is kept: on a full disk a limit is still in force
        self.cache.put(self.key, self._said)
        return self.config.poll_s

    def _failed(self, error: Exception) -> float:
        self.failures += 1
        if self.failures == 1:
            log.warning("cannot read %s: %s; known limits stay in force", self.name, error)
        self._token = "" if isinstance(error, Trouble) and error.kind is Kind.DENIED else self._token
        self.deliver(self.site, self.demand(str(error)))
        asked_s = (error.retry_after_s or 0.0) if isinstance(error, Trouble) else 0.0
        return max(asked_s, min(RETRY_S * 2.0 ** min(self.failures - 1, 10), LONGEST_RETRY_S))

    async def _events(self, web: Web, now_s: float) -> list[events.Event]:
        """All pages. Raises Trouble."""
        headers = await self._headers(web, now_s)
        found: dict[str, events.Event] = {}
        for page in range(PAGES_LIMIT):
            request = Request(
                what="OpenADR events",
                url=f"{self.config.vtn_url.rstrip('/')}/events",
                params={"skip": str(page * PAGE), "limit": str(PAGE)},
                headers=headers,
            )
            given = events.parse(await web.get(request))
            new = {event.id or f"{page}/{place}": event for place, event in enumerate(given)}
            if len(given) < PAGE:
                return [*{**found, **new}.values()]
            if not new.keys() - found.keys():
                raise Trouble(Kind.MALFORMED, "OpenADR events: the VTN gives the same page again; it ignores skip")
            found |= new
        raise Trouble(Kind.MALFORMED, f"OpenADR events: more than {PAGES_LIMIT * PAGE}; name programs or targets")

    async def _headers(self, web: Web, now_s: float) -> dict[str, str]:
        if not self.config.client_id:
            return {}
        if not self._token or now_s >= self._token_until_s:
            form = {
                "grant_type": "client_credentials",
                "client_id": self.config.client_id,
                "client_secret": secretfiles.read(self.config.secret_file, self.folder, "demand_response.secret_file"),
            }
            if self.config.scope:
                form["scope"] = self.config.scope
            url = self.config.token_url or f"{self.config.vtn_url.rstrip('/')}/auth/token"
            answer = await web.json(Request("OpenADR token", url, form=form), TokenAnswer)
            life_s = answer.expires_in or TOKEN_LIFE_S
            self._token, self._token_until_s = answer.access_token, now_s + max(life_s - TOKEN_SLACK_S, 10.0)
        return {"Authorization": f"Bearer {self._token}"}
