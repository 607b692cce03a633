"""OpenADR 3 events to limits and prices. What cannot be read leaves a mark and never an invented figure.

Shapes: the OpenADR 3.0.1 and 3.1 specifications (openadr.org), as openleadr-rs and openadr3-client read them. Both ways
to write targets, and both ways to write "now" ("0000-00-00", "0001-01-01T00:00:00") are understood. ``randomizeStart``
is a leave to begin later, which is not taken: a limit begins when it is said to.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from ..live.times import duration_s, utc_s
from ..live.trouble import Kind, Trouble
from ..live.web import decode
from .config import DemandResponse
from .limits import NO_PRIORITY, LimitKind, PowerLimit, PriceSignal

POWER_UNITS = {"W": 1.0, "KW": 1e3, "MW": 1e6}
PRICE_UNITS = {"KWH": 1e3, "MWH": 1.0, "WH": 1e6}  # to a price per MWh
ENDLESS_S = 1000 * 31_536_000.0  # P9999Y says "for ever"
NOW = ("0000-00-00", "0001-01-01")
WATTS_LIMIT = 1e12
INTERVALS_LIMIT = 10_000
_LIMIT_TYPES = {"IMPORT_CAPACITY_LIMIT": LimitKind.CAPACITY, "DISPATCH_SETPOINT": LimitKind.SETPOINT}
_ALERTS = ("ALERT_GRID_EMERGENCY", "ALERT_BLACK_START")


class IntervalPeriod(msgspec.Struct):
    start: str | None = None
    duration: str | None = None


class Payload(msgspec.Struct):
    type: str
    values: list[Any] = []


class Interval(msgspec.Struct):
    payloads: list[Payload]
    id: int = 0
    intervalPeriod: IntervalPeriod | None = None


class Descriptor(msgspec.Struct):
    payloadType: str
    units: str | None = None
    currency: str | None = None


class Event(msgspec.Struct):
    """One event of a VTN."""

    programID: str
    intervals: list[Interval] | None = None
    id: str = ""
    eventName: str | None = None
    priority: int | None = None
    targets: list[Any] | None = None
    payloadDescriptors: list[Descriptor] | None = None
    intervalPeriod: IntervalPeriod | None = None
    createdDateTime: str | None = None
    modificationDateTime: str | None = None

    @property
    def key(self) -> str:
        """What tells it from other events of the VTN, also where it gives no ids."""
        return self.id or f"{self.programID}/{self.name}"

    @property
    def name(self) -> str:
        return (self.eventName or self.id or "unnamed")[:80]


@dataclass
class Read:
    """What a VTN's events came to."""

    limits: list[PowerLimit] = field(default_factory=list)
    prices: list[PriceSignal] = field(default_factory=list)
    marks: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Span:
    start_s: float
    end_s: float | None


def parse(body: bytes) -> list[Event]:
    """Raises Trouble naming the field."""
    return decode(body, list[Event], "OpenADR events")


def read(events: list[Event], config: DemandResponse, now_s: float, seen_s: Mapping[str, float] | None = None) -> Read:
    """The limits and prices for this site; events for other targets are left out.

    ``seen_s``: when events were first seen, by key: one that starts "now" and has no date of its own starts then, and
    not anew at every poll.
    """
    found = Read()
    for event in events:
        if (config.programs and event.programID not in config.programs) or not _is_for(event, config.targets):
            continue
        try:
            _read_event(event, config, (seen_s or {}).get(event.key, now_s), found)
        except Trouble as error:
            found.marks.append(f"event {event.name}: {error}; left out")
    return found


def _is_for(event: Event, wanted: tuple[str, ...]) -> bool:
    """Targets are texts (3.1) or {type, values} (3.0); an event without any is for all."""
    named: set[str] = set()
    for target in event.targets or []:
        values = target.get("values", []) if isinstance(target, dict) else [target]
        named |= {str(value) for value in values} if isinstance(values, list) else set()
    return not wanted or not named or bool(named & set(wanted))


def _read_event(event: Event, config: DemandResponse, now_s: float, found: Read) -> None:
    intervals = (event.intervals or [])[:INTERVALS_LIMIT]
    spans = _spans(event, intervals, now_s)
    for interval, span in zip(intervals, spans, strict=True):
        for payload in interval.payloads:
            _read_payload(event, payload, span, config, found)


def _spans(event: Event, intervals: list[Interval], now_s: float) -> list[_Span]:
    """When each interval holds: by its own period, else one after the other from the event's start."""
    spans: list[_Span] = []
    cursor_s = _start_s(event, event.intervalPeriod, now_s)
    for interval in intervals:
        own = interval.intervalPeriod
        start_s = _start_s(event, own, now_s) if own is not None and own.start else cursor_s
        if start_s is None:
            raise Trouble(Kind.MALFORMED, "field intervalPeriod.start: neither the event nor its interval has one")
        text = (own.duration if own else None) or (event.intervalPeriod.duration if event.intervalPeriod else None)
        length_s = duration_s(text, "intervalPeriod.duration") if text else math.inf
        if length_s <= 0:
            raise Trouble(Kind.MALFORMED, f"field intervalPeriod.duration: {text!r} is not a positive duration")
        end_s = start_s + length_s if length_s < ENDLESS_S else None
        spans.append(_Span(start_s, end_s))
        cursor_s = end_s
    return spans


def _start_s(event: Event, period: IntervalPeriod | None, now_s: float) -> float | None:
    if period is None or not period.start:
        return None
    if not period.start.startswith(NOW):
        return utc_s(period.start, "intervalPeriod.start")
    said = event.modificationDateTime or event.createdDateTime
    return utc_s(said, "createdDateTime") if said else now_s


def _read_payload(event: Event, payload: Payload, span: _Span, config: DemandResponse, found: Read) -> None:
    kind = payload.type
    if kind in _LIMIT_TYPES:
        watts = _number(payload) * _unit(event, kind, POWER_UNITS, "KW")
        _add_limit(event, span, watts, _LIMIT_TYPES[kind], found)
    elif kind in _ALERTS:
        if config.emergency_limit_w is None:
            found.marks.append(f"event {event.name}: {kind}, but demand_response.emergency_limit_w is not set")
        else:
            _add_limit(event, span, config.emergency_limit_w, LimitKind.EMERGENCY, found)
    elif kind == "SIMPLE":
        level = int(_number(payload))
        if 1 <= level <= len(config.simple_limits_w):
            _add_limit(event, span, config.simple_limits_w[level - 1], LimitKind.LEVEL, found)
        elif level > 0:
            found.marks.append(f"event {event.name}: SIMPLE level {level}, which demand_response.simple_limits_w lacks")
    elif kind == "PRICE":
        _add_price(event, payload, span, found)
    else:
        found.marks.append(f"event {event.name}: {kind[:40]} is not read")


def _add_limit(event: Event, span: _Span, watts: float, kind: LimitKind, found: Read) -> None:
    if not 0 <= watts <= WATTS_LIMIT:
        raise Trouble(Kind.MALFORMED, f"field values: {watts:g} W is no limit of consumption; check sign and units")
    found.limits.append(
        PowerLimit(
            start_s=span.start_s,
            end_s=span.end_s,
            limit_w=watts,
            kind=kind,
            program=event.programID,
            event=event.name,
            priority=NO_PRIORITY if event.priority is None else event.priority,
        )
    )


def _add_price(event: Event, payload: Payload, span: _Span, found: Read) -> None:
    price = _number(payload) * _unit(event, "PRICE", PRICE_UNITS, "KWH")
    if not -5000.0 <= price <= 50_000.0:
        raise Trouble(Kind.MALFORMED, f"field values: a price of {price:g} per MWh is absurd; check units")
    descriptor = _descriptor(event, "PRICE")
    found.prices.append(
        PriceSignal(
            start_s=span.start_s,
            end_s=span.end_s,
            price_per_mwh=price,
            program=event.programID,
            event=event.name,
            priority=NO_PRIORITY if event.priority is None else event.priority,
            currency=(descriptor.currency or "") if descriptor else "",
        )
    )


def _number(payload: Payload) -> float:
    value = payload.values[0] if payload.values else None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise Trouble(Kind.MALFORMED, f"field values: {payload.type[:40]} needs a number, not {str(value)[:40]!r}")
    return float(value)


def _unit(event: Event, kind: str, known: dict[str, float], usual: str) -> float:
    """The factor of the unit that the event declares; without a word the specification's usual one."""
    descriptor = _descriptor(event, kind)
    unit = (descriptor.units if descriptor else None) or usual
    if unit.upper() not in known:
        raise Trouble(
            Kind.UNIT, f"field payloadDescriptors.units: {unit[:20]!r} of {kind} is none of {', '.join(known)}"
        )
    return known[unit.upper()]


def _descriptor(event: Event, kind: str) -> Descriptor | None:
    return next((one for one in event.payloadDescriptors or [] if one.payloadType == kind), None)
