"""A site's feeds and power limits as the operator's messages."""

from __future__ import annotations

from datetime import datetime

from heliotrope.v1 import operator_pb2 as pb

from ..forecasts import learning
from ..forecasts.learning import ErrorModel
from ..forecasts.live.kept import Live
from ..forecasts.openadr.limits import PowerLimit
from ..forecasts.series import unix_s, utc_at
from ..forecasts.site import SiteForecast


def fill(site: pb.Site, forecast: SiteForecast, now: datetime) -> None:
    """Add what feeds and demand response say of the site."""
    now_s = unix_s(now)
    site.unknown_because = forecast.unknown_because(now)
    for field, live in sorted(forecast.live.items()):
        site.feeds.append(_feed(live, forecast.learnt.get(field, ErrorModel()), now_s))
    site.power_limits.extend(_limit(one) for one in forecast.limits.limits if one.end_s is None or one.end_s > now_s)
    binding = forecast.limits.binding(now_s)
    if binding is not None:
        site.power_limit_w = binding.limit_w
    if forecast.demand is not None:
        site.demand_failure = forecast.demand.failure
        site.demand_marks.extend(forecast.demand.said.marks)


def _feed(live: Live, model: ErrorModel, now_s: float) -> pb.FeedState:
    message = pb.FeedState(
        field=live.field,
        source=live.label,
        kind=live.series.kind,
        scope=live.series.scope,
        unit=live.series.unit,
        forecast_from=live.forecast_from,
        stale=bool(live.stale_because(now_s)),
        estimated_ratio=live.estimated_ratio,
        marks=live.marks,
        failure=live.failure,
        errors=[_error(model, one.lead_s) for one in model.leads],
    )
    if live.issued_s is not None:
        message.issued.FromDatetime(utc_at(live.issued_s))
        message.stale_from.FromDatetime(utc_at(live.stale_from_s))
    if live.fetched_s is not None:
        message.fetched.FromDatetime(utc_at(live.fetched_s))
    return message


def _error(model: ErrorModel, lead_s: float) -> pb.ForecastError:
    message = pb.ForecastError(sample_count=learning.count(model, lead_s))
    message.lead.FromSeconds(round(lead_s))
    if message.sample_count >= learning.ERRORS_NEEDED:
        for name, ratio in (("p10", 0.1), ("p50", 0.5), ("p90", 0.9)):
            setattr(message, name, learning.error_quantile(model, lead_s, ratio))
    return message


def _limit(limit: PowerLimit) -> pb.SitePowerLimit:
    message = pb.SitePowerLimit(limit_w=limit.limit_w, kind=limit.kind.value, program=limit.program, event=limit.event)
    message.start.FromDatetime(utc_at(limit.start_s))
    if limit.end_s is not None:
        message.end.FromDatetime(utc_at(limit.end_s))
    return message
