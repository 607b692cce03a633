"""Making a node able to run a job, before anything stops elsewhere."""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import shutil
from collections.abc import AsyncIterator, Callable, Collection
from pathlib import Path

from heliotrope.foundation import jobspec
from heliotrope.foundation.clock import Clock, SystemClock
from heliotrope.foundation.errors import Conflict, DeadlineExceeded, JobFailed, NotFound, OutOfSpace
from heliotrope.foundation.jobspec import JobSpec, Requirement
from heliotrope.foundation.model import Inventory

from .. import bundle as bundles
from .. import requirements
from ..accounts import Accounts
from ..config import AgentConfig
from ..held import HeldJob, HeldJobs
from ..inventory import free_bytes
from ..jobs import runfolder
from ..jobs.launcher import Launcher
from ..jobs.request import RunRequest
from ..jobs.run_records import RunStatus
from ..jobs.runs import Run
from ..orders import Bundle

PREPARE_OUTPUT_BYTES = 2000  # of a failed prepare command, in its error
# A move proves it before anything stops; the start, while the job stands still, need not prove it again.
PROVEN_S = 600.0
# The folders of the runs beside the job's own.
_PREPARE = "prepare"
_REQUIRES = "requires"


class Preparer:
    """Files, environment, devices and disk of one job at this node."""

    def __init__(
        self,
        *,
        held: HeldJobs,
        config: AgentConfig,
        state_dir: Path,
        launcher: Launcher,
        inventory: Callable[[], Inventory],
        fetch_bundle: Callable[[str], AsyncIterator[bytes]],
        running: Callable[[], Collection[str]] = frozenset,
        node_id: str = "",
        clock: Clock | None = None,
    ) -> None:
        self._held = held
        self._config = config
        self._state_dir = state_dir
        self._launcher = launcher
        self._inventory = inventory
        self._fetch_bundle = fetch_bundle
        self._accounts = Accounts(config.jobs, held, running)
        self._node_id = node_id
        self._clock = clock or SystemClock()
        self._proven_s: dict[tuple[str, tuple[Requirement, ...]], float] = {}

    async def ensure(self, job_id: str, spec: JobSpec, bundle: Bundle) -> HeldJob:
        """The job's files are here, unpacked, and its ``prepare`` command succeeded; again does nothing."""
        jobspec.check(spec)  # the coordinator did; whose word is enough to run a job, but not to leave its folder
        user = self._accounts.choose(job_id, spec)  # asked every time: the node's lists may have become shorter
        owner = self._accounts.owner(user)
        held = self._held.find(job_id)
        is_whole = held is not None and held.prepared and held.bundle_digest == bundle.digest
        if held is not None and is_whole and self._belongs_to(job_id, owner):
            self._held.admit(job_id, owner)
            await self.check_requires(job_id, spec)  # what was mounted may be gone
            return held if (held.spec, held.user) == (spec, user) else self._held.update(job_id, spec=spec, user=user)
        if held is None:
            held = self._held.put(HeldJob(job_id=job_id, spec=spec, bundle_digest=bundle.digest, user=user))
        elif held.user != user:
            held = self._held.update(job_id, user=user)
        self._held.admit(job_id, owner)
        archive = self._held.folder(job_id) / "bundle.tar"
        await bundles.fetch(self._fetch_bundle(job_id), bundle.digest, bundle.size_bytes, archive)
        await self._end_aside(job_id, _PREPARE)
        work = self._held.work(job_id)
        if work.exists():
            await asyncio.to_thread(shutil.rmtree, work)
        await asyncio.to_thread(bundles.unpack, archive, work, owner)
        archive.unlink()
        await self.check_requires(job_id, spec)
        if spec.prepare:
            await self._run_prepare(job_id, spec)
        return self._held.update(job_id, prepared=True, bundle_digest=bundle.digest, spec=spec)

    def admit(self, job_id: str, spec: JobSpec) -> None:
        """A place for the job's checkpoints, nothing of it unpacked; again does nothing. Raises as :meth:`ensure`."""
        jobspec.check(spec)
        if self._held.find(job_id) is None:
            user = self._accounts.choose(job_id, spec)
            self._held.put(HeldJob(job_id=job_id, spec=spec, bundle_digest=b"", user=user))
            self._held.admit(job_id, self._accounts.owner(user))

    def owner_of(self, job_id: str) -> tuple[int, int] | None:
        """(uid, gid) that the job's files belong to; None: the agent's own."""
        held = self._held.get(job_id)
        return self._accounts.owner(held.user or self._accounts.choose(job_id, held.spec))

    def check_room(self, disk_bytes: int, memory_bytes: int) -> None:
        """Raises OutOfSpace naming what is missing."""
        reserve_bytes = self._config.store.reserve_bytes
        free = free_bytes(self._state_dir) - reserve_bytes
        if free < disk_bytes:
            raise OutOfSpace(
                f"cannot take the job: it needs {disk_bytes} bytes of disk, {max(free, 0)} are free beyond the reserve "
                f"of {reserve_bytes} at {self._state_dir}; make room or move it elsewhere"
            )
        memory = self._inventory().memory_bytes
        if memory < memory_bytes:
            raise OutOfSpace(f"cannot take the job: it needs {memory_bytes} bytes of memory, this node has {memory}")

    def check_devices(self, spec: JobSpec, fingerprint: str) -> None:
        """Raises Conflict naming what does not suit."""
        inventory = self._inventory()
        wanted = spec.resources
        suitable = [
            gpu
            for gpu in inventory.gpus
            if wanted.gpu_model in ("", gpu.model) and gpu.memory_bytes >= wanted.gpu_memory_bytes
        ]
        if len(suitable) < wanted.gpu_count:
            raise Conflict(
                f"cannot take the job: it needs {wanted.gpu_count} GPUs of {wanted.gpu_model or 'any model'} with "
                f"{wanted.gpu_memory_bytes} bytes, this node has {len(suitable)}"
            )
        if wanted.cpu_count > inventory.cpu_count:
            raise Conflict(
                f"cannot take the job: it needs {wanted.cpu_count} CPUs, this node has {inventory.cpu_count}"
            )
        if fingerprint and fingerprint != inventory.fingerprint:
            raise Conflict(
                f"cannot take the job: policy.same_fingerprint asks for {fingerprint}, this node is "
                f"{inventory.fingerprint}; `heliotrope node show` lists what the two differ in"
            )

    def _belongs_to(self, job_id: str, owner: tuple[int, int] | None) -> bool:
        """Whether the job's files are that account's: the node's default may have become another one."""
        try:
            return self._held.work(job_id).lstat().st_uid == (owner[0] if owner is not None else os.geteuid())
        except FileNotFoundError:
            return False

    async def check_requires(self, job_id: str, spec: JobSpec) -> None:
        """Everything the job requires is here, as its account sees it. Raises Conflict naming each that is not."""
        now_s = self._clock.monotonic_s()
        if not spec.requires or now_s - self._proven_s.get((job_id, spec.requires), -math.inf) < PROVEN_S:
            return
        run = await self._launch_aside(job_id, spec, requirements.command(spec.requires), _REQUIRES)
        try:
            status = await run.wait(requirements.ANSWER_S)
        except DeadlineExceeded as error:
            paths = ", ".join(one.path for one in spec.requires)
            raise Conflict(
                f"requires {paths}: no answer in {requirements.ANSWER_S:.0f} s at node {self._node_id}; "
                "a mount whose server is gone blocks: mount it anew"
            ) from error
        finally:
            await _end_soon(run)
        if status.reason != "finished":
            raise Conflict(f"cannot look for what the job requires: {_how(status)}: {_last_words(run.folder, status)}")
        said = (run.folder / runfolder.STDOUT).read_text(errors="replace")
        if faults := requirements.faults(said, self._node_id):
            raise Conflict("; ".join(faults))
        self._proven_s = {key: then_s for key, then_s in self._proven_s.items() if now_s - then_s < PROVEN_S}
        self._proven_s[job_id, spec.requires] = now_s

    async def _run_prepare(self, job_id: str, spec: JobSpec) -> None:
        """The job's own ``prepare`` command, run as the job will be: account, sandbox, limits, survival of the agent.

        Raises JobFailed with its last words.
        """
        run = await self._launch_aside(job_id, spec, spec.prepare, _PREPARE)
        try:
            status = await run.wait(math.inf)
        except asyncio.CancelledError:
            await run.kill()
            raise
        if status.reason != "finished":
            raise JobFailed(f"the job's prepare command {_how(status)}: {_last_words(run.folder, status)}")

    async def _launch_aside(self, job_id: str, spec: JobSpec, command: tuple[str, ...], name: str) -> Run:
        """A run beside the job's own; what an earlier one of that name left (the agent was restarted) is ended."""
        await self._end_aside(job_id, name)
        return await Run.launch(self._aside_request(job_id, spec, command, name), self._launcher)

    def _aside_request(self, job_id: str, spec: JobSpec, command: tuple[str, ...], name: str) -> RunRequest:
        jobs, work = self._config.jobs, self._held.work(job_id)
        return RunRequest(
            job_id=job_id,
            epoch=0,  # no run of the job yet
            attempt=0,
            command=command,
            environment=spec.environment if name == _PREPARE else {},
            working_dir=str(work),
            checkpoint_dir=str(work / spec.checkpoint.directory),
            run_dir=str(self._held.folder(job_id) / name),
            user=self._held.get(job_id).user,
            allow_same_user=jobs.allow_same_user,
            request_mode="none",
            memory_bytes=spec.resources.memory_bytes,
            cpu_count=spec.resources.cpu_count,
            task_count_limit=jobs.task_count_limit,
        )

    async def _end_aside(self, job_id: str, name: str) -> None:
        """Each try starts anew."""
        folder = self._held.folder(job_id) / name
        with contextlib.suppress(NotFound):
            await Run.open(folder).kill()
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)


async def _end_soon(run: Run) -> None:
    """Kill what still runs, but wait for nothing that the kernel does not let go of."""
    with contextlib.suppress(DeadlineExceeded, NotFound):
        await run.kill()


def _how(status: RunStatus) -> str:
    return f"ended with exit code {status.exit_code}" if status.exit_code is not None else status.verdict.text


def _last_words(folder: Path, status: RunStatus) -> str:
    """Why it could not start; else what it wrote last, errors before output."""
    if status.error:
        return status.error
    logs = [folder / name for name in (runfolder.STDERR, runfolder.STDOUT)]
    texts = [log.read_bytes()[-PREPARE_OUTPUT_BYTES:] for log in logs if log.exists()]
    return next((text.decode(errors="replace").strip() for text in texts if text.strip()), "it wrote nothing")
