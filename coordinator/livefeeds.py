"""Puts the live feeds together: tasks from the configuration, one account per key, the thread that runs them."""

from __future__ import annotations

import logging
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

from heliotrope.foundation.clock import Clock
from heliotrope.foundation.errors import HeliotropeError, InvalidInput

from .config import CoordinatorConfig
from .engine import Engine
from .forecasts.feeder import Feeder
from .forecasts.live import feedtask, secretfiles
from .forecasts.live.feedtask import Account, FeedTask
from .forecasts.live.kept import Cache, Live
from .forecasts.openadr.vtn import Demand, VtnTask
from .forecasts.site import SiteForecast
from .managers.forecasts import ForecastDesk
from .state.database import Transaction

log = logging.getLogger("heliotrope.coordinator.feeds")


@dataclass(frozen=True)
class Plan:
    """What is to be fetched."""

    feeds: list[FeedTask]
    vtns: list[VtnTask]


def check(config: CoordinatorConfig, folder: Path) -> None:
    """What can be known before the first fetch: secrets are there and private, and time is real.

    Raises InvalidInput, NotFound or Denied naming site and field.
    """
    for site in config.sites:
        live = [*(f"feeds.{name}" for name, _ in site.feeds.named())]
        live += ["demand_response"] if site.demand_response else []
        if live and (config.trace.start or config.trace.scale != 1.0):
            raise InvalidInput(
                f"field trace: site {site.name} has {live[0]}, which runs in real time; remove trace, or give the "
                "feed a trace with `heliotrope replay --as-of`"
            )
        try:
            for name, feed in site.feeds.named():
                feedtask.check_secret(feed, folder, f"feeds.{name}")
            if site.demand_response and site.demand_response.secret_file:
                secretfiles.read(site.demand_response.secret_file, folder, "demand_response.secret_file")
        except HeliotropeError as error:
            raise type(error)(f"site {site.name}: {error}") from error


def plan(
    config: CoordinatorConfig, folder: Path, cache: Cache, clock: Clock, engine: Engine, desk: ForecastDesk
) -> Plan:
    """The tasks, with what the cache remembers of each; what they bring is handed to the state thread."""

    def deliver_live(site: str, live: Live) -> None:
        engine.submit(lambda tx: desk.take_live(tx, site, live)).add_done_callback(_log_failure)

    def deliver_demand(site: str, demand: Demand) -> None:
        engine.submit(lambda tx: desk.take_demand(tx, site, demand)).add_done_callback(_log_failure)

    accounts = _accounts(config, cache)
    feeds = [
        FeedTask(
            site=site.name,
            field=name,
            feed=feed,
            scope=site.scope,
            account=accounts[feedtask.account_key(feed)],
            cache=cache,
            clock=clock,
            deliver=deliver_live,
            folder=folder,
        )
        for site in config.sites
        for name, feed in site.feeds.named()
    ]
    vtns = [
        VtnTask(site.name, site.demand_response, cache, clock, deliver_demand, folder)
        for site in config.sites
        if site.demand_response is not None
    ]
    cache.keep_only({one.key for one in feeds}, set(accounts), {one.key for one in vtns})
    return Plan(feeds, vtns)


def _log_failure(taken: Future[None]) -> None:
    """Nobody waits for these changes: what becomes of them is read here or nowhere."""
    if not taken.cancelled() and (error := taken.exception()) is not None:
        log.error("what a feed brought was not taken: %s", error, exc_info=error)


def remembered(sites: dict[str, SiteForecast], plan: Plan, clock: Clock, tx: Transaction, desk: ForecastDesk) -> None:
    """Give the sites what the cache knows, so that a restart without a network decides as before while it is fresh."""
    for feed in plan.feeds:
        desk.take_live(tx, feed.site, feed.live())
    for vtn in plan.vtns:
        sites[vtn.site] = sites[vtn.site].with_demand(vtn.demand(), clock.utc())


def feeder(plan: Plan) -> Feeder:
    """Not started yet."""
    return Feeder([*plan.feeds, *plan.vtns])


def _accounts(config: CoordinatorConfig, cache: Cache) -> dict[str, Account]:
    """One per key; of several declared budgets of one account the smallest counts."""
    found: dict[str, Account] = {}
    for site in config.sites:
        for _, feed in site.feeds.named():
            key = feedtask.account_key(feed)
            limits = [found[key].per_day] if key in found else []
            declared = [limit for limit in [*limits, feed.requests_per_day] if limit > 0]
            found[key] = Account(key, min(declared, default=0), cache.spent(key))
    return found
