"""What ``heliotrope site show`` says of a site's feeds, of what their forecasts are worth, and of its power limits."""

from __future__ import annotations

import click

from . import output
from .messages import Record
from .output import Column

_FEEDS = (
    Column("FEED"),
    Column("SOURCE"),
    Column("KIND"),
    Column("SCOPE"),
    Column("UNIT"),
    Column("ISSUED"),
    Column("GOOD UNTIL"),
    Column("FORECAST"),
    Column("ESTIMATED", right=True),
)
_ERRORS = (
    Column("FORECAST OF"),
    Column("LEAD", right=True),
    Column("ERROR P10", right=True),
    Column("P50", right=True),
    Column("P90", right=True),
    Column("SAMPLES", right=True),
)
_LIMITS = (
    Column("POWER LIMIT", right=True),
    Column("FROM"),
    Column("UNTIL"),
    Column("KIND"),
    Column("PROGRAM"),
    Column("EVENT"),
)


def fields(site: Record) -> list[tuple[str, str]]:
    """Lines of the site's own fields; nothing where nothing is to be said."""
    lines = (
        [("power limit now", output.format_power(site["power_limit_w"]))] if site["power_limit_w"] is not None else []
    )
    if site["unknown_because"]:
        lines.append(("unknown", site["unknown_because"]))
    if site["demand_failure"]:
        lines.append(("demand response", f"{site['demand_failure']}; known limits stay in force"))
    lines += [("demand response", mark) for mark in site["demand_marks"]]
    for feed in site["feeds"]:
        if feed["failure"] and not site["unknown_because"]:
            lines.append((f"{feed['field']} feed", feed["failure"]))
        lines += [(f"{feed['field']} values", mark) for mark in feed["marks"]]
    return lines


def print_tables(site: Record) -> None:
    """The feeds, their errors and the limits, each if there are any."""
    errors = [_error(feed, one) for feed in site["feeds"] for one in feed["errors"] if one["p50"] is not None]
    limits = [_limit(one) for one in site["power_limits"]]
    for columns, rows in ((_FEEDS, [_feed(one) for one in site["feeds"]]), (_ERRORS, errors), (_LIMITS, limits)):
        if rows:
            click.echo()
            output.print_table(columns, rows)


def _feed(feed: Record) -> tuple[str, ...]:
    until = output.format_time(feed["stale_from_utc"]) if feed["stale_from_utc"] else "-"
    return (
        feed["field"],
        feed["source"],
        feed["kind"],
        feed["scope"],
        feed["unit"],
        output.format_time(feed["issued_utc"]) if feed["issued_utc"] else "never",
        f"{until} (stale)" if feed["stale"] and feed["issued_utc"] else until,
        feed["forecast_from"],
        output.format_ratio(feed["estimated_ratio"]),
    )


def _error(feed: Record, error: Record) -> tuple[str, ...]:
    return (
        feed["field"],
        output.format_seconds(error["lead_s"]),
        *(f"{error[name]:+.3g}" for name in ("p10", "p50", "p90")),
        str(error["sample_count"]),
    )


def _limit(limit: Record) -> tuple[str, ...]:
    return (
        output.format_power(limit["limit_w"]),
        output.format_time(limit["start_utc"]),
        output.format_time(limit["end_utc"]) if limit["end_utc"] else "further notice",
        limit["kind"],
        limit["program"],
        limit["event"],
    )
