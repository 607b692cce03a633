"""Jobs, their runs (one per epoch) and the verified copies of their checkpoints."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import Connection, delete, func, select

from heliotrope.foundation.errors import InvalidInput, NotFound
from heliotrope.foundation.model import Checkpoint

from . import schema
from .model import Copy, Job, Run
from .rows import decode, encode, moment, upsert


class Jobs:
    """The jobs' repository."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def put(self, job: Job) -> None:
        upsert(
            self._connection,
            schema.jobs,
            {
                "job_id": job.job_id,
                "name": job.spec.name,
                "ended": job.state.ended,
                "node_id": job.node_id,
                "submitted_utc": moment(job.submitted_utc),
                "record": encode(job),
            },
        )

    def find(self, job_id: str) -> Job | None:
        found = self._connection.execute(select(schema.jobs.c.record).where(schema.jobs.c.job_id == job_id)).scalar()
        return None if found is None else decode(found, Job)

    def get(self, job_id: str) -> Job:
        job = self.find(job_id)
        if job is None:
            raise NotFound(f"cannot find job {job_id}: no job has this id; `heliotrope job list` shows them")
        return job

    def resolve(self, name_or_id: str) -> Job:
        """By id, or by a name that only one job (or only one that has not ended) has."""
        exact = self.find(name_or_id)
        if exact is not None:
            return exact
        rows = self._connection.execute(select(schema.jobs.c.record).where(schema.jobs.c.name == name_or_id)).scalars()
        found = [decode(row, Job) for row in rows]
        if len(found) > 1:
            found = [job for job in found if not job.state.ended] or found
        if len(found) > 1:
            ids = ", ".join(sorted(job.job_id for job in found))
            raise InvalidInput(f"field job: the name {name_or_id!r} is not unique; use one of the ids {ids}")
        if not found:
            raise NotFound(f"cannot find job {name_or_id!r}: no such id or name; `heliotrope job list` shows them")
        return found[0]

    def all(self, *, ended: bool | None = None) -> list[Job]:
        """In order of submission; ``ended`` None means all."""
        query = select(schema.jobs.c.record).order_by(schema.jobs.c.submitted_utc)
        if ended is not None:
            query = query.where(schema.jobs.c.ended.is_(ended))
        return [decode(row, Job) for row in self._connection.execute(query).scalars()]

    def ended_count(self) -> int:
        """Without reading them."""
        query = select(func.count()).select_from(schema.jobs).where(schema.jobs.c.ended.is_(True))
        return self._connection.execute(query).scalar_one()

    def on_node(self, node_id: str) -> list[Job]:
        """Jobs that have not ended and whose lease the node holds."""
        query = select(schema.jobs.c.record).where(schema.jobs.c.node_id == node_id, schema.jobs.c.ended.is_(False))
        return [decode(row, Job) for row in self._connection.execute(query).scalars()]

    def put_run(self, run: Run) -> None:
        upsert(self._connection, schema.runs, {"job_id": run.job_id, "epoch": run.epoch, "record": encode(run)})

    def runs(self, job_id: str) -> list[Run]:
        query = select(schema.runs.c.record).where(schema.runs.c.job_id == job_id).order_by(schema.runs.c.epoch)
        return [decode(row, Run) for row in self._connection.execute(query).scalars()]

    def run(self, job_id: str, epoch: int) -> Run | None:
        query = select(schema.runs.c.record).where(schema.runs.c.job_id == job_id, schema.runs.c.epoch == epoch)
        found = self._connection.execute(query).scalar()
        return None if found is None else decode(found, Run)

    def add_copy(self, copy: Copy) -> None:
        checkpoint = copy.checkpoint
        key = {"job_id": copy.job_id, "node_id": copy.node_id}
        upsert(
            self._connection,
            schema.copies,
            {**key, "epoch": checkpoint.epoch, "sequence": checkpoint.sequence, "record": encode(copy)},
        )

    def set_copies(self, job_id: str, node_id: str, checkpoints: Iterable[Checkpoint]) -> None:
        """What a node holds of a job, as it says itself: replaces what was known."""
        self.drop_copies(job_id, node_id)
        for checkpoint in checkpoints:
            self.add_copy(Copy(job_id=job_id, node_id=node_id, checkpoint=checkpoint))

    def drop_copies(self, job_id: str, node_id: str) -> None:
        table = schema.copies
        self._connection.execute(delete(table).where(table.c.job_id == job_id, table.c.node_id == node_id))

    def copies(self, job_id: str) -> list[Copy]:
        """Newest first; equal checkpoints at several nodes in node order."""
        table = schema.copies
        query = select(table.c.record).where(table.c.job_id == job_id)
        query = query.order_by(table.c.epoch.desc(), table.c.sequence.desc(), table.c.node_id)
        return [decode(row, Copy) for row in self._connection.execute(query).scalars()]
