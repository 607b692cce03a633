"""One demonstration from the first folder to the recording: prepare, run, collect. It prints nothing itself."""

from __future__ import annotations

import contextlib
import os
import platform
import shutil
import tempfile
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

import msgspec

from heliotrope.coordinator.forecasts.clock import TraceClock
from heliotrope.foundation.errors import DeadlineExceeded, Incompatible, OutOfSpace, Unreachable

from .. import outputs, submission
from ..client import Operator
from ..connection import Target
from . import scenario as scenarios
from . import traces
from .fleet import LocalFleet
from .recording import (
    DecisionSeen,
    FleetSeen,
    JobSeen,
    MigrationSeen,
    Recording,
    ReferenceSeen,
    ReportRow,
)
from .scenario import Scenario
from .striking import Striker, Who
from .training import ALPHA_RATIO, RESULT, Length, Reference, Training, TrainingResult, read_result
from .watching import Watcher

ENDED = ("FINISHED", "FAILED")
# State on disk at once: two checkpoints kept, one being written, at each of three nodes, and copies on their way.
DISK_PER_STATE_RATIO = 14.0
NEEDED_PACKAGES = ("numpy", "sqlalchemy", "grpc_health", "grpc_reflection")
# The job's time may triple on a machine that is busy; a run that hangs must end all the same.
PATIENCE_RATIO, PATIENCE_S = 4.0, 150.0
# From the coordinator's start, with which the traces begin, until the job runs.
FLEET_START_S = 6.0
RETENTION_S = 4.0
FETCH_PATIENCE_S = 30.0
BATCHES_PATIENCE_S = 6.0


@dataclass(frozen=True)
class Options:
    """What the person asked for. ``target_s``: how long the training shall take; ``day_s``: a day of the traces."""

    traces: Path | None = None
    zones: tuple[str, ...] = ()
    kill: Who | None = None
    state_mb: float = 100.0
    target_s: float = 75.0
    day_s: float = 70.0
    keep: bool = False


class View(Protocol):
    """Where the demonstration is shown."""

    def say(self, text: str) -> None:
        """A milestone."""

    def begin(self, scenario: Scenario, steps: int, submitted_utc: datetime) -> None:
        """The job is submitted."""

    def picture(
        self, fleet: FleetSeen, job: JobSeen | None, decisions: list[DecisionSeen], reference_steps: int
    ) -> None:
        """The fleet as it is, a few times a second."""


def perform(options: Options, view: View) -> Recording:
    """Run it. Whatever happens, no process of it is left behind.

    Raises InvalidInput, Incompatible, OutOfSpace, JobFailed, DeadlineExceeded or what the fleet raises.
    """
    _check_packages()
    began_s = time.monotonic()
    with _folder(options, view) as folder:
        scenario = _scenario(options, folder)
        view.say(f"{scenario.title}: {', '.join(scenario.names)}; a day takes {options.day_s:g} s")
        training = Training.collect(folder / "job", options.state_mb)
        view.say(f"measuring how long a training step with {options.state_mb:g} MB of state takes here")
        length = training.length_for(options.target_s, _checkpoint_interval_s(options))
        with LocalFleet(
            folder / "fleet",
            sites=scenario.sites,
            nodes=scenario.nodes,
            coordinator=_coordinator(scenario, options),
            agent=scenarios.agent_fields(),
        ) as fleet:
            view.say("starting a coordinator and three agents: keys, certificates, mutual TLS")
            fleet.prepare()
            fleet.start_all()
            with Reference(training, length) as reference:
                return _Performance(options, view, scenario, training, length, fleet, reference, began_s).run()


def _check_packages() -> None:
    for name in NEEDED_PACKAGES:
        if find_spec(name) is None:
            raise Incompatible(
                f"cannot run the demonstration: the Python package {name} is missing; "
                "run: pip install 'heliotrope[coordinator]'"
            )


