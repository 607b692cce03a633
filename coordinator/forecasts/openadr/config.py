"""A site's demand response as configured: whose events are read, and what an event without watts means here."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from heliotrope.foundation.jobspec import NotNegative, Positive, Strict

from ..live.feeds import Text, address_fault


class DemandResponse(Strict):
    """A VTN of OpenADR 3, polled. Without ``client_id`` it is asked anonymously.

    ``emergency_limit_w``: what the site's meter may draw while a grid emergency is announced, which comes without a
    figure; ``simple_limits_w``: at the levels 1, 2, 3 of SIMPLE events. ``targets``: events for others are left out;
    empty: the VTN chooses.
    """

    vtn_url: Text
    client_id: str = ""
    secret_file: str = ""
    token_url: str = ""  # empty: VTN_URL/auth/token
    scope: str = ""  # of the token, where the authority wants it said
    programs: tuple[str, ...] = ()  # ids; empty: all that the VTN shows
    targets: tuple[str, ...] = ()
    emergency_limit_w: NotNegative | None = None
    simple_limits_w: Annotated[tuple[NotNegative, ...], Meta(max_length=3)] = ()
    use_price: bool = False  # PRICE events are the site's price series
    poll_s: Positive = 60.0
    deadline_s: Annotated[float, Meta(gt=0, le=300)] = 20.0


def faults(config: DemandResponse, *, has_price: bool) -> list[tuple[str, str]]:
    """What types cannot say, as (field, cause)."""
    found: list[tuple[str, str]] = []
    secret = bool(config.secret_file)
    for field, url in (("vtn_url", config.vtn_url), ("token_url", config.token_url)):
        cause = address_fault(url, secret=secret) if url else ""
        if cause:
            found.append((f"demand_response.{field}", cause))
    if bool(config.client_id) != secret:
        missing = "secret_file" if config.client_id else "client_id"
        found.append((f"demand_response.{missing}", "client_id and secret_file belong together; give both or neither"))
    if config.use_price and has_price:
        found.append(("demand_response.use_price", "price is given otherwise as well; keep one of the two"))
    return found
