"""The state thread: work and managers, and that an endless trickle of work does not stop time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import select

from heliotrope.coordinator.engine import Engine
from heliotrope.coordinator.state import schema
from heliotrope.coordinator.state.database import Database, Transaction
from heliotrope.coordinator.state.rows import upsert


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


class Held:
    """Keeps the thread busy, so that what is handed in meanwhile shares a commit."""

    def __init__(self, engine: Engine) -> None:
        self._go = threading.Event()
        self._busy = engine.submit(lambda _: self._go.wait(30))

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        self._go.set()
        self._busy.result(30)


def commits(database: Database) -> list[float]:
    seen: list[float] = []
    database.on_commit = seen.append
    return seen


def write(tx: Transaction, name: str, value: str = "there") -> None:
    upsert(tx.marks._connection, schema.about, {"key": name, "value": value})


def put(name: str) -> Callable[[Transaction], None]:
    return lambda tx: write(tx, name)


def there(database: Database, *names: str) -> list[bool]:
    with database.transaction() as tx:
        query = select(schema.about.c.key)
        found = set(tx.marks._connection.execute(query).scalars())
    return [name in found for name in names]


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    made = Database.in_folder(tmp_path / "own")
    yield made
    made.close()


@pytest.fixture
def flooded(database: Database) -> Iterator[Engine]:
    made = Engine(database, [])
    made.start()
    yield made
    made.stop()


def test_what_no_manager_reacts_to_shares_a_commit(flooded: Engine, database: Database) -> None:
    seen = commits(database)
    with Held(flooded):
        light = [flooded.submit(put(f"light-{number}"), ensure=False) for number in range(20)]
    for future in light:
        future.result(10)
    assert len(seen) == 1
    with Held(flooded):
        mixed = [flooded.submit(put(f"mixed-{number}"), ensure=number == 3) for number in range(6)]
    for future in mixed:
        future.result(10)
    assert len(seen) == 1 + 3, "three together, one that managers react to, two together"
    assert all(there(database, *(f"mixed-{number}" for number in range(6))))


def test_an_error_undoes_its_own_change_alone(flooded: Engine, database: Database) -> None:
    after: list[str] = []

    def wrong(tx: Transaction) -> None:
        write(tx, "wrong")
        tx.after_commit(lambda: after.append("wrong"))
        raise KeyError("no")

    def right(tx: Transaction) -> None:
        write(tx, "right")
        tx.after_commit(lambda: after.append("right"))

    with Held(flooded):
        futures = [flooded.submit(change, ensure=False) for change in (put("first"), wrong, right)]
        gone = flooded.submit(put("gone"), ensure=False)
        assert gone.cancel()
    with pytest.raises(KeyError):
        futures[1].result(10)
    futures[2].result(10)
    assert there(database, "first", "wrong", "right", "gone") == [True, False, True, False]
    assert after == ["right"]


def test_on_a_full_disk_nobody_is_told_that_it_was_committed(flooded: Engine, database: Database) -> None:
    def fill(tx: Transaction) -> None:
        write(tx, "large", "x" * 10_000_000)

    def limit(tx: Transaction) -> None:
        connection = tx.marks._connection
        pages = int(connection.exec_driver_sql("PRAGMA page_count").scalar() or 0)
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages + 5}")

    flooded.submit(limit, ensure=False).result(10)
    with Held(flooded):
        futures = [flooded.submit(change, ensure=False) for change in (put("before"), fill, put("after"))]
    errors = [future.exception(10) for future in futures]
    assert there(database, "before", "large", "after") == [error is None for error in errors] and errors[1] is not None
    flooded.submit(put("later"), ensure=False).result(10)
