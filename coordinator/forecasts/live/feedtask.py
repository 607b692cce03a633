"""One feed's life: wait for the budget, fetch, keep, tell the coordinator; after a failure wait longer, and say why."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from heliotrope.foundation.clock import Clock
from heliotrope.foundation.errors import HeliotropeError

from ..series import Scope
from . import budget, electricitymaps, entsoe, kept, prometheus, secretfiles, ukcarbon, watttime
from .answers import Answer
from .budget import Spent
from .feeds import AnyFeed, ElectricityMaps, Entsoe, FieldName, Prometheus, UkCarbonIntensity, WattTime, provider_of
from .kept import Cache, Live
from .trouble import Kind, Trouble
from .watttime import Token
from .web import Web

log = logging.getLogger("heliotrope.coordinator.forecasts")

FIRST_RETRY_S = 30.0
LONGEST_RETRY_S = 3600.0
DENIED_RETRY_S = 600.0  # a key that a person has to replace; the file is read anew each time

Deliver = Callable[[str, Live], None]


@dataclass
class Account:
    """What feeds of one key share: the day's requests, a pause the service asked for, a session's token."""

    key: str
    per_day: int
    spent: Spent = field(default_factory=Spent)
    paused_until_s: float = 0.0
    token: Token = field(default_factory=Token)
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


def account_key(feed: AnyFeed) -> str:
    """Feeds with the same service and secret file share a quota."""
    return f"{provider_of(feed)} {feed.url} {_secret_name(feed)}"


def _secret_name(feed: AnyFeed) -> str:
    match feed:
        case ElectricityMaps():
            return feed.key_file
        case WattTime():
            return feed.password_file
        case Prometheus() | Entsoe():
            return feed.token_file
        case UkCarbonIntensity():
            return ""


def check_secret(feed: AnyFeed, folder: Path | None, where: str) -> None:
    """Raises NotFound, Denied or InvalidInput while the coordinator starts, not at the first fetch."""
    name = _secret_name(feed)
    if name:
        secretfiles.read(name, folder, where)


def requests_of(feed: AnyFeed) -> int:
    """Requests of one fetch, a login apart."""
    match feed:
        case ElectricityMaps() | WattTime():
            return 2 if feed.forecast == "provider" else 1
        case UkCarbonIntensity():
            return 2
        case _:
            return 1


@dataclass
class FeedTask:
    """Fetches one field of one site. ``folder``: what relative secret files are relative to."""

    site: str
    field: FieldName
    feed: AnyFeed
    scope: Scope
    account: Account
    cache: Cache
    clock: Clock
    deliver: Deliver
    folder: Path | None = None
    failures: int = 0

    def __post_init__(self) -> None:
        self.key = kept.feed_key(self.site, self.field, self.feed, self.scope)
        self._kept = self.cache.feed(self.key)

    @property
    def name(self) -> str:
        return f"feeds.{self.field} of site {self.site}"

    def live(self, failure: str = "") -> Live:
        """The feed as it is known now, also before the first fetch of this process."""
        return kept.live(self._kept, self.feed, self.field, scope=self._factor_scope(), failure=failure)

    async def step(self, client: httpx.AsyncClient) -> float:
        """One attempt; returns the seconds until the next."""
        now_s = self.clock.utc().timestamp()
        wait_s = self._wait_s(now_s)
        if wait_s > 0:
            return wait_s
        try:
            answer = await self._fetch(client, now_s)
            taken = kept.take(self._kept, self.feed, self.field, answer, now_s)
        except (Trouble, HeliotropeError) as error:
            return self._failed(error, now_s)
        self._kept = taken
        if self.failures:
            log.info("%s answers again", self.name)
        self.failures = 0
        self.deliver(self.site, self.live())  # before it is kept: on a full disk the answer still serves
        self.cache.put_feed(self.key, taken)
        return self.feed.every_s

    def _wait_s(self, now_s: float) -> float:
        """For what the account forbids now; an answer of before a restart is good until it is due."""
        account = self.account
        due_s = 0.0
        if self.failures == 0 and self._kept.fetched_s is not None and self._kept.fetched_s <= now_s:
            due_s = self._kept.fetched_s + self.feed.every_s - now_s
        paused_s = account.paused_until_s - now_s
        return max(due_s, paused_s, budget.wait_s(account.spent, now_s, account.per_day, requests_of(self.feed)))

    def _failed(self, error: Exception, now_s: float) -> float:
        self.failures += 1
        if self.failures == 1:
            log.warning("cannot fetch %s: %s", self.name, error)
        self.deliver(self.site, self.live(str(error)))
        wait_s = min(FIRST_RETRY_S * 2.0 ** min(self.failures - 1, 10), LONGEST_RETRY_S)
        if isinstance(error, Trouble):
            if error.kind is Kind.DENIED:
                # A session that the service forgot is renewed soon; a key that it does not take waits for a person.
                forgotten = self.failures == 1 and self.account.token.text != ""
                self.account.token = Token()
                wait_s = wait_s if forgotten else max(wait_s, DENIED_RETRY_S)
            asked_s = error.retry_after_s or 0.0
            if error.kind is Kind.THROTTLED or asked_s:
                self.account.paused_until_s = max(self.account.paused_until_s, now_s + max(asked_s, wait_s))
            wait_s = max(wait_s, asked_s)
        return wait_s

    async def _fetch(self, client: httpx.AsyncClient, now_s: float) -> Answer:
        """Raises Trouble, or what reading the secret raises."""
        web = Web(client, self.feed.deadline_s, self._count)
        match self.feed:
            case ElectricityMaps() as feed:
                return await electricitymaps.fetch(feed, self.field, self.scope, self._secret(), web, now_s)
            case WattTime() as feed:
                return await watttime.fetch(feed, await self._session(feed, web, now_s), web, now_s)
            case UkCarbonIntensity() as feed:
                return await ukcarbon.fetch(feed, self.field, web, now_s)
            case Prometheus() as feed:
                token = self._secret() if feed.token_file else ""
                return await prometheus.fetch(feed, self.field, token, web, now_s)
            case Entsoe() as feed:
                return await entsoe.fetch(feed, self._secret(), web, now_s)

    async def _session(self, feed: WattTime, web: Web, now_s: float) -> Token:
        async with self.account.lock:  # two feeds of one account log in once
            if now_s >= self.account.token.until_s:
                self.account.token = await watttime.log_in(feed, self._secret(), web, now_s)
            return self.account.token

    def _secret(self) -> str:
        return secretfiles.read(_secret_name(self.feed), self.folder, f"feeds.{self.field}")

    def _count(self) -> None:
        """Booked before the request, and on disk: a crash in a loop must not spend the day's requests."""
        self.account.spent = budget.spend(self.account.spent, self.clock.utc().timestamp())
        if self.account.per_day:
            self.cache.put_spent(self.account.key, self.account.spent)

    def _factor_scope(self) -> Scope:
        return self.scope if self.field == "intensity" else "none"
