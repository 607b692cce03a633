"""Runs from launch to end: exit codes, environment, logs, leftovers, leases, users."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import pwd
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from heliotrope.agent.jobs import processes, runfolder
from heliotrope.agent.jobs.launcher import DetachedLauncher
from heliotrope.agent.jobs.runs import Run
from heliotrope.foundation.clock import SystemClock
from heliotrope.foundation.errors import Conflict, DeadlineExceeded, InvalidInput, NotFound

BOOTTIME_S = SystemClock().boottime_s


@pytest.mark.parametrize(
    ("script", "reason", "exit_code", "signal_number", "outcome", "fault"),
    [
        ("exit 0", "finished", 0, None, "finished", "none"),
        ("exit 75", "stopped", 75, None, "stopped", "none"),
        ("exit 9", "stopped", 9, None, "stopped", "none"),
        ("exit 3", "failed", 3, None, "failed", "job"),
        ("kill -SEGV $$", "failed", None, int(signal.SIGSEGV), "failed", "job"),
        ("kill -KILL $$", "failed", None, int(signal.SIGKILL), "failed", "node"),
        ("sh -c 'kill -KILL $$'; exit $?", "failed", 137, None, "failed", "node"),
    ],
)
def test_exit_codes(
    workshop: Any,
    script: str,
    reason: str,
    exit_code: int | None,
    signal_number: int | None,
    outcome: str,
    fault: str,
) -> None:
    async def scenario() -> None:
        run = await workshop.launch("/bin/sh", "-c", script, stopped_codes=(75, 9))
        status = await run.wait(30)
        assert (status.state, status.reason) == ("ended", reason)
        assert (status.exit_code, status.signal) == (exit_code, signal_number)
        assert (status.verdict.outcome, status.verdict.fault) == (outcome, fault)
        assert [event.type async for event in run.events()] == ["started", "exit"]

    asyncio.run(scenario())


def test_a_command_that_cannot_start_is_the_jobs_failure_with_its_cause(workshop: Any) -> None:
    async def scenario() -> None:
        status = await (await workshop.launch("/nowhere/train")).wait(30)
        assert (status.reason, status.exit_code) == ("failed", 127)
        assert "/nowhere/train" in status.error and "No such file" in status.error
        assert status.verdict.fault == "job"

    asyncio.run(scenario())


def test_the_environment_is_the_contract_and_nothing_of_the_daemons(
    workshop: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HELIOTROPE_SECRET", "daemon's own")

    async def scenario() -> None:
        run = await workshop.launch(
            sys.executable,
            "-c",
            "import json, os; print(json.dumps(dict(os.environ)))",
            environment={"ALPHA": "beta gamma", "PYTHONPATH": "/extra"},
            gpu_uuids=("GPU-1", "MIG-2"),
            resume_from="/somewhere/step-00000001",
        )
        await run.wait(30)
        seen = json.loads((run.folder / runfolder.STDOUT).read_text())
        assert "HELIOTROPE_SECRET" not in seen
        assert seen["ALPHA"] == "beta gamma"
        assert seen["PYTHONPATH"] == f"{run.request.pythonpath_dir}:/extra"
        assert seen["CUDA_VISIBLE_DEVICES"] == "GPU-1,MIG-2"
        assert (seen["HELIOTROPE_JOB_ID"], seen["HELIOTROPE_EPOCH"]) == ("job-1", "3")
        assert seen["HELIOTROPE_CHECKPOINT_DIR"] == run.request.checkpoint_dir
        assert seen["HELIOTROPE_RESUME_FROM"] == "/somewhere/step-00000001"
        assert seen["HELIOTROPE_SOCKET"] == f"{run.request.run_dir}/job.sock"

        bare = await workshop.launch(
            "/bin/sh", "-c", 'echo "[$CUDA_VISIBLE_DEVICES]"; test -d "$HELIOTROPE_CHECKPOINT_DIR"'
        )
        assert (await bare.wait(30)).reason == "finished"
        assert (bare.folder / runfolder.STDOUT).read_text() == "[]\n"

    asyncio.run(scenario())


def test_heliotrope_job_is_found_and_the_rest_of_an_installed_heliotrope_stays(workshop: Any) -> None:
    async def scenario() -> None:
        source = "import heliotrope.job, heliotrope.foundation.clock; print(heliotrope.job.__file__)"
        run = await workshop.launch(sys.executable, "-c", source)
        assert (await run.wait(30)).reason == "finished", (run.folder / runfolder.STDERR).read_text()
        assert (run.folder / runfolder.STDOUT).read_text().startswith(run.request.pythonpath_dir)

    asyncio.run(scenario())


def test_grandchildren_that_outlive_the_job_are_gone_before_the_run_is_over(workshop: Any) -> None:
    script = "trap '' TERM; (setsid sh -c \"trap '' TERM; echo up; while :; do sleep 0.1; done\" &) ; sleep 0.2; exit 0"

    async def scenario() -> None:
        run = await workshop.launch("/bin/sh", "-c", script)
        status = await run.wait(30)
        assert status.reason == "finished"
        assert "up" in (run.folder / runfolder.STDOUT).read_text()
        assert not processes.marked(f"HELIOTROPE_SOCKET={run.request.run_dir}/job.sock")
        assert run.pids == ()

    asyncio.run(scenario())


def test_stop_gives_the_job_its_grace_and_kill_does_not(workshop: Any, until: Any) -> None:
    script = "trap 'echo bye; exit 7' TERM; echo up; while :; do sleep 0.05; done"

    async def scenario() -> None:
        run = await workshop.launch("/bin/sh", "-c", script)
        await until(lambda: "up" in (run.folder / runfolder.STDOUT).read_text())
        status = await run.stop()
        assert (status.reason, status.cause, status.exit_code) == ("killed", "stop", 7)
        assert (run.folder / runfolder.STDOUT).read_text() == "up\nbye\n"
        assert (await run.stop()) == status  # again: nothing more to do

        other = await workshop.launch("/bin/sh", "-c", script)
        await until(lambda: "up" in (other.folder / runfolder.STDOUT).read_text())
        status = await other.kill()
        assert (status.reason, status.cause) == ("killed", "kill")
        assert status.verdict.outcome == "killed" and status.verdict.fault == "none"

    asyncio.run(scenario())


def test_a_job_deaf_to_sigterm_is_killed_after_its_grace(workshop: Any, until: Any) -> None:
    async def scenario() -> None:
        run = await workshop.launch("/bin/sh", "-c", "trap '' TERM; echo up; while :; do sleep 0.05; done")
        await until(lambda: "up" in (run.folder / runfolder.STDOUT).read_text())
        status = await run.stop(grace_s=0.2)
        assert (status.reason, status.signal) == ("killed", int(signal.SIGKILL))

    asyncio.run(scenario())


def test_output_is_bounded_marked_and_its_end_is_kept(workshop: Any) -> None:
    limit_bytes = 128 * 1024
    source = "for n in range(40000): print('line', n)"

    async def scenario() -> None:
        run = await workshop.launch(*workshop.python(source), log_limit_bytes=limit_bytes)
        assert (await run.wait(60)).reason == "finished"
        newest, older = run.folder / runfolder.STDOUT, run.folder / (runfolder.STDOUT + ".1")
        total_bytes = newest.stat().st_size + older.stat().st_size
        assert limit_bytes / 4 - 4096 < total_bytes <= limit_bytes / 2 + 200
        assert newest.read_text().startswith("[heliotrope: ")
        assert newest.read_text().endswith("line 39999\n")
        joined = older.read_text().split("\n", 1)[1] + newest.read_text().split("\n", 1)[1]
        assert "line 39998\nline 39999\n" in joined
        numbers = [int(line.split()[1]) for line in joined.splitlines()[1:] if line.startswith("line ")]
        assert numbers == list(range(numbers[0], 40000))

    asyncio.run(scenario())


def test_a_lease_ends_the_job_before_it_ends_and_renewal_holds_it(workshop: Any, until: Any) -> None:
    async def scenario() -> None:
        deadline_s = BOOTTIME_S() + 3.0
        run = await workshop.launch("/bin/sleep", "1000", lease_deadline_boottime_s=deadline_s)
        await run.renew(None)
        assert (await run.live()).lease_deadline_boottime_s is None
        await until(lambda: BOOTTIME_S() > deadline_s)
        assert (await run.status()).state == "running"

        deadline_s = BOOTTIME_S() + 1.0
        await run.renew(deadline_s)
        status = await run.wait(30)
        assert (status.reason, status.cause) == ("lease_expired", "lease")
        assert status.verdict.fault == "node"
        ended = [event async for event in run.events()][-1]
        assert ended.boottime_s < deadline_s
        with pytest.raises(Conflict, match="over"):
            await run.renew(deadline_s + 100)

    asyncio.run(scenario())


def test_a_lease_that_is_over_before_the_start_ends_the_job_at_once(workshop: Any) -> None:
    async def scenario() -> None:
        run = await workshop.launch("/bin/sleep", "1000", lease_deadline_boottime_s=1.0)
        assert (await run.wait(30)).reason == "lease_expired"

    asyncio.run(scenario())


def test_a_path_longer_than_a_socket_address_works(workshop: Any, until: Any) -> None:
    deep = workshop.folder / ("d" * 90) / ("e" * 90)
    source = """
        import heliotrope.job as heliotrope_job, time
        job = heliotrope_job.connect()
        while not job.checkpoint_due():
            time.sleep(0.01)
        with job.checkpoint(4) as folder:
            (folder / "state").write_text("x")
    """

    async def scenario() -> None:
        run = await workshop.launch(*workshop.python(source), run_dir=str(deep))
        assert len(str(deep / "job.sock")) > 200
        await run.request_checkpoint("r1")
        answer = await run.wait_answer("r1", 30)
        assert (answer.name, answer.step) == ("step-00000004", 4)
        assert (await run.wait(30)).reason == "finished"

    asyncio.run(scenario())


def test_launching_again_adopts_and_another_run_is_refused_the_folder(workshop: Any) -> None:
    async def scenario() -> None:
        first = await workshop.launch("/bin/sleep", "1000")
        pids = first.pids
        again = await Run.launch(first.request, DetachedLauncher())
        assert again.pids == pids != ()
        with pytest.raises(Conflict, match="its own folder"):
            await workshop.launch("/bin/true", run_dir=first.request.run_dir)
        await DetachedLauncher().start(first.request)  # a second supervisor finds the run taken
        assert (await first.status()).supervisor_pid == pids[0]
        await first.kill()

    asyncio.run(scenario())


def test_two_launches_at_once_give_one_job(workshop: Any) -> None:
    async def scenario() -> None:
        request = workshop.request("/bin/sh", "-c", "echo one; exec sleep 1000")
        runs = await asyncio.gather(*(Run.launch(request, DetachedLauncher()) for _ in range(3)))
        assert len({run.pids for run in runs}) == 1
        await runs[0].kill()
        assert (runs[0].folder / runfolder.STDOUT).read_text() == "one\n"

    asyncio.run(scenario())


def test_bad_requests_name_the_field_and_leave_nothing(workshop: Any) -> None:
    async def refused(match: str, **fields: Any) -> None:
        request = workshop.request("/bin/true", **fields)
        with pytest.raises(InvalidInput, match=match):
            await Run.launch(request, DetachedLauncher())
        assert not Path(request.run_dir).exists() or request.run_dir == "relative"

    async def scenario() -> None:
        await refused("field user", allow_same_user=False)
        await refused("field run_dir", run_dir="relative")
        await refused("field environment", environment={"HELIOTROPE_EPOCH": "9"})
        await refused("field environment", environment={"A": "b\0c"})
        await refused("field signal", request_mode="signal", signal="SIGKILL")
        await refused("field grace_s", grace_s=-1.0)
        await refused("field command", command=())

    asyncio.run(scenario())
    with pytest.raises(NotFound, match=r"run\.json"):
        Run.open(workshop.folder)


def test_waiting_for_a_run_that_goes_on_says_so(workshop: Any) -> None:
    async def scenario() -> None:
        run = await workshop.launch("/bin/sleep", "1000")
        with pytest.raises(DeadlineExceeded, match="still running"):
            await run.wait(0.05)
        with pytest.raises(Conflict, match="has not ended"):
            _ = (await run.status()).verdict
        await run.kill()

    asyncio.run(scenario())


@pytest.mark.skipif(os.getuid() != 0, reason="only root can change user")
def test_a_job_runs_as_its_user_and_sees_no_more_than_its_own(workshop: Any) -> None:
    nobody = pwd.getpwnam("nobody")
    for folder in (workshop.folder, *workshop.folder.parents):
        if not folder.stat().st_mode & 0o001:
            folder.chmod(folder.stat().st_mode | 0o011)
    script = (
        "id -u; id -G; for f in control.sock run.json status.json stdout.log; do"
        ' cat "$RUN/$f" >/dev/null 2>&1 && echo "read $f"; done;'
        ' ls "$RUN" 2>/dev/null; test -w "$RUN/job.sock" && test -w "$HELIOTROPE_CHECKPOINT_DIR" && echo "writes"'
    )

    async def scenario() -> None:
        run_dir = str(workshop.folder / "nobodys-run")
        request = workshop.request(
            *("/bin/sh", "-c", script),
            user="nobody",
            allow_same_user=False,
            run_dir=run_dir,
            environment={"RUN": run_dir},
        )
        os.chown(request.working_dir, nobody.pw_uid, nobody.pw_gid)
        run = await Run.launch(request, DetachedLauncher())
        assert (await run.wait(30)).reason == "finished", (run.folder / runfolder.STDERR).read_text()
        lines = (run.folder / runfolder.STDOUT).read_text().splitlines()
        assert lines == [str(nobody.pw_uid), str(nobody.pw_gid), "writes"]

        root = await workshop.launch("/bin/true", user="root", allow_same_user=False)
        status = await root.wait(30)
        assert status.reason == "failed" and "never run as root" in status.error

    asyncio.run(scenario())


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of one megabyte, where this machine lets us mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(folder)]
    if os.getuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode != 0:
        pytest.skip("cannot mount a small disk here")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_full_disk_costs_output_never_the_job_nor_its_verdict(workshop: Any, small_disk: Path, until: Any) -> None:
    source = """
        import pathlib, sys, time
        print("early", flush=True)
        while not pathlib.Path("full").exists(): time.sleep(0.01)
        for n in range(3000): print("lost", n, flush=True)
        pathlib.Path("written").touch()
        while not pathlib.Path("free").exists(): time.sleep(0.01)
        print("late", flush=True)
        sys.exit(4)
    """

    async def scenario() -> None:
        run = await workshop.launch(*workshop.python(source), run_dir=str(small_disk / "run"))
        work, log = Path(run.request.working_dir), run.folder / runfolder.STDOUT
        await until(lambda: "early" in log.read_text())
        with contextlib.suppress(OSError), (small_disk / "ballast").open("wb", buffering=0) as file:
            while file.write(b"x" * 4096):
                pass
        (work / "full").touch()
        await until((work / "written").exists)
        assert (await run.status()).state == "running"
        (small_disk / "ballast").unlink()
        (work / "free").touch()
        status = await run.wait(30)
        assert (status.reason, status.exit_code) == ("failed", 4)
        text = log.read_text()
        assert "bytes of output were lost here, the disk was full" in text and text.endswith("late\n")
        assert [event.type async for event in run.events()] == ["started", "exit"]

    asyncio.run(scenario())


def test_the_verdict_waits_for_room_on_the_disk(workshop: Any, small_disk: Path, until: Any) -> None:
    async def scenario() -> None:
        run = await workshop.launch(
            *("/bin/sh", "-c", "while ! test -e end; do sleep 0.05; done; exit 6"), run_dir=str(small_disk / "run")
        )
        with contextlib.suppress(OSError), (small_disk / "ballast").open("wb", buffering=0) as file:
            while file.write(b"x" * 4096):
                pass
        (Path(run.request.working_dir) / "end").touch()
        job_pid = (await run.status()).job_pid
        await until(lambda: processes.read(job_pid) is None)
        seen_s = BOOTTIME_S()
        await until(lambda: BOOTTIME_S() > seen_s + 0.5)  # it has tried to write by now, and could not
        assert (await run.status()).state == "running"  # not lost: the supervisor holds on
        (small_disk / "ballast").unlink()
        status = await run.wait(30)
        assert (status.reason, status.exit_code) == ("failed", 6)

    asyncio.run(scenario())