@contextlib.contextmanager
def _folder(options: Options, view: View) -> Iterator[Path]:
    """A folder with a short path: unix sockets live below it."""
    folder = Path(tempfile.mkdtemp(prefix="heliotrope-demo-"))
    try:
        needed_bytes = int(options.state_mb * 1e6 * DISK_PER_STATE_RATIO) + 200_000_000
        free_bytes = shutil.disk_usage(folder).free
        if free_bytes < needed_bytes:
            raise OutOfSpace(
                f"cannot run the demonstration in {folder.parent}: {free_bytes / 1e9:.1f} GB free of the "
                f"{needed_bytes / 1e9:.1f} GB it needs; set TMPDIR, or choose a smaller --state-mb"
            )
        yield folder
    finally:
        if options.keep:
            view.say(f"kept: {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)


def _scenario(options: Options, folder: Path) -> Scenario:
    if options.traces is None:
        return scenarios.of_the_sun(options.day_s)
    checkpoint_s, dwell_s = _checkpoint_interval_s(options), _dwell_s(options)
    pace = traces.Pace(
        hour_s=options.day_s / 24,
        run_s=FLEET_START_S + options.target_s,
        placed_s=FLEET_START_S,
        ready_s=FLEET_START_S + checkpoint_s + 2.0,
        dwell_s=dwell_s,
    )
    return traces.from_file(options.traces, options.zones, pace, folder / "fleet")


def _checkpoint_interval_s(options: Options) -> float:
    """Several checkpoints in the first window: without one there is nothing to move."""
    return max(2.0, options.day_s / 14)


def _dwell_s(options: Options) -> float:
    return float(round(options.day_s / 14))


def _coordinator(scenario: Scenario, options: Options) -> dict[str, object]:
    """Short times throughout: what takes minutes in a real fleet's file takes seconds where a day takes a minute."""
    saga = {f"{step}_timeout_s": 40.0 for step in ("prepare", "staging", "sending", "starting", "abort")}
    return {
        **scenario.coordinator(),
        "planner": {"interval_s": 1.0, "dwell_s": _dwell_s(options), "placement_backoff_s": 2.0},
        "saga": {**saga, "retention_s": RETENTION_S, "lease_margin_s": 2.0},
        "ledger": {"interval_s": 1.0},
    }


class _Performance:
    """From the job's submission to the recording."""

    def __init__(
        self,
        options: Options,
        view: View,
        scenario: Scenario,
        training: Training,
        length: Length,
        fleet: LocalFleet,
        reference: Reference,
        began_s: float,
    ) -> None:
        self._options = options
        self._view = view
        self._scenario = scenario
        self._training = training
        self._length = length
        self._steps = length.steps
        self._fleet = fleet
        self._reference = reference
        self._began_s = began_s
        self._operator = Operator(Target(fleet.address, fleet.operator))
        self._deadline_s = time.monotonic() + options.target_s * PATIENCE_RATIO + PATIENCE_S

    def run(self) -> Recording:
        with self._operator:
            self._reference.start()
            submitted_utc = datetime.now(UTC)
            job_id = self._submit()
            self._view.begin(self._scenario, self._steps, submitted_utc)
            striker = Striker(self._fleet, self._options.kill) if self._options.kill else None
            with Watcher(self._fleet, job_id, submitted_utc) as watcher:
                if striker:
                    watcher.on_picture.append(striker.look)
                try:
                    self._watch(watcher, striker)
                finally:
                    if striker:
                        striker.close()
            return self._record(job_id, submitted_utc, watcher, striker)

    def _submit(self) -> str:
        spec = self._training.spec(self._length)
        collected = submission.collect(self._training.folder, spec.files)
        with submission.pack(collected) as archive:
            job = self._operator.submit(
                spec,
                digest=archive.digest,
                size_bytes=archive.size_bytes,
                pieces=archive.pieces(),
                request_id=uuid.uuid4().hex,
            )
        return str(job["job_id"])

    def _watch(self, watcher: Watcher, striker: Striker | None) -> None:
        while (job := watcher.job) is None or job.state not in ENDED:
            error = watcher.error or (striker.error if striker else None)
            if error is not None:
                raise error
            if time.monotonic() > self._deadline_s:
                where = f"{job.state} at {job.site or 'no site'}, step {job.progress.step}" if job else "unknown"
                raise DeadlineExceeded(
                    f"cannot wait longer for the training to end: it is {where} of {self._steps} "
                    f"({job.message if job else 'no answer'}); run again with --keep and look at the logs"
                )
            self._show(watcher)
            time.sleep(0.1)
        self._show(watcher)

    def _show(self, watcher: Watcher) -> None:
        if watcher.latest is not None:
            self._view.picture(watcher.latest, watcher.job, watcher.decisions, self._reference.steps_done)

    def _record(self, job_id: str, submitted_utc: datetime, watcher: Watcher, striker: Striker | None) -> Recording:
        job = msgspec.convert(self._operator.job(job_id), JobSeen)
        ended_utc = job.runs[-1].ended_utc if job.runs else None
        ended_utc = ended_utc or datetime.now(UTC)
        result = self._fetch(job_id) if job.state == "FINISHED" else None
        self._view.say("waiting for the uninterrupted run to end")
        reference = self._reference_result()
        report = self._report(job_id, submitted_utc, ended_utc)
        picture = watcher.latest
        assert picture is not None
        clock = TraceClock(picture.trace_utc, picture.utc, picture.trace_scale)
        duration_s = (ended_utc - submitted_utc).total_seconds()
        return Recording(
            title=self._scenario.title,
            source=self._scenario.source,
            weighting=self._scenario.weighting,
            machine=machine(),
            sites=self._scenario.names,
            submitted_utc=submitted_utc,
            trace_start_utc=clock.trace(submitted_utc),
            trace_scale=picture.trace_scale,
            duration_s=duration_s,
            total_s=time.monotonic() - self._began_s,
            steps=self._steps,
            alpha_ratio=ALPHA_RATIO,
            power_model=scenarios.power_sentence(),
            windows=self._scenario.windows(clock, submitted_utc, ended_utc),
            samples=[sample for sample in watcher.samples if sample.at_s <= duration_s],
            job=job,
            migrations=msgspec.convert(self._operator.migrations(job=job_id)[::-1], list[MigrationSeen]),
            decisions=msgspec.convert(self._operator.decisions(job=job_id)[::-1], list[DecisionSeen]),
            report=report,
            strike=striker.seen if striker else None,
            reference=reference,
            parameters_digest=result.parameters_digest if result else "",
            final_loss=result.final_loss if result else None,
        )

    def _fetch(self, job_id: str) -> TrainingResult:
        """result.json through FetchOutputs, straight from the node where the job ended."""
        folder = self._training.folder.parent / "fetched"
        deadline_s = time.monotonic() + FETCH_PATIENCE_S
        while True:
            try:
                outputs.unpack(self._operator.outputs(job_id, [RESULT]), folder, force=True)
                return read_result(folder / RESULT)
            except Unreachable:
                if time.monotonic() > deadline_s:
                    raise
                time.sleep(0.3)

    def _reference_result(self) -> ReferenceSeen | None:
        while (found := self._reference.wait(0.3)) is None and time.monotonic() < self._deadline_s:
            pass
        return found

    def _report(self, job_id: str, since: datetime, until: datetime) -> list[ReportRow]:
        """The books of the run, once the last batches have come in."""
        deadline_s = time.monotonic() + BATCHES_PATIENCE_S
        last_j = -1.0
        while True:
            found = self._operator.report(since=since, until=until)["rows"]
            rows = [row for row in msgspec.convert(found, list[ReportRow]) if row.kind != "node"]
            energy_j = sum(row.energy_j for row in rows if row.kind == "site")
            if (energy_j == last_j and energy_j > 0) or time.monotonic() > deadline_s:
                return [row for row in rows if row.kind != "job" or row.name == job_id]
            last_j = energy_j
            time.sleep(1.5)


def machine() -> dict[str, str]:
    """What it ran on, for whoever reads the report."""
    model = platform.processor() or platform.machine()
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    return {
        "processor": model,
        "cores": str(len(os.sched_getaffinity(0))),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }
