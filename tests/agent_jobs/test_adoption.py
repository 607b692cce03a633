"""The agent and the supervisor die in turn: the job runs on and is adopted, or is surely gone."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from heliotrope.agent.jobs import processes, runfolder
from heliotrope.agent.jobs.runs import Run
from heliotrope.foundation.clock import SystemClock
from heliotrope.foundation.errors import NotFound

BOOTTIME_S = SystemClock().boottime_s

# an agent that launches what it is told and then only lives on, until it is killed
AGENT = """
import asyncio, sys, pathlib, msgspec
from heliotrope.agent.jobs.launcher import DetachedLauncher
from heliotrope.agent.jobs.request import RunRequest
from heliotrope.agent.jobs.runs import Run

async def main():
    await Run.launch(msgspec.json.decode(sys.argv[1].encode(), type=RunRequest), DetachedLauncher())
    print("launched", flush=True)
    await asyncio.sleep(1000)

asyncio.run(main())
"""

WRITES = """
    import heliotrope.job as heliotrope_job, time
    job = heliotrope_job.connect()
    step = 0
    while True:
        step += 1
        time.sleep(0.01)
        print("step", step, flush=True)
        job.report(step=step)
        if job.checkpoint_due():
            with job.checkpoint(step) as folder:
                (folder / "x").write_text("x")
