"""The monitors that are compared: how each is started on the stub driver, and which processes are its own."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

from heliotrope.cli.demo.fleet import COORDINATOR, LocalFleet, free_port

from . import process_cost
from .process_cost import Processes
from .stub_driver import StubDriver, Unavailable

JOB_COUNT = 4
NODE = "node"
START_S = 90.0
PREPARED_S = (
    35.0  # a job that reports no step counts as started when it is 30 s old; until then it is looked at closely
)
_SITE = {
    "name": "here",
    "latitude": 37.0,
    "longitude": 10.0,
    "grid_intensity_g_per_kwh": 300.0,
    "grid_renewable_ratio": 0.4,
    "window": {"rule": "intensity_below", "threshold": 500.0},
}

# What their documentation shows for watching in the background; the argument is the seconds between two readings.
_PEERS = {
    "zeus": """
import sys, time
from zeus.monitor import PowerMonitor, ZeusMonitor
energy = ZeusMonitor()
energy.begin_window("run", sync_execution=False)
power = PowerMonitor(update_period=float(sys.argv[1]), power_domains=["device_instant"])
print("ready", flush=True)
time.sleep(86400)
""",
    "codecarbon": """
import sys, time
from codecarbon import OfflineEmissionsTracker
tracker = OfflineEmissionsTracker(country_iso_code="USA", measure_power_secs=float(sys.argv[1]), save_to_file=False,
                                  log_level="error", allow_multiple_runs=True)
tracker.start()
print("ready", flush=True)
time.sleep(86400)
""",
    "nvitop-exporter": """
import sys
from nvitop_exporter.cli import main
sys.argv = ["nvitop-exporter", "--port", sys.argv[2], "--interval", sys.argv[1]]
print("ready", flush=True)
sys.exit(main())
""",
}
PEERS = tuple(_PEERS)


@contextlib.contextmanager
def agent(folder: Path, driver: StubDriver, *, job_count: int) -> Iterator[Processes]:
    """A whole agent with a session to a real coordinator, and jobs on its GPUs; the jobs themselves are not counted."""
    with _environment(driver), _fleet(folder) as fleet:
        fleet.prepare()
        fleet.start_all()
        process = fleet.members[NODE].process
        assert process is not None
        jobs = [_job(fleet, number) for number in range(job_count)]
        running = _await_jobs(fleet, len(jobs))
        driver.busy(running)
        time.sleep(PREPARED_S if running else 0.0)
        yield lambda: [*process_cost.tree(process.pid), *_supervisors(fleet, running)]


def _fleet(folder: Path) -> LocalFleet:
    """Configured as by default, where the demonstration hurries; the processors do not bound the number of jobs."""
    return LocalFleet(
        folder,
        sites=[_SITE],
        nodes={NODE: "here"},
        coordinator={"heartbeat_interval_s": 10.0, "planner": {"placement_backoff_s": 1.0}},
        agent={
            "power": {"model": {"idle_w": 200.0, "max_w": 800.0}},
            "jobs": {"poll_s": 0.5, "slot_count": 4},
            "reconnect_s": 1.0,
        },
    )


def _job(fleet: LocalFleet, number: int) -> str:
    path = fleet.folder / f"job-{number}.json"
    resources = {"gpu_count": 2, "cpu_count": 0}
    path.write_text(json.dumps({"name": f"job-{number}", "command": ["sleep", "86400"], "resources": resources}))
    options = ("--coordinator", fleet.address, "--identity", str(fleet.folder / "identities" / "operator"))
    command = [sys.executable, "-m", "heliotrope.cli", "job", "submit", str(path), *options]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return path.stem


def _await_jobs(fleet: LocalFleet, count: int) -> list[int]:
    """The pids of the jobs, once all run. Raises Unavailable when they do not."""
    deadline_s = time.monotonic() + START_S
    while time.monotonic() < deadline_s:
        found = [status["job_pid"] for status in _statuses(fleet) if status["state"] == "running"]
        if len(found) == count:
            return found
        time.sleep(0.2)
    raise Unavailable(f"{count} jobs did not start: {fleet.tail(COORDINATOR)} {fleet.tail(NODE)}")


def _statuses(fleet: LocalFleet) -> list[dict[str, Any]]:
    return [json.loads(path.read_bytes()) for path in (fleet.folder / NODE).glob("jobs/*/runs/*/status.json")]


def _supervisors(fleet: LocalFleet, jobs: list[int]) -> list[psutil.Process]:
    """They are the agent's, though no children of it: jobs outlive it."""
    pids = [status["supervisor_pid"] for status in _statuses(fleet)] if jobs else []
    return [process for pid in pids for process in process_cost.tree(pid)[:1]]


@contextlib.contextmanager
def peer(name: str, python: Path, driver: StubDriver, *, period_s: float) -> Iterator[Processes]:
    """A peer's own monitor, reading every ``period_s``. Raises Unavailable when it does not run."""
    command = [str(python), "-c", _PEERS[name], str(period_s), str(free_port())]
    with tempfile.TemporaryFile() as errors, tempfile.TemporaryDirectory() as folder:
        process = subprocess.Popen(
            command, env=driver.environment, stdout=subprocess.PIPE, stderr=errors, start_new_session=True, cwd=folder
        )
        try:
            assert process.stdout is not None
            if b"ready\n" not in iter(process.stdout.readline, b""):
                errors.seek(0)
                last = errors.read().decode(errors="replace").strip().splitlines()[-1:]
                raise Unavailable(f"{name} does not start: {' '.join(last)}")
            yield lambda: process_cost.tree(process.pid)
        finally:
            for one in reversed(process_cost.tree(process.pid)):
                with contextlib.suppress(psutil.NoSuchProcess):
                    one.kill()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()


@contextlib.contextmanager
def _environment(driver: StubDriver) -> Iterator[None]:
    """The fleet's processes inherit this one's environment."""
    before = {name: os.environ.get(name) for name in driver.environment}
    os.environ.update(driver.environment)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
