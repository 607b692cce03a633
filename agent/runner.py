"""Running jobs: launch, adopt after a restart, watch, stop; what happens is told through ``on_change``.

Nothing about a run lives only here: its supervisor and its folder are the truth (:mod:`.jobs.runs`), and a new agent
process finds them again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path

import msgspec

from heliotrope.foundation.clock import Clock
from heliotrope.foundation.errors import Conflict, HeliotropeError, NotFound
from heliotrope.foundation.model import Checkpoint, Gpu, JobReport, RunState

from . import gpus, reports
from .config import JobsConfig
from .held import HeldJob, HeldJobs
from .jobs import runfolder
from .jobs.launcher import Launcher
from .jobs.request import RunRequest
from .jobs.runs import Run
from .limits import LimitWatch
from .vault import Vault
from .watch import CheckpointWatch

log = logging.getLogger("heliotrope.agent.runner")


class Runner:
    """The runs of this node's jobs, one watcher task each."""

    def __init__(
        self,
        *,
        held: HeldJobs,
        vault: Vault,
        launcher: Launcher,
        config: JobsConfig,
        clock: Clock,
        pythonpath_dir: Path,
        devices: tuple[Gpu, ...],
        on_change: Callable[[JobReport], None],
    ) -> None:
        self._held = held
        self._vault = vault
        self._launcher = launcher
        self._config = config
        self._clock = clock
        self._pythonpath_dir = pythonpath_dir
        self._gpus = devices
        self._on_change = on_change
        self._runs: dict[str, Run] = {}
        self._watchers: dict[str, asyncio.Task[None]] = {}
        self._reports: dict[str, JobReport] = {}
        self._watches: dict[str, tuple[Run, CheckpointWatch]] = {}
        self._limits: dict[str, tuple[Run, LimitWatch]] = {}
        self._spared: dict[str, tuple[tuple[int, int], ...]] = {}
        self._lease_ends_s: dict[str, float] = {}

    async def adopt(self) -> None:
        """After a start of the agent: find every job's latest run again and watch it."""
        for held in self._held.all():
            folder = self._held.run(held.job_id, held.epoch, held.attempt)
            try:
                run = Run.open(folder)
                await run.status()
            except NotFound:
                continue  # prepared or holding a copy only, or stopped between the record and the launch
            except HeliotropeError as error:
                log.error("job %s: its run of epoch %d cannot be adopted: %s", held.job_id, held.epoch, error)
                continue
            self._runs[held.job_id] = run
            try:
                await self._look(run)  # before the hello, which must say how each run stands
            except HeliotropeError as error:
                log.warning("job %s: %s", held.job_id, error)
            except Exception:  # one job's folder must not keep the agent, and with it all other jobs, from starting
                log.exception("job %s: the first look at its run failed", held.job_id)
            self._watch(run)
            log.info("job %s: adopted its run of epoch %d", held.job_id, held.epoch)

    async def close(self) -> None:
        """Stop watching; the runs go on."""
        for task in self._watchers.values():
            task.cancel()
        for job_id in list(self._limits):
            self._end_limit_watch(job_id)
        await asyncio.gather(*self._watchers.values(), return_exceptions=True)

    def run(self, job_id: str) -> Run:
        """The job's latest run. Raises NotFound."""
        if job_id not in self._runs:
            raise NotFound(f"cannot find a run of job {job_id} on this node: it was never started here")
        return self._runs[job_id]

    async def start(
        self, job_id: str, epoch: int, attempt: int, checkpoint: Checkpoint | None, deadline_boottime_s: float | None
    ) -> Run:
        """Launch (epoch, attempt), or return it if it was launched before. Raises Conflict for a fenced epoch."""
        held = self._held.get(job_id)
        if epoch <= held.fenced_epoch:
            raise Conflict(f"cannot start job {job_id} under epoch {epoch}: epoch {held.fenced_epoch} is fenced here")
        if (epoch, attempt) < (held.epoch, held.attempt):
            raise Conflict(f"cannot start job {job_id} under epoch {epoch}: epoch {held.epoch} ran here already")
        await self._end_older(held, epoch, attempt)
        folder = self._held.run(job_id, epoch, attempt)
        # Chosen before the record is written: a repeated start must find the same devices.
        gpu_uuids = gpus.allocate(self._gpus, held, [self._held.get(job) for job, _ in self.leases()])
        held = self._held.update(job_id, epoch=epoch, attempt=attempt, gpu_uuids=gpu_uuids)
        request = self._request(held, checkpoint, deadline_boottime_s, folder)
        run = await Run.launch(request, self._launcher)
        if deadline_boottime_s is not None:
            self._lease_ends_s[job_id] = deadline_boottime_s
        self._spared[job_id] = (checkpoint.key,) if checkpoint else ()
        self._watch(run)
        return run

    async def fence(self, job_id: str, epoch: int, grace_s: float) -> None:
        """Nothing of the job runs here under ``epoch`` or an older one, now or later; true on return."""
        held = self._held.find(job_id)
        if held is None:
            return
        if held.fenced_epoch < epoch:
            held = self._held.update(job_id, fenced_epoch=epoch)
        run = self._runs.get(job_id)
        if run is None:
            # A crash may have come between the launch and the watcher: the folder knows.
            with contextlib.suppress(NotFound):
                run = Run.open(self._held.run(job_id, held.epoch, held.attempt))
        if run is not None and run.request.epoch <= epoch:
            with contextlib.suppress(NotFound):  # its supervisor never started, and a fenced epoch never will be
                await run.stop(grace_s)

    async def renew(self, job_id: str, epoch: int, sent_boottime_s: float) -> None:
        """A lease was granted that was asked for at ``sent_boottime_s``."""
        run = self._runs.get(job_id)
        held = self._held.find(job_id)
        if run is None or held is None or held.lease_s is None or run.request.epoch != epoch:
            return
        with contextlib.suppress(HeliotropeError):
            await run.renew(sent_boottime_s + held.lease_s)
            self._lease_ends_s[job_id] = sent_boottime_s + held.lease_s

    def leases(self) -> list[tuple[str, int]]:
        """(job, epoch) of every run that goes on."""
        return [(job_id, report.epoch) for job_id, report in self._reports.items() if report.state.alive]

    def leases_left_s(self) -> dict[str, float]:
        """Job -> seconds until its lease ends; absent for one without a lease, or adopted and not renewed yet."""
        now_s = self._clock.boottime_s()
        alive = {job_id for job_id, _ in self.leases()}
        return {job_id: end_s - now_s for job_id, end_s in self._lease_ends_s.items() if job_id in alive}

    def pids(self) -> dict[str, tuple[int, ...]]:
        """Job -> roots of its process tree, for the attribution of energy."""
        return {job_id: run.pids for job_id, run in list(self._runs.items()) if run.pids}

    def running_folders(self) -> list[tuple[str, Run]]:
        return list(self._runs.items())

    def reports(self) -> list[JobReport]:
        """Every job that this node holds anything of."""
        return [self.report(held.job_id) for held in self._held.all()]

    def report(self, job_id: str) -> JobReport:
        known = self._reports.get(job_id)
        checkpoints, damaged = self._vault.checkpoints(job_id), self._vault.damaged(job_id)
        if known is None:
            held = self._held.get(job_id)
            return JobReport(
                job_id=job_id,
                epoch=held.epoch,
                attempt=held.attempt,
                state=RunState.UNSPECIFIED,
                checkpoints=checkpoints,
                damaged=damaged,
            )
        return msgspec.structs.replace(known, checkpoints=checkpoints, damaged=damaged)

    def tell(self, job_id: str) -> None:
        """Say anew what is held of the job, also of one that never ran here."""
        if self._held.find(job_id) is not None:
            self._on_change(self.report(job_id))

    async def look(self, job_id: str) -> None:
        """See now what the next look would. Raises NotFound without a run, Conflict as the vault does."""
        await self._look(self.run(job_id))

    async def take_checkpoint(self, job_id: str, name: str, step: int | None) -> Checkpoint:
        """Register the entry ``name`` of the job's checkpoint folder, now. Raises NotFound, Conflict."""
        held = self._held.get(job_id)
        epoch = self.run(job_id).request.epoch
        with self._held.opened_checkpoints(held) as folder:
            if folder is None:
                raise NotFound(f"cannot read checkpoint {name!r} of job {job_id}: the job removed the folder")
            checkpoint = await asyncio.to_thread(self._vault.add, job_id, epoch, folder / name, step)
        self._tell(job_id)
        return checkpoint

    def forget(self, job_id: str) -> None:
        """The job leaves this node."""
        task = self._watchers.pop(job_id, None)
        if task is not None:
            task.cancel()
        self._runs.pop(job_id, None)
        self._reports.pop(job_id, None)
        self._watches.pop(job_id, None)
        self._end_limit_watch(job_id)
        self._spared.pop(job_id, None)
        self._lease_ends_s.pop(job_id, None)

    # -- inside

    def _end_limit_watch(self, job_id: str) -> None:
        _, watch = self._limits.pop(job_id, (None, None))
        if watch is not None:
            watch.close()

    async def _end_older(self, held: HeldJob, epoch: int, attempt: int) -> None:
        """An earlier attempt must be over before the next begins."""
        run = self._runs.get(held.job_id)
        if run is None or (run.request.epoch, run.request.attempt) == (epoch, attempt):
            return
        status = await run.status()
        if not status.over:
            await run.stop(held.spec.policy.grace_s)

    def _request(
        self, held: HeldJob, checkpoint: Checkpoint | None, deadline_boottime_s: float | None, folder: Path
    ) -> RunRequest:
        spec = held.spec
        checkpoint_dir = self._held.checkpoints(held)  # made by the job's own process, under its account
        resume_from = str(self._vault.path(held.job_id, checkpoint)) if checkpoint else ""
        return RunRequest(
            job_id=held.job_id,
            epoch=held.epoch,
            attempt=held.attempt,
            command=spec.command,
            environment=spec.environment,
            working_dir=str(self._held.work(held.job_id)),
            checkpoint_dir=str(checkpoint_dir),
            run_dir=str(folder),
            resume_from=resume_from,
            pythonpath_dir=str(self._pythonpath_dir),
            user=held.user or spec.user or self._config.user,
            allow_same_user=self._config.allow_same_user,
            gpu_uuids=held.gpu_uuids,
            lease_deadline_boottime_s=deadline_boottime_s,
            grace_s=spec.policy.grace_s,
            stopped_codes=spec.stopped_codes,
            keep_count=spec.checkpoint.keep_count,
            request_mode=spec.checkpoint.request,
            signal=spec.checkpoint.signal,
            memory_bytes=spec.resources.memory_bytes,
            cpu_count=spec.resources.cpu_count,
            task_count_limit=self._config.task_count_limit,
        )

    def _watch(self, run: Run) -> None:
        job_id = run.request.job_id
        if job_id in self._watchers and self._runs[job_id].folder == run.folder:
            return
        older = self._watchers.pop(job_id, None)
        if older is not None:
            older.cancel()
        self._runs[job_id] = run
        self._watchers[job_id] = asyncio.create_task(self._keep_looking(run))

    async def _keep_looking(self, run: Run) -> None:
        """A watcher survives what one look can stumble over, and says the same thing once."""
        said = ""
        while True:
            try:
                if await self._look(run):
                    return
                said = ""
            except HeliotropeError as error:
                if str(error) != said:
                    said = str(error)
                    log.warning("job %s: %s", run.request.job_id, error)
            except Exception:
                log.exception("job %s: its watcher stumbled", run.request.job_id)
            await asyncio.sleep(self._config.poll_s)

    async def _look(self, run: Run) -> bool:
        """One look: state, progress, new checkpoints. True when the run is over and booked."""
        job_id = run.request.job_id
        status = await run.status()  # asked first: a checkpoint made before the end is then seen with it
        try:
            await self._look_around(run, is_over=status.over)
        finally:  # how the run stands is told whatever else is wrong: a run without a report counts as lost
            report = reports.report(status, run.progress())
            if report != self._reports.get(job_id):
                self._reports[job_id] = report
                self._tell(job_id)
        return status.over

    async def _look_around(self, run: Run, *, is_over: bool) -> None:
        """New checkpoints, those to forget, the ones to ask for, the limits."""
        job_id = run.request.job_id
        watch = self._watches.get(job_id)
        if watch is None or watch[0] is not run:
            watch = self._watches[job_id] = (run, self._new_watch(run))
        if await watch[1].look():
            keep_count = max(self._held.get(job_id).spec.checkpoint.keep_count, 2)
            self._vault.prune(job_id, keep_count, spare=self._spared.get(job_id, ()))
            self._tell(job_id)
        if not is_over:
            await watch[1].ask_when_due()
            await self._limit_watch(run).look()

    def _limit_watch(self, run: Run) -> LimitWatch:
        job_id = run.request.job_id
        known = self._limits.get(job_id)
        if known is not None and known[0] is run:
            return known[1]
        made = LimitWatch(
            run,
            self._held.work(job_id),
            disk_bytes=self._held.get(job_id).spec.resources.disk_bytes,
            is_confined=self._launcher.confines,
            interval_s=self._config.limits_poll_s,
            clock=self._clock,
        )
        self._limits[job_id] = (run, made)
        return made

    def _new_watch(self, run: Run) -> CheckpointWatch:
        """An epoch begins with its first attempt: what a later attempt finds of an earlier one is the epoch's own."""
        held = self._held.get(run.request.job_id)
        first = self._held.run(held.job_id, run.request.epoch, 0)
        begun = (first if first.exists() else run.folder) / runfolder.RUN
        opened = partial(self._held.opened_checkpoints, held)
        return CheckpointWatch(run, held.spec.checkpoint, opened, begun.stat().st_mtime, self._vault, self._clock)

    def _tell(self, job_id: str) -> None:
        if job_id in self._reports:
            self._on_change(self.report(job_id))
