"""Join tokens: what survives the way from an operator to a node, and what does not."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heliotrope.foundation import authority, jointoken
from heliotrope.foundation.authority import Authority
from heliotrope.foundation.clock import Clock
from heliotrope.foundation.errors import Denied, HeliotropeError, InvalidInput
from heliotrope.foundation.identity import Name, Role


def now() -> datetime:
    return datetime.now(UTC)


@pytest.fixture(scope="module")
def text(lab: Authority) -> str:
    return jointoken.pack(lab.issue_joiner("n1", valid_s=600), "valley")


def test_a_token_says_for_whom_and_until_when(lab: Authority, text: str) -> None:
    token = jointoken.unpack(f"  {text}\n", now_utc=now())
    assert token.name == Name("lab", Role.AGENT, "n1") and token.site == "valley"
    assert token.identity.name == Name("lab", Role.JOINER, "n1") and token.identity.ca_pem == lab.ca_pem
    assert timedelta() < token.expires_utc - now() <= timedelta(seconds=600)
    assert "\n" not in text and text not in repr(token) and "PRIVATE" not in repr(token)


@pytest.mark.parametrize(
    ("moment", "words"), [(timedelta(hours=1), "expired at"), (-timedelta(hours=1), "set the clock")]
)
def test_outside_its_time_it_is_refused_with_the_remedy(text: str, moment: timedelta, words: str) -> None:
    with pytest.raises(Denied, match=f"{words}.*heliotrope ca join-token"):
        jointoken.unpack(text, now_utc=now() + moment)


@given(data=st.data())
def test_no_change_on_the_way_passes(text: str, data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(text) - 1))
    other = data.draw(st.characters(codec="ascii").filter(lambda char: char != text[place]))
    for spoilt in (text[:place] + other + text[place + 1 :], text[:place]):
        try:
            token = jointoken.unpack(spoilt, now_utc=now())
        except InvalidInput:
            continue
        # The last letter carries bits that mean nothing: the same token may be written in several ways.
        assert token == jointoken.unpack(text, now_utc=now())


@pytest.mark.parametrize("valid_s", [0, -1, 8 * 86_400, float("nan")])
def test_a_token_is_short_lived(lab: Authority, valid_s: float) -> None:
    with pytest.raises(InvalidInput, match="field valid_s"):
        lab.issue_joiner("n1", valid_s=valid_s)


def test_another_members_certificate_is_no_token(lab: Authority) -> None:
    with pytest.raises(InvalidInput, match="no join token's certificate"):
        jointoken.unpack(jointoken.pack(lab.issue(Role.AGENT, "n1")), now_utc=now())


def test_a_token_ends_with_its_authority(tmp_path: object, clock_at: Callable[..., Clock], lab: Authority) -> None:
    late = authority.open(lab.folder, clock=clock_at(1990, 1, 1))
    with pytest.raises(HeliotropeError, match="set the clock"):
        late.issue_joiner("n1")
