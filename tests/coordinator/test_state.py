"""The contract of the coordinator's state; every engine that may hold it runs this suite."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from heliotrope.coordinator.state import model, order_model
from heliotrope.coordinator.state.database import Database
from heliotrope.coordinator.state.model import Copy, Job, LinkSample, Migration, Node, Run
from heliotrope.coordinator.state.order_model import Command
from heliotrope.foundation.errors import Conflict, Corrupt, Incompatible, InvalidInput, NotFound
from heliotrope.foundation.jobspec import JobSpec
from heliotrope.foundation.model import Checkpoint, CommandResult, JobState, MigrationKind, MigrationStep

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
SPEC = JobSpec(name="train", command=("true",))


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    found = Database.in_folder(tmp_path)
    yield found
    found.close()


def job(job_id: str = "j-1", **changes: object) -> Job:
    made = Job(job_id=job_id, spec=SPEC, bundle_digest=b"\x01", bundle_bytes=1, submitted_utc=NOW)
    return model.replace(made, **changes)


def migration(migration_id: str, job_id: str = "j-1", step: MigrationStep = MigrationStep.PLANNED) -> Migration:
    return Migration(
        migration_id=migration_id,
        kind=MigrationKind.MOVE,
        job_id=job_id,
        job_name="train",
        step=step,
        cause="test",
        steps=(model.StepRecord(step=step, entered_utc=NOW),),
    )


def checkpoint(epoch: int, sequence: int) -> Checkpoint:
    return Checkpoint(epoch=epoch, sequence=sequence, manifest_digest=bytes([epoch, sequence]), state_bytes=10)


def test_a_record_comes_back_as_it_was_put(database: Database) -> None:
    put = job(state=JobState.RUNNING, node_id="a", epoch=3, exit_code=None)
    with database.transaction() as tx:
        tx.jobs.put(put)
    with database.transaction() as tx:
        assert tx.jobs.get("j-1") == put
        assert tx.jobs.on_node("a") == [put]
        assert tx.jobs.on_node("b") == []


def test_what_was_rolled_back_is_gone_and_runs_no_action(database: Database) -> None:
    ran: list[str] = []
    with pytest.raises(ZeroDivisionError), database.transaction() as tx:
        tx.jobs.put(job())
        tx.after_commit(lambda: ran.append("after"))
        raise ZeroDivisionError
    with database.transaction() as tx:
        assert tx.jobs.find("j-1") is None
        tx.after_commit(lambda: ran.append("committed"))
    assert ran == ["committed"]


def test_a_second_open_migration_of_a_job_is_refused_by_the_database(database: Database) -> None:
    with database.transaction() as tx:
        tx.migrations.put(migration("m-1"))
    with pytest.raises(Conflict, match="another one is open"), database.transaction() as tx:
        tx.migrations.put(migration("m-2"))
    with database.transaction() as tx:
        tx.migrations.put(migration("m-1", step=MigrationStep.COMMITTED))
        tx.migrations.put(migration("m-2"))
        tx.migrations.put(migration("m-3", job_id="j-2"))
        assert {one.migration_id for one in tx.migrations.open()} == {"m-2", "m-3"}


def test_a_job_is_found_by_an_unambiguous_name(database: Database) -> None:
    with database.transaction() as tx:
        tx.jobs.put(job("j-1", state=JobState.FINISHED))
        tx.jobs.put(job("j-2"))
        assert tx.jobs.resolve("train").job_id == "j-2"
        tx.jobs.put(job("j-3"))
        with pytest.raises(InvalidInput, match="j-2, j-3"):
            tx.jobs.resolve("train")
        with pytest.raises(NotFound, match="nothing"):
            tx.jobs.resolve("nothing")


def test_orders_come_out_in_the_order_of_writing_until_they_are_closed(database: Database) -> None:
    def order(command_id: str) -> Command:
        return Command(
            command_id=command_id, node_id="a", job_id="j-1", epoch=1, order=order_model.Quiesce(), created_utc=NOW
        )

    with database.transaction() as tx:
        for command_id in ("c-9", "c-1", "c-5"):
            tx.commands.add(order(command_id))
        tx.commands.cancel("c-1")
        assert [one.command_id for one in tx.commands.open_for("a")] == ["c-9", "c-5"]
        result = CommandResult(command_id="c-9")
        tx.commands.close(model.replace(order("c-9"), state=order_model.CommandState.DONE, result=result))
        tx.commands.cancel("c-9")  # done stays done
        found = tx.commands.find("c-9")
        assert found is not None
        assert (found.state, found.result) == (order_model.CommandState.DONE, result)
        assert [one.command_id for one in tx.commands.open_for("a")] == ["c-5"]


def test_copies_are_newest_first_and_replaced_per_node(database: Database) -> None:
    with database.transaction() as tx:
        tx.jobs.set_copies("j-1", "a", [checkpoint(1, 9), checkpoint(2, 1)])
        tx.jobs.add_copy(Copy(job_id="j-1", node_id="b", checkpoint=checkpoint(2, 1)))
        keys = [(copy.checkpoint.key, copy.node_id) for copy in tx.jobs.copies("j-1")]
        assert keys == [((2, 1), "a"), ((2, 1), "b"), ((1, 9), "a")]
        tx.jobs.set_copies("j-1", "a", [checkpoint(2, 2)])
        assert [copy.checkpoint.key for copy in tx.jobs.copies("j-1")] == [(2, 2), (2, 1)]


def test_runs_nodes_samples_and_requests(database: Database) -> None:
    with database.transaction() as tx:
        tx.jobs.put_run(Run(job_id="j-1", epoch=2, node_id="b", site="east", started_utc=NOW))
        tx.jobs.put_run(Run(job_id="j-1", epoch=1, node_id="a", site="west", started_utc=NOW))
        assert [run.epoch for run in tx.jobs.runs("j-1")] == [1, 2]
        tx.nodes.put(Node(node_id="a", site="west"))
        with pytest.raises(NotFound, match="'z'"):
            tx.nodes.get("z")
        for rate in range(25):
            tx.nodes.add_sample(_sample(float(rate)))
        assert tx.nodes.samples("west", "east", limit=3) == [24.0, 23.0, 22.0]
        assert tx.nodes.samples("east", "west") == []
        tx.requests.add("operator", "r-1", "j-1", NOW)
        assert tx.requests.find("operator", "r-1") == "j-1"
        assert tx.requests.find("somebody else", "r-1") is None
        assert tx.requests.find("operator", "") is None


def _sample(rate: float) -> LinkSample:
    return LinkSample(source_site="west", destination_site="east", utc=NOW, bandwidth_bytes_per_s=rate, wire_bytes=1)


def test_a_newer_schema_and_a_damaged_file_are_refused(tmp_path: Path) -> None:
    Database.in_folder(tmp_path).close()
    with sqlite3.connect(tmp_path / "coordinator.sqlite") as connection:
        connection.execute("UPDATE about SET value = '99' WHERE key = 'schema'")
    with pytest.raises(Incompatible, match="version 99"):
        Database.in_folder(tmp_path)
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "coordinator.sqlite").write_bytes(b"not a database" * 100)
    with pytest.raises(Corrupt, match="restore it from a backup"):
        Database.in_folder(tmp_path / "damaged")
