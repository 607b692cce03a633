"""A fleet's authority and its members, with real keys, for the tests of this folder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from heliotrope.foundation import authority, identity
from heliotrope.foundation.authority import Authority
from heliotrope.foundation.clock import Clock
from heliotrope.foundation.identity import Identity, Role


@dataclass
class StandingClock:
    """A clock that stands at one moment."""

    at_utc: datetime

    def monotonic_s(self) -> float:
        return 0.0

    def boottime_s(self) -> float:
        return 0.0

    def utc(self) -> datetime:
        return self.at_utc


@pytest.fixture(scope="session")
def clock_at() -> Callable[..., Clock]:
    """``clock_at(2024, 1, 1)``: a clock standing at that UTC moment."""

    def make(*parts: int) -> Clock:
        year, month, day, hour, minute = (*parts, 0, 0)[:5]
        return StandingClock(datetime(year, month, day, hour, minute, tzinfo=UTC))

    return make


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return authority.create(tmp_path_factory.mktemp("lab") / "ca", "lab")


@pytest.fixture(scope="session")
def other_lab(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Another authority that claims the same fleet name: only its key tells it apart."""
    return authority.create(tmp_path_factory.mktemp("other-lab") / "ca", "lab")


@pytest.fixture(scope="session")
def member(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Authority, Role, str], Identity]:
    """``member(authority, role, id)``: an identity that this authority issued, loaded from its folder."""

    def make(issuer: Authority, role: Role, member_id: str) -> Identity:
        folder: Path = tmp_path_factory.mktemp(member_id) / "identity"
        issuer.issue(role, member_id).save(folder)
        return identity.load(folder)

    return make
