"""Waiting: until it is so, through a coordinator's restart, at most so long; on a clock that nobody has to wait for."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from heliotrope.cli import waiting
from heliotrope.foundation.errors import DeadlineExceeded, JobFailed, NotFound, Unreachable


class HandClock:
    """Moves when somebody sleeps."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def monotonic_s(self) -> float:
        return self.now_s

    def boottime_s(self) -> float:
        return self.now_s

    def utc(self) -> datetime:
        return datetime.fromtimestamp(self.now_s, UTC)

    def sleep(self, duration_s: float) -> None:
        assert duration_s > 0
        self.now_s += duration_s


def _until(clock: HandClock, ask: Callable[[], dict[str, Any]], timeout_s: float | None = None) -> dict[str, Any]:
    return waiting.until(
        ask, lambda answer: bool(answer["done"]), "it", timeout_s=timeout_s, clock=clock, sleep=clock.sleep
    )


def test_the_first_answer_that_is_done() -> None:
    clock = HandClock()
    assert _until(clock, lambda: {"done": True})["done"] and clock.now_s == 0
    assert _until(clock, lambda: {"done": clock.now_s >= 100})["done"]
    assert 100 <= clock.now_s <= 100 + waiting.LONGEST_PAUSE_S


def test_the_timeout_is_kept_to_the_end() -> None:
    clock = HandClock()
    with pytest.raises(DeadlineExceeded, match="cannot wait longer for it: 30 s"):
        _until(clock, lambda: {"done": clock.now_s > 30}, timeout_s=30)
    assert clock.now_s == pytest.approx(30)
    with pytest.raises(DeadlineExceeded):
        _until(clock, lambda: {"done": False}, timeout_s=0)


def test_a_coordinator_may_be_away_for_a_while() -> None:
    clock = HandClock()

    def ask() -> dict[str, Any]:
        if 10 < clock.now_s < 10 + waiting.RESTART_PATIENCE_S - 5:
            raise Unreachable("away")
        return {"done": clock.now_s > 200}

    assert _until(clock, ask)["done"]


def test_not_for_ever_and_other_errors_at_once() -> None:
    clock = HandClock()

    def away() -> dict[str, Any]:
        raise Unreachable("away")

    def gone() -> dict[str, Any]:
        raise NotFound("gone")

    with pytest.raises(Unreachable):
        _until(clock, away)
    assert clock.now_s <= waiting.RESTART_PATIENCE_S + waiting.LONGEST_PAUSE_S
    before_s = clock.now_s
    with pytest.raises(NotFound):
        _until(clock, gone)
    assert clock.now_s == before_s


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"message": "out of memory", "exit_code": 137, "fault": "node"}, ["out of memory", "137", "fault: node"]),
        ({"message": "", "exit_code": None, "fault": "none"}, ["no message"]),
    ],
)
def test_how_a_job_failed(fields: dict[str, Any], words: list[str]) -> None:
    job = {"job_id": "j1", "spec": {"name": "tiny"}, "state": "FAILED", **fields}
    with pytest.raises(JobFailed) as raised:
        waiting.check_finished(job)
    assert all(word in str(raised.value) for word in ["tiny", "j1", *words])
    assert "none" not in str(raised.value)
    waiting.check_finished({**job, "state": "FINISHED"})
