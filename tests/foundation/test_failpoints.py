"""Failpoints: silent unless armed, once when armed, and a misspelt one is refused."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from heliotrope.foundation import failpoints
from heliotrope.foundation.errors import InvalidInput
from heliotrope.foundation.failpoints import FailpointError

NAME = "test.point.applied"
failpoints.register(NAME, "test.other")


@pytest.fixture(autouse=True)
def _disarmed() -> Iterator[None]:
    yield
    failpoints.arm("")


def test_names_are_listed() -> None:
    assert {NAME, "test.other"} <= set(failpoints.registered())
    assert failpoints.registered() == sorted(failpoints.registered())


def test_an_unarmed_point_does_nothing() -> None:
    failpoints.arm("")
    failpoints.hit(NAME)
    failpoints.hit("never registered")


def test_error_strikes_once_and_only_there() -> None:
    failpoints.arm(f" {NAME}=error , ")
    failpoints.hit("test.other")
    with pytest.raises(FailpointError, match=NAME):
        failpoints.hit(NAME)
    failpoints.hit(NAME)


def test_arming_again_replaces() -> None:
    failpoints.arm(f"{NAME}=error")
    failpoints.arm("test.other=error")
    failpoints.hit(NAME)
    with pytest.raises(FailpointError):
        failpoints.hit("test.other")


@pytest.mark.parametrize(
    ("setting", "reason"),
    [("test.pont=kill", "no such point"), (NAME, "action ''"), (f"{NAME}=explode", "action 'explode'")],
)
def test_misspelling_is_refused(setting: str, reason: str) -> None:
    with pytest.raises(InvalidInput, match=reason):
        failpoints.arm(setting)


def test_the_environment_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(failpoints.VARIABLE, f"{NAME}=error")
    failpoints.arm()
    with pytest.raises(FailpointError):
        failpoints.hit(NAME)


def test_kill_is_a_real_kill() -> None:
    program = (
        "from heliotrope.foundation import failpoints as f; f.register('a.b'); f.arm();"
        "print('before', flush=True); f.hit('a.b'); print('after', flush=True)"
    )
    environment = {**os.environ, failpoints.VARIABLE: "a.b=kill"}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (-signal.SIGKILL, "before\n")
