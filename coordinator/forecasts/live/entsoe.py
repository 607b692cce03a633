"""ENTSO-E Transparency Platform: day-ahead prices of a bidding zone, as XML.

Traps (seen by the authors of entsoe-py, and in the platform's guide): with curve type A03 a missing position repeats
the value before it; several Periods and TimeSeries in a document, some of them at another resolution; "no data" comes
as an Acknowledgement with status 200. The token is part of the query, so no message of ours shows an address.
"""

from __future__ import annotations

from collections.abc import Iterator
from xml.etree import ElementTree as ET

from ..csvtrace import RANGES
from ..series import utc_at
from .answers import Answer, Sample, Tidy
from .feeds import Entsoe
from .times import duration_s, utc_s
from .trouble import Kind, Trouble
from .web import Request, Web

DAY_AHEAD_PRICES = "A44"
PAST_S = 86_400.0
AHEAD_S = 2 * 86_400.0
POSITIONS_LIMIT = 3000


async def fetch(feed: Entsoe, token: str, web: Web, now_s: float) -> Answer:
    """The last day's prices and those that are published ahead. Raises Trouble."""
    request = Request(
        what=f"ENTSO-E day-ahead prices of {feed.domain}",
        url=feed.url,
        params={
            "documentType": DAY_AHEAD_PRICES,
            "in_Domain": feed.domain,
            "out_Domain": feed.domain,
            "contract_MarketAgreement.type": "A01",
            "periodStart": utc_at(now_s - PAST_S).strftime("%Y%m%d%H00"),
            "periodEnd": utc_at(now_s + AHEAD_S).strftime("%Y%m%d%H00"),
            "securityToken": token,
        },
        headers={"Accept": "application/xml"},
    )
    tidy = Tidy(f"ENTSO-E {feed.domain}", RANGES["price_per_mwh"])
    prices = tidy.samples(parse(await web.get(request)))
    return Answer(
        observed=tuple(sample for sample in prices if sample.time_s <= now_s),
        forecast=tuple(sample for sample in prices if sample.time_s > now_s),
        issued_s=None,
        kind="average",
        scope="none",
        marks=tidy.marks,
    )


def parse(body: bytes) -> list[Sample]:
    """The prices per MWh at the finest resolution given. Raises Trouble: no such document, another unit, no data."""
    if b"<!DOCTYPE" in body[:2000] or b"<!ENTITY" in body:
        raise Trouble(Kind.MALFORMED, "ENTSO-E: the answer declares entities, which no document of theirs does")
    try:
        root = ET.fromstring(body)
    except (ET.ParseError, ValueError, LookupError) as error:
        raise Trouble(Kind.MALFORMED, f"ENTSO-E: the answer is no XML ({error})") from error
    if _plain(root.tag).startswith("Acknowledgement"):
        reason = next((node.text or "" for node in root.iter() if _plain(node.tag) == "text"), "")
        raise Trouble(Kind.EMPTY, f"ENTSO-E: {reason[:160] or 'no data'}; check domain")
    unit = next((node.text for node in root.iter() if _plain(node.tag) == "price_Measure_Unit.name"), "MWH")
    if unit != "MWH":
        raise Trouble(Kind.UNIT, f"ENTSO-E: field price_Measure_Unit.name: {unit!r} where MWH is expected")
    periods = [_period(node) for node in root.iter() if _plain(node.tag) == "Period"]
    if not periods:
        raise Trouble(Kind.EMPTY, "ENTSO-E: the document has no Period; check domain")
    finest_s = min(step_s for step_s, _ in periods)
    return [sample for step_s, samples in periods if step_s == finest_s for sample in samples]


def _period(node: ET.Element) -> tuple[float, list[Sample]]:
    """(resolution [s], prices) of a Period."""
    texts = {_plain(child.tag): (child.text or "").strip() for child in node.iter()}
    start_s, end_s = utc_s(texts.get("start", ""), "start"), utc_s(texts.get("end", ""), "end")
    step_s = duration_s(texts.get("resolution", ""), "resolution")
    if step_s < 60 or not start_s < end_s <= start_s + POSITIONS_LIMIT * step_s:
        raise Trouble(Kind.MALFORMED, "ENTSO-E: field resolution: does not fit the Period's interval")
    count = round((end_s - start_s) / step_s)
    given = dict(_points(node, count))
    samples: list[Sample] = []
    value: float | None = None
    for position in range(1, count + 1):
        value = given.get(position, value)
        samples.append(Sample(start_s + (position - 1) * step_s, value))
    return step_s, samples


def _points(node: ET.Element, count: int) -> Iterator[tuple[int, float]]:
    for point in (child for child in node if _plain(child.tag) == "Point"):
        texts = {_plain(child.tag): (child.text or "").strip() for child in point}
        try:
            position, price = int(texts.get("position", "")), float(texts.get("price.amount", ""))
        except ValueError as error:
            raise Trouble(Kind.MALFORMED, f"ENTSO-E: field Point: {error}") from error
        if not 1 <= position <= count:
            raise Trouble(Kind.MALFORMED, f"ENTSO-E: field position: {position} is not within 1 .. {count}")
        yield position, price


def _plain(tag: str) -> str:
    return tag.rpartition("}")[2]
