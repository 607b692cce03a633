"""The daemons as services of a real systemd: ready, watched, restarted and upgraded under a running job."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import TINY, TINY_JOB, Services
from .nested import Machine, until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

AGENT = "heliotrope-agent.service"


def reference(tmp_path: Path, *arguments: str) -> str:
    """The digest of the same job, run here to its end without anyone looking after it."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HELIOTROPE_")}
    command = [sys.executable, str(TINY_JOB), "--state-kb", "32", *arguments]
    subprocess.run(command, cwd=tmp_path, check=True, env=environment)
    return str(json.loads((tmp_path / "result.json").read_text())["parameters_digest"])


def digest(services: Services, job_id: str) -> str:
    return str(json.loads(services.work(job_id, "result.json").read_text())["parameters_digest"])


@pytest.mark.parametrize("part", ["coordinator", "agent"])
def test_ready_is_what_the_daemon_said(services: Services, part: str) -> None:
    unit = f"heliotrope-{part}.service"
    assert services.machine.show(unit, "ActiveState") == "active"
    assert (
        services.machine.show(unit, "StatusText")
        == {
            "coordinator": "serving on 0.0.0.0:7440",
            "agent": "transfers on port 7443",
        }[part]
    )


def test_the_daemons_run_confined(services: Services) -> None:
    machine = services.machine
    agent = machine.path(f"/proc/{machine.show(AGENT, 'MainPID')}/status").read_text()
    coordinator = machine.path(f"/proc/{machine.show('heliotrope-coordinator', 'MainPID')}/status").read_text()
    assert "\nCapEff:\t0000000000000000\n" in coordinator and "\nSeccomp:\t2\n" in coordinator
    # CAP_CHOWN 0, CAP_DAC_OVERRIDE 1, CAP_FOWNER 3, CAP_KILL 5, CAP_SYS_PTRACE 19
    assert f"\nCapEff:\t{1 << 0 | 1 << 1 | 1 << 3 | 1 << 5 | 1 << 19:016x}\n" in agent and "\nSeccomp:\t2\n" in agent


def test_a_hanging_agent_is_killed_and_started_again(services: Services) -> None:
    """SIGSTOP: the main loop feeds the watchdog no more. The job that runs meanwhile notices nothing."""
    machine = services.machine
    job_id = services.submit("watched", [*TINY, "--steps", "100000", "--step-s", "0.02"])
    unit = services.unit(job_id)
    services.past(job_id, 5)
    before, job = machine.show(AGENT, "MainPID"), services.status(job_id)
    drop_in = machine.path("/etc/systemd/system/heliotrope-agent.service.d/short.conf")
    drop_in.parent.mkdir()
    drop_in.write_text("[Service]\nWatchdogSec=2\n")
    try:
        machine.run("systemctl", "daemon-reload")
        machine.run("systemctl", "restart", AGENT)
        hanging = machine.show(AGENT, "MainPID")
        assert hanging != before
        machine.run("kill", "-STOP", hanging)
        until(lambda: machine.show(AGENT, "MainPID") not in (hanging, "0") or None, "a new agent after the watchdog")
        assert "watchdog timeout" in machine.journal(AGENT).lower()
        assert machine.show(AGENT, "NRestarts") == "1"
    finally:
        drop_in.unlink()
        drop_in.parent.rmdir()
        machine.run("systemctl", "daemon-reload")
        machine.run("systemctl", "restart", AGENT)
    assert machine.show(unit, "ActiveState") == "active"
    assert services.status(job_id)["job_pid"] == job["job_pid"]
    services.past(job_id, services.step(job_id))
    until(services.connected, "the new agent's session")
    services.ask("job", "cancel", job_id)
    until(lambda: machine.show(unit, "ActiveState") == "inactive" or None, "the end of the cancelled job")


