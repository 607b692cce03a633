"""What the feeder brings enters the world here, in the state thread: series, the errors of older ones, limits."""

from __future__ import annotations

import numpy as np

from ..forecasts import learning
from ..forecasts.learning import ErrorModel
from ..forecasts.live.kept import Live
from ..forecasts.openadr.vtn import Demand
from ..state.database import Transaction
from .world import World


class ForecastDesk:
    """Takes in what was fetched."""

    def __init__(self, world: World) -> None:
        self._world = world

    def take_live(self, tx: Transaction, site: str, live: Live) -> None:
        """A feed's newest word, or why there is none. Its errors are learnt before it replaces the older one."""
        forecast = self._world.sites[site]
        key = f"{live.field} {live.label} {live.forecast_from}"
        model = tx.forecast_errors.find(site, key)
        learnt = learn(model, live)
        if learnt != model:
            tx.forecast_errors.put(site, key, learnt)
        self._world.sites[site] = forecast.with_live(live, learnt)

    def take_demand(self, tx: Transaction, site: str, demand: Demand) -> None:
        """A VTN's newest word, or why there is none."""
        self._world.sites[site] = self._world.sites[site].with_demand(demand, self._world.utc())


def learn(model: ErrorModel, live: Live) -> ErrorModel:
    """With the errors that the observed part settles, and the claims of the forecast, if it is a new one."""

    def value_at(seconds: float) -> float:
        return float(live.series.at_s(np.array(seconds)))

    settled = learning.settle(model, live.observed_until_s, value_at)
    if live.issued_s is None or live.failure:
        return settled
    return learning.claim(settled, max(live.issued_s, live.observed_until_s), value_at)
