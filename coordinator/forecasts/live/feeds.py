"""A site's live feeds as configured: which service, which zone, how often, how long an answer stays good.

Secrets are named, never given: ``key_file = "em.key"`` is a file of mode 0600, ``key_file = "credential:em"`` a systemd
credential.
"""

from __future__ import annotations

from ipaddress import ip_address
from typing import Annotated, Literal, TypeAlias
from urllib.parse import urlsplit

from msgspec import Meta

from heliotrope.foundation.jobspec import Count, Positive, Strict

from ..csvtrace import RANGES, FileUnit
from ..series import Kind, Scope, Unit

Text = Annotated[str, Meta(min_length=1, max_length=200)]
FieldName: TypeAlias = Literal["intensity", "renewable", "price", "generation"]
ForecastFrom: TypeAlias = Literal["provider", "baseline"]

FIELDS: tuple[FieldName, ...] = ("intensity", "renewable", "price", "generation")
FIELD_UNITS: dict[FieldName, Unit] = {
    "intensity": "g_per_kwh",
    "renewable": "ratio",
    "price": "price_per_mwh",
    "generation": "w",
}


class Feed(Strict, tag_field="provider", kw_only=True):
    """What all feeds share. Counted from the issue of an answer, ``stale_after_s`` later it is used no more."""

    every_s: Positive = 900.0
    stale_after_s: Positive = 3 * 3600.0
    deadline_s: Annotated[float, Meta(gt=0, le=300)] = 20.0  # of one request, everything included
    requests_per_day: Count = 0  # what the account allows, shared by all feeds of that account; 0: no limit known


class ElectricityMaps(Feed, tag="electricitymaps", kw_only=True):
    """Electricity Maps v3. A plan without forecasts: ``forecast = "baseline"`` makes one from the history."""

    zone: Text
    key_file: Text
    url: Text = "https://api.electricitymaps.com/v3"
    key_header: Text = "auth-token"  # trial accounts: X-BLOBR-KEY
    estimations: bool = True  # False: hours that were estimated by Electricity Maps are left out
    forecast: ForecastFrom = "provider"


class WattTime(Feed, tag="watttime", kw_only=True):
    """WattTime v3: the marginal operating emissions rate (co2_moer), direct emissions."""

    region: Text
    user: Text
    password_file: Text
    url: Text = "https://api.watttime.org"
    every_s: Positive = 300.0
    stale_after_s: Positive = 3600.0
    forecast: ForecastFrom = "provider"


class UkCarbonIntensity(Feed, tag="uk_carbon_intensity", kw_only=True):
    """Carbon Intensity API of Great Britain; ``region_id`` 0 is the whole, 1 to 17 one of its regions."""

    region_id: Annotated[int, Meta(ge=0, le=18)] = 0
    url: Text = "https://api.carbonintensity.org.uk"
    every_s: Positive = 1800.0


class Prometheus(Feed, tag="prometheus", kw_only=True):
    """A site's own meter: any PromQL expression that gives one series. Its forecast is the baseline's."""

    url: Text
    query: Annotated[str, Meta(min_length=1, max_length=2000)]
    unit: FileUnit
    step_s: Annotated[float, Meta(ge=15, le=3600)] = 300.0
    history_s: Annotated[float, Meta(ge=3600, le=31 * 86_400)] = 8 * 86_400.0
    token_file: str = ""
    every_s: Positive = 300.0
    stale_after_s: Positive = 1800.0
    stated_kind: Kind = "average"  # of an emission factor that the expression gives
    stated_scope: Literal["life-cycle", "direct"] = "life-cycle"


class Entsoe(Feed, tag="entsoe", kw_only=True):
    """ENTSO-E Transparency Platform: day-ahead prices of a bidding zone (document A44)."""

    domain: Text  # EIC code, 10Y1001A1001A82H is Germany and Luxembourg
    token_file: Text
    url: Text = "https://web-api.tp.entsoe.eu/api"
    every_s: Positive = 3600.0
    stale_after_s: Positive = 36 * 3600.0


AnyFeed: TypeAlias = ElectricityMaps | WattTime | UkCarbonIntensity | Prometheus | Entsoe

# What each service has; anything else is refused before the first request.
SERVES: dict[type[Feed], tuple[FieldName, ...]] = {
    ElectricityMaps: ("intensity", "renewable"),
    WattTime: ("intensity",),
    UkCarbonIntensity: ("intensity", "renewable"),
    Prometheus: FIELDS,
    Entsoe: ("price",),
}