"""


def launch_and_die(request: Any) -> None:
    """Launch through a process of its own, SIGKILL to its whole process group once the job runs."""
    text = msgspec.json.encode(request).decode()
    with subprocess.Popen(
        [sys.executable, "-c", AGENT, text], stdout=subprocess.PIPE, start_new_session=True, text=True
    ) as agent:
        assert agent.stdout is not None
        assert agent.stdout.readline() == "launched\n"
        os.killpg(agent.pid, signal.SIGKILL)


def test_a_killed_agents_job_runs_on_and_is_adopted(workshop: Any, until: Any) -> None:
    request = workshop.request(*workshop.python(WRITES))
    launch_and_die(request)

    async def scenario() -> None:
        run = Run.open(Path(request.run_dir))
        log = run.folder / runfolder.STDOUT
        seen = len(log.read_text())
        await until(lambda: len(log.read_text()) > seen)  # it goes on writing with nobody there
        status = await run.status()
        assert status.state == "running" and run.pids == (status.supervisor_pid,)
        assert processes.is_alive(status.job_pid, status.job_start_ticks)
        assert status.job_pid in {process.pid for process in processes.descendants(run.pids[0])}
        await run.request_checkpoint("after")
        answer = await run.wait_answer("after", 30)
        await run.stop()
        assert log.read_text().splitlines()[0] == "step 1"
        types = [event.type async for event in run.events()]
        assert types[0] == "started" and types[-1] == "exit" and answer.state == "answered"
        first = await anext(run.events(follow=False))
        rest = [event.type async for event in run.events(first.next_offset_bytes)]
        assert rest == types[1:]

    asyncio.run(scenario())


def test_the_lease_ends_a_job_whose_agent_is_dead(workshop: Any) -> None:
    deadline_s = BOOTTIME_S() + 4.0
    request = workshop.request("/bin/sh", "-c", "trap '' TERM; while :; do sleep 0.05; done")
    launch_and_die(msgspec.structs.replace(request, lease_deadline_boottime_s=deadline_s))

    async def scenario() -> None:
        run = Run.open(Path(request.run_dir))
        status = await run.wait(30)
        assert (status.reason, status.signal) == ("lease_expired", int(signal.SIGKILL))
        assert [event async for event in run.events()][-1].boottime_s < deadline_s

    asyncio.run(scenario())


def test_a_killed_supervisor_leaves_no_process_of_the_job(workshop: Any, until: Any) -> None:
    script = (
        "(setsid sh -c 'while :; do sleep 0.05; done' &); (sh -c 'trap \"\" TERM; sleep 1000' &); echo up; sleep 1000"
    )

    async def scenario() -> None:
        run = await workshop.launch("/bin/sh", "-c", script)
        await until(lambda: "up" in (run.folder / runfolder.STDOUT).read_text())
        status = await run.status()
        mark = f"HELIOTROPE_SOCKET={run.request.run_dir}/job.sock"
        assert len(processes.marked(mark)) >= 3
        os.kill(status.supervisor_pid, signal.SIGKILL)
        await until(lambda: not processes.marked(mark))  # the guard does it, with nobody asking
        lost = await run.wait(30)
        assert (lost.state, lost.reason) == ("lost", "lost")
        assert (lost.verdict.outcome, lost.verdict.fault) == ("lost", "node")
        assert run.pids == () and await Run.open(run.folder).status() == lost
        assert [event.type async for event in run.events()] == ["started"]

    asyncio.run(scenario())


def test_with_guard_and_supervisor_killed_the_agent_clears_what_is_left(workshop: Any, until: Any) -> None:
    async def scenario() -> None:
        run = await workshop.launch("/bin/sh", "-c", "(setsid sleep 1000 &); echo up; sleep 1000")
        await until(lambda: "up" in (run.folder / runfolder.STDOUT).read_text())
        status = await run.status()
        supervisor = processes.read(status.supervisor_pid)
        assert supervisor is not None
        for pid in (supervisor.ppid, supervisor.pid):
            os.kill(pid, signal.SIGKILL)
        mark = f"HELIOTROPE_SOCKET={run.request.run_dir}/job.sock"
        await until(lambda: not processes.is_alive(status.job_pid, status.job_start_ticks))  # died with its parent
        assert processes.marked(mark)  # but the one in its own session lives
        assert (await run.wait(30)).state == "lost"
        assert not processes.marked(mark)

    asyncio.run(scenario())


def test_a_supervisor_of_another_boot_is_lost_though_its_pid_lives(workshop: Any) -> None:
    async def scenario() -> None:
        run = await workshop.launch("/bin/true")
        status = await run.wait(30)
        me = processes.read(os.getpid())
        assert me is not None
        old = msgspec.structs.replace(
            status,
            state="running",
            reason="",
            boot_id="another",
            supervisor_pid=me.pid,
            supervisor_start_ticks=me.start_ticks,
        )
        (run.folder / runfolder.STATUS).write_bytes(msgspec.json.encode(old))
        lost = await run.status()
        assert lost.state == "lost" and "restarted" in lost.error
        reused = msgspec.structs.replace(old, boot_id=status.boot_id, supervisor_start_ticks=me.start_ticks - 1)
        (run.folder / runfolder.STATUS).write_bytes(msgspec.json.encode(reused))
        assert (await run.status()).state == "lost"  # same pid, another process

    asyncio.run(scenario())


def test_a_run_written_down_but_never_started_is_launched_by_the_next_agent(workshop: Any) -> None:
    async def scenario() -> None:
        request = workshop.request("/bin/true")
        folder = Path(request.run_dir)
        folder.mkdir()
        (folder / runfolder.RUN).write_bytes(msgspec.json.encode(request))  # the agent was killed right here
        with pytest.raises(NotFound, match="never started"):
            await Run.open(folder).status()
        run = await workshop.launch("/bin/true", run_dir=str(folder), attempt=request.attempt)
        assert (await run.wait(30)).reason == "finished"

    asyncio.run(scenario())


def test_the_supervisor_refuses_parameters_of_another_boot(workshop: Any) -> None:
    request = workshop.request("/bin/true", boot_id="before")
    folder = Path(request.run_dir)
    folder.mkdir()
    (folder / runfolder.RUN).write_bytes(msgspec.json.encode(request))
    subprocess.run([sys.executable, "-m", "heliotrope.agent.jobs.supervisor", str(folder)], check=True, timeout=60)
    status = asyncio.run(Run.open(folder).status())
    assert status.reason == "failed" and "last boot" in status.error


def test_sigterm_to_the_supervisor_ends_the_job_in_good_order(workshop: Any) -> None:
    async def scenario() -> None:
        run = await workshop.launch("/bin/sleep", "1000")
        os.kill(run.pids[0], signal.SIGTERM)
        status = await run.wait(30)
        assert (status.reason, status.cause, status.signal) == ("killed", "shutdown", int(signal.SIGTERM))
        assert status.verdict.fault == "node"

    asyncio.run(scenario())


def test_the_supervisor_stays_lean(workshop: Any) -> None:
    async def scenario() -> None:
        run = await workshop.launch("/bin/sleep", "1000")
        supervisor = processes.read(run.pids[0])
        assert supervisor is not None
        share_bytes = 0
        for pid in (supervisor.pid, supervisor.ppid):
            rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
            share_bytes += 1024 * int(next(line.split()[1] for line in rollup.splitlines() if line.startswith("Pss:")))
        assert share_bytes < 20e6, f"{share_bytes / 1e6:.1f} MB"
        await run.kill()

    asyncio.run(scenario())