def test_the_agent_is_upgraded_under_a_running_job(services: Services, tmp_path: Path) -> None:
    """Every file of the program is replaced; the job keeps its process, and its end is the uninterrupted run's."""
    machine = services.machine
    shell = 'echo "begun by $(id -un)"; exec "$@"'
    steps = ("--steps", "600")
    job_id = services.submit("upgraded", ["sh", "-c", shell, "sh", *TINY, *steps, "--step-s", "0.03"])
    unit = services.unit(job_id)
    at = services.past(job_id, 5)
    before, job = machine.show(unit, "MainPID"), services.status(job_id)

    machine.run("systemctl", "stop", AGENT)
    assert machine.show(AGENT, "ActiveState") == "inactive"
    at = services.past(job_id, at)  # it goes on without its agent
    machine.upgrade("99.1")
    machine.run("heliotrope", "install", "--agent")
    machine.run("systemctl", "start", AGENT)
    node = until(services.connected, "the upgraded agent's session")

    assert services.ask("node", "show", node["node_id"])["software"] == "99.1"
    services.past(job_id, at)
    assert (machine.show(unit, "MainPID"), services.status(job_id)["job_pid"]) == (before, job["job_pid"])
    ended = services.ended(job_id)
    assert ended["state"] == "FINISHED", services.story()
    assert (services.status(job_id)["attempt"], services.status(job_id)["exit_code"]) == (0, 0)
    assert digest(services, job_id) == reference(tmp_path, *steps)
    assert services.logs(job_id) == "begun by heliotrope-job\n"


def test_an_end_without_the_agent_is_found_by_the_next(services: Services) -> None:
    machine = services.machine
    script = "echo said before the end; until [ -e go ]; do sleep 0.1; done; exit 3"
    job_id = services.submit("alone", ["sh", "-c", script], policy={"restart_limit": 0})
    unit = services.unit(job_id)
    machine.run("systemctl", "stop", AGENT)
    services.work(job_id, "go").touch()
    until(lambda: machine.show(unit, "ActiveState") == "inactive" or None, "the job's end")
    record = services.status(job_id)
    assert (record["state"], record["exit_code"]) == ("ended", 3)
    machine.run("systemctl", "start", AGENT)
    until(services.connected, "the agent's session")
    ended = services.ended(job_id)
    assert ended["state"] == "FAILED" and "exit code 3" in ended["message"], ended
    assert services.logs(job_id) == "said before the end\n"


def test_stopping_a_jobs_service_gives_it_its_grace(services: Services) -> None:
    """Only the job's own process is told, once, and has the time to answer: here a checkpoint's worth of a second."""
    machine = services.machine
    script = "trap 'sleep 1; echo saved; exit 75' TERM; touch ready; sleep 1000 & while :; do wait $!; done"
    job_id = services.submit("told", ["sh", "-c", script], policy={"restart_limit": 0})
    unit = services.unit(job_id)
    until(lambda: services.work(job_id, "ready").exists() or None, "the job's trap")
    machine.run("systemctl", "stop", unit)
    record = services.status(job_id)
    assert (record["state"], record["reason"], record["cause"]) == ("ended", "stopped", "shutdown"), record
    (log,) = machine.path(f"/var/lib/heliotrope-agent/jobs/{job_id}/runs").glob("*-0/stdout.log")
    assert log.read_text() == "saved\n"
    services.ask("job", "cancel", job_id)


def test_a_killed_supervisor_leaves_nothing(services: Services, machine: Machine) -> None:
    """Whatever is killed, systemd ends the rest of the unit: nothing of a job outlives its service."""
    script = "setsid sleep 1000 & exec sleep 1000"
    job_id = services.submit("orphaned", ["sh", "-c", script], policy={"restart_limit": 0})
    unit = services.unit(job_id)
    # Read from inside: outside the same processes have other numbers.
    pids = machine.run("cat", f"/sys/fs/cgroup{machine.show(unit, 'ControlGroup')}/cgroup.procs").stdout.split()
    guard = machine.show(unit, "MainPID")
    assert guard in pids and len(pids) >= 3  # the guard, the supervisor, the job
    machine.run("kill", "-KILL", guard)
    until(lambda: machine.show(unit, "ActiveState") != "active" or None, "the end of the service")
    until(lambda: None if any(machine.path(f"/proc/{pid}").exists() for pid in pids) else True, "the end of all")
    assert services.ended(job_id)["state"] in ("FAILED", "LOST")
