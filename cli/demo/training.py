"""The job of the demonstration: a real training run, how many steps of it fit, and the same run uninterrupted."""

from __future__ import annotations

import os
import re
import shutil
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path

from heliotrope.examples import collect_corpus
from heliotrope.foundation import records
from heliotrope.foundation.errors import HeliotropeError, JobFailed
from heliotrope.foundation.jobspec import CheckpointRules, JobSpec, Policy, Resources

from .recording import Frozen, ReferenceSeen

SCRIPT, CORPUS, RESULT, LOG = "train_numpy.py", "corpus.txt", "result.json", "output.log"
CALIBRATION_STEPS, CALIBRATION_S = 4, 2.0  # at least so many, and for so long
ENDLESS_STEPS = 10**9
CALIBRATION_TIMEOUT_S = 120.0
LEAST_STEPS = 20
# What a window of hours became half a minute for. A tolerance of 10 % of a real window is an hour, here three seconds.
ALPHA_RATIO = 0.8

_STEP_LINE = re.compile(rb"^step \d+ loss \S+ (\d+\.\d+) s$", re.MULTILINE)


# They choose the code that multiplies matrices, and other code rounds otherwise: the job and the run it is compared
# with get the same ones, whatever else differs.
NUMERIC_PREFIXES = ("OPENBLAS_", "GOTO_", "OMP_", "MKL_", "BLIS_", "NVPL_", "NPY_", "GLIBC_TUNABLES")


class TrainingResult(Frozen):
    """What the script's result.json says, as far as it matters here."""

    parameters_digest: str
    final_loss: float


@dataclass(frozen=True)
class Length:
    """How many steps the training takes, and after how many each it writes a checkpoint."""

    steps: int
    checkpoint_every: int


@dataclass(frozen=True)
class Training:
    """The job's files in ``folder`` and its size."""

    folder: Path
    state_mb: float

    @classmethod
    def collect(cls, folder: Path, state_mb: float) -> Training:
        """Script and corpus, as `heliotrope job submit` would find them. Raises HeliotropeError."""
        folder.mkdir(parents=True)
        with as_file(files("heliotrope.examples").joinpath(SCRIPT)) as script:
            shutil.copyfile(script, folder / SCRIPT)
        try:
            collect_corpus.collect(folder / CORPUS)
        except (OSError, ValueError) as error:
            raise HeliotropeError(
                f"cannot collect the training text: {error}; install Python with its library"
            ) from error
        return cls(folder, state_mb)

    def command(self, length: Length) -> tuple[str, ...]:
        """The job's command; the uninterrupted run's is the very same."""
        options = {
            "--steps": length.steps,
            "--state-mb": f"{self.state_mb:g}",
            "--checkpoint-every": length.checkpoint_every,
            "--result": RESULT,
        }
        return (sys.executable, SCRIPT, *(str(word) for option in options.items() for word in option))

    def spec(self, length: Length) -> JobSpec:
        """The job file. The training script itself sees to one thread for its matrix products."""
        return JobSpec(
            name="train",
            command=self.command(length),
            files=(SCRIPT, CORPUS),
            environment=numeric_environment(),
            outputs=(RESULT,),
            resources=Resources(cpu_count=1, disk_bytes=int(4e6 * self.state_mb) + 50_000_000),
            checkpoint=CheckpointRules(timeout_s=30.0, keep_count=2),
            policy=Policy(alpha=ALPHA_RATIO, grace_s=10.0),
        )

    def length_for(self, target_s: float, checkpoint_interval_s: float) -> Length:
        """The steps that take about ``target_s`` here, measured on two runs side by side, as it will be.

        Raises JobFailed with the script's own words.
        """
        names = ["calibration-0", "calibration-1"]
        runs = [self.start(name, Length(ENDLESS_STEPS, ENDLESS_STEPS)) for name in names]
        try:
            measured = [self._measure(run, name) for run, name in zip(runs, names, strict=True)]
        finally:
            for run in runs:
                _end(run)
        step_s = statistics.fmean(measured)
        return Length(max(LEAST_STEPS, round(target_s / step_s)), max(1, round(checkpoint_interval_s / step_s)))

    def _measure(self, run: subprocess.Popen[bytes], name: str) -> float:
        """Mean seconds per step, over enough of them and enough time; then the run has done its service."""
        log = self.folder.parent / name / LOG
        deadline_s = time.monotonic() + CALIBRATION_TIMEOUT_S
        while time.monotonic() < deadline_s:
            out = log.read_bytes()
            # The first steps touch their memory for the first time.
            durations_s = [float(text) for text in _STEP_LINE.findall(out)][2:]
            if len(durations_s) >= CALIBRATION_STEPS and sum(durations_s) >= CALIBRATION_S:
                return statistics.fmean(durations_s)
            if run.poll() is not None:
                raise JobFailed(f"cannot train here: {_last_line(out)}; try: {sys.executable} -c 'import numpy'")
            time.sleep(0.05)
        cause = f"{CALIBRATION_STEPS} steps took more than {CALIBRATION_TIMEOUT_S:g} s"
        raise JobFailed(f"cannot train here: {cause}; choose a smaller --state-mb")

    def start(self, name: str, length: Length) -> subprocess.Popen[bytes]:
        """The plain process in a folder of its own, without anything of Heliotrope's around it."""
        folder = self.folder.parent / name
        shutil.copytree(self.folder, folder)
        plain = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        with (folder / LOG).open("wb") as log:
            return subprocess.Popen(
                self.command(length),
                cwd=folder,
                env={**plain, **numeric_environment()},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )


class Reference:
    """The uninterrupted run of the same command on the same files; a context manager that ends it."""

    def __init__(self, training: Training, length: Length) -> None:
        self._training = training
        self._length = length
        self._folder = training.folder.parent / "reference"
        self._process: subprocess.Popen[bytes] | None = None
        self._started_s = 0.0
        self._log = self._folder / LOG

    def __enter__(self) -> Reference:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            _end(self._process)

    def start(self) -> None:
        self._started_s = time.monotonic()
        self._process = self._training.start(self._folder.name, self._length)

    @property
    def steps_done(self) -> int:
        return len(_STEP_LINE.findall(self._log.read_bytes())) if self._log.exists() else 0

    def wait(self, timeout_s: float) -> ReferenceSeen | None:
        """Its result, or None while it still runs after ``timeout_s``. Raises JobFailed."""
        assert self._process is not None
        try:
            code = self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return None
        if code != 0:
            raise JobFailed(f"cannot compare: the uninterrupted run failed: {_last_line(self._log.read_bytes())}")
        result_file = self._folder / RESULT
        result = read_result(result_file)
        # The file's own time says when it was done, however late we look.
        started_at_s = time.time() - (time.monotonic() - self._started_s)
        return ReferenceSeen(
            parameters_digest=result.parameters_digest,
            duration_s=result_file.stat().st_mtime - started_at_s,
            final_loss=result.final_loss,
        )


def read_result(path: Path) -> TrainingResult:
    """The script's result. Raises Corrupt naming the file."""
    return records.load(path, TrainingResult)


def numeric_environment() -> dict[str, str]:
    """What of this process's environment decides how numbers are rounded."""
    return {name: value for name, value in os.environ.items() if name.startswith(NUMERIC_PREFIXES)}


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.kill()
    process.wait()


def _last_line(out: bytes) -> str:
    lines = out.decode("utf-8", "replace").strip().splitlines()
    return lines[-1] if lines else "no message"