class Feeds(Strict):
    """The live feeds of a site, each in place of the trace or declared figure of that name."""

    intensity: AnyFeed | None = None
    renewable: AnyFeed | None = None
    price: AnyFeed | None = None
    generation: AnyFeed | None = None

    def named(self) -> list[tuple[FieldName, AnyFeed]]:
        """(field, feed) of those that are configured."""
        found = [(name, getattr(self, name)) for name in FIELDS]
        return [(name, feed) for name, feed in found if feed is not None]


def provider_of(feed: Feed) -> str:
    """The provider's name, as configured."""
    return str(type(feed).__struct_config__.tag)


def label(feed: AnyFeed) -> str:
    """Which series of which service, for people and records; no address, no secret."""
    match feed:
        case ElectricityMaps():
            part = feed.zone
        case WattTime():
            part = feed.region
        case UkCarbonIntensity():
            part = f"region {feed.region_id}" if feed.region_id else "GB"
        case Prometheus():
            part = feed.query if len(feed.query) <= 60 else f"{feed.query[:57]}..."
        case Entsoe():
            part = feed.domain
    return f"{provider_of(feed)}:{part}"


def kind_of(feed: AnyFeed) -> Kind:
    """The kind of emission factor that the service gives."""
    if isinstance(feed, WattTime):
        return "marginal"
    return feed.stated_kind if isinstance(feed, Prometheus) else "average"


def scope_of(feed: AnyFeed, wanted: Scope) -> Scope:
    """The scope that the service gives for an intensity; Electricity Maps has both and gives the one wanted.

    UK Carbon Intensity counts CO2 of generation only (its methodology, NESO), WattTime's co2_moer as well.
    """
    if isinstance(feed, ElectricityMaps):
        return wanted
    return feed.stated_scope if isinstance(feed, Prometheus) else "direct"


def faults(feeds: Feeds, kind: Kind, scope: Scope, given: frozenset[str]) -> list[tuple[str, str]]:
    """What is wrong with a site's feeds, as (field, cause); ``given`` are fields with a trace or declared figure."""
    found: list[tuple[str, str]] = []
    for name, feed in feeds.named():
        where = f"feeds.{name}"
        if name in given:
            found.append((where, f"{name} is given by a trace or a declared figure as well; keep one of the two"))
        if name not in SERVES[type(feed)]:
            able = ", ".join(SERVES[type(feed)])
            found.append((f"{where}.provider", f"{provider_of(feed)} gives {able}, not {name}"))
        found += [(f"{where}.{field}", cause) for field, cause in _address_faults(feed)]
        if isinstance(feed, Prometheus) and RANGES[feed.unit].unit != FIELD_UNITS[name]:
            found.append((f"{where}.unit", f"{feed.unit} is no unit of {name}; use one that means {FIELD_UNITS[name]}"))
        if name == "intensity":
            found += _factor_faults(feed, kind, scope)
    return found


def _factor_faults(feed: AnyFeed, kind: Kind, scope: Scope) -> list[tuple[str, str]]:
    """Sites are compared only within one kind and scope, so a feed of another kind must not slip in."""
    found: list[tuple[str, str]] = []
    if kind_of(feed) != kind:
        found.append(("kind", f'feeds.intensity gives {kind_of(feed)} intensity; set kind = "{kind_of(feed)}"'))
    if scope_of(feed, scope) != scope:
        given = scope_of(feed, scope)
        found.append(("scope", f'feeds.intensity gives {given} emissions; set scope = "{given}"'))
    return found


def _address_faults(feed: AnyFeed) -> list[tuple[str, str]]:
    secret = not isinstance(feed, UkCarbonIntensity) and not (isinstance(feed, Prometheus) and not feed.token_file)
    cause = address_fault(feed.url, secret=secret)
    return [("url", cause)] if cause else []


def address_fault(url: str, *, secret: bool) -> str:
    """What is wrong with a service's address; a secret travels over TLS only, or stays on this machine."""
    try:
        parts = urlsplit(url)
        host = parts.hostname
        _ = parts.port
    except ValueError:
        return f"{url!r} is not an address; write https://host/path"
    if parts.scheme not in ("http", "https") or not host:
        return f"{url!r} is not an address; write https://host/path"
    if parts.username or parts.password:
        return "holds a user or password; name a file with the secret instead"
    if secret and parts.scheme == "http" and not _is_loopback(host):
        return "would send a secret over http in the clear; use https"
    return ""


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
