"""The state thread: work and managers, and that an endless trickle of work does not stop time."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from heliotrope.coordinator.engine import Engine
from heliotrope.coordinator.state.database import Database, Transaction


class Counting:
    """A manager that counts its passes, and fails on demand."""

    def __init__(self) -> None:
        self.passes = 0
        self.again = 0
        self.fails = False
        self.passed = threading.Event()

    def ensure(self, tx: Transaction) -> bool:
        self.passes += 1
        self.passed.set()
        if self.fails:
            raise ValueError("as asked")
        self.again -= 1
        return self.again >= 0


@pytest.fixture
def manager() -> Counting:
    return Counting()


@pytest.fixture
def engine(tmp_path: Path, manager: Counting) -> Iterator[Engine]:
    database = Database.in_folder(tmp_path)
    made = Engine(database, [manager])
    made.start()
    yield made
    made.stop()
    database.close()


def test_a_change_is_followed_by_passes_until_nothing_is_left(engine: Engine, manager: Counting) -> None:
    engine.submit(lambda _: None, ensure=False).result(10)
    manager.again = 2
    before = manager.passes
    assert engine.submit(lambda _: 42).result(10) == 42
    engine.submit(lambda _: None, ensure=False).result(10)
    assert manager.passes >= before + 3


def test_an_error_comes_out_and_the_thread_lives_on(engine: Engine, manager: Counting) -> None:
    def wrong(_: Transaction) -> None:
        raise KeyError("no")

    with pytest.raises(KeyError):
        engine.submit(wrong).result(10)
    manager.fails = True
    engine.submit(lambda _: None).result(10)
    assert engine.submit(lambda _: "still here").result(10) == "still here"


def test_a_change_whose_caller_left_is_not_made_and_the_thread_lives_on(engine: Engine) -> None:
    """Found by a fleet that was stopped: a call that ended at the wrong moment took the state thread with it."""
    free, begun, made = threading.Event(), threading.Event(), list[str]()

    def slow(_: Transaction) -> None:
        begun.set()
        free.wait(10)

    running = engine.submit(slow)
    waiting = engine.submit(lambda _: made.append("no"))
    assert begun.wait(10)
    assert not running.cancel(), "what runs is seen through"
    assert waiting.cancel()
    free.set()
    running.result(10)
    assert engine.submit(lambda _: "still here").result(10) == "still here"
    assert made == []


def test_managers_get_their_turn_under_an_endless_trickle(engine: Engine, manager: Counting) -> None:
    """Found by a crash test: reads that arrived faster than the beat kept restarts from ever being due."""
    stop = threading.Event()

    def trickle() -> None:
        while not stop.is_set():
            engine.submit(lambda _: None, ensure=False).result(10)

    thread = threading.Thread(target=trickle)
    thread.start()
    try:
        for _ in range(3):
            manager.passed.clear()
            assert manager.passed.wait(10), "no pass while work trickled in"
    finally:
        stop.set()
        thread.join()
