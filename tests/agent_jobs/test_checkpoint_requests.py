"""Requests for checkpoints: by socket and by signal, answered, repeated, ignored, taken back, refused."""

from __future__ import annotations

import asyncio
import json
import shlex
import socket
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heliotrope.agent.jobs import runfolder
from heliotrope.agent.jobs.checkpoint_requests import CheckpointRequests
from heliotrope.agent.jobs.lines import short_address
from heliotrope.agent.jobs.runs import Run
from heliotrope.foundation.errors import Conflict, DeadlineExceeded, NotFound

TRAINING = """
    import time
    import heliotrope.job as heliotrope_job

    job = heliotrope_job.connect()
    step = int((job.resume_from / "step").read_text()) if job.resume_from else 0
    while step < LAST_STEP:
        step += 1
        time.sleep(0.005)
        job.report(step=step, samples=8 * step, loss=1.0 / step, flops=1e9 * step, parameters=7)
        if job.checkpoint_due():
            with job.checkpoint(step) as folder:
                (folder / "step").write_text(str(step))
            job.exit_if_stopped()
"""

DEAF = "echo up; while :; do sleep 0.05; done"


def test_request_answer_stop_and_resume(workshop: Any, until: Any) -> None:
    async def scenario() -> None:
        command = workshop.python(TRAINING, LAST_STEP=10**9)
        run = await workshop.launch(*command)
        await run.request_checkpoint("early")  # before the job even connected: delivered when it says it is ready
        answer = await run.wait_answer("early", 30)
        assert answer.state == "answered" and answer.step is not None
        assert (Path(run.request.checkpoint_dir) / answer.name / "step").read_text() == str(answer.step)
        progress = await until(run.progress)
        assert progress.step is not None and progress.samples == 8 * progress.step
        assert progress.parameters == 7

        await run.request_checkpoint("last", stop=True)
        last = await run.wait_answer("last", 30)
        status = await run.wait(30)
        assert (status.reason, status.exit_code) == ("stopped", 75)
        assert last.step is not None and last.step > answer.step
        assert (await run.request_checkpoint("last", stop=True)) == last  # answered, whatever happened afterwards
        with pytest.raises(Conflict, match="over"):
            await run.request_checkpoint("too-late")

        whole = str(Path(run.request.checkpoint_dir) / last.name)
        command = workshop.python(TRAINING, LAST_STEP=last.step + 3)
        resumed = await workshop.launch(*command, resume_from=whole)
        assert (await resumed.wait(30)).reason == "finished"
        final = resumed.progress()
        assert final is not None and final.step == last.step + 3

    asyncio.run(scenario())


def test_repeating_a_request_id_gives_one_checkpoint_also_through_another_agent(workshop: Any) -> None:
    async def scenario() -> None:
        run = await workshop.launch(*workshop.python(TRAINING, LAST_STEP=10**9))
        for _ in range(5):
            await run.request_checkpoint("same")
        first = await run.wait_answer("same", 30)
        reopened = Run.open(run.folder)  # as an agent does that was restarted
        for _ in range(5):
            assert (await reopened.request_checkpoint("same")) == first
        await reopened.request_checkpoint("other")
        other = await reopened.wait_answer("other", 30)
        await run.kill()
        events = [event async for event in run.events(follow=False)]
        assert [event.request_ids for event in events if event.type == "checkpoint"] == [("same",), ("other",)]
        assert [event.request_id for event in events if event.type == "request"] == ["same", "other"]
        assert other.name != first.name

    asyncio.run(scenario())


def test_a_job_that_ignores_its_request_is_reported_and_goes_on(workshop: Any) -> None:
    async def scenario() -> None:
        run = await workshop.launch("/bin/sh", "-c", DEAF)
        await run.request_checkpoint("r1")
        with pytest.raises(DeadlineExceeded, match="never said that it is ready"):
            await run.wait_answer("r1", 0.3)
        with pytest.raises(NotFound, match="never made"):
            await run.wait_answer("r2", 0.3)
        assert (await run.status()).state == "running"
        await run.kill()
        with pytest.raises(Conflict, match="ended without answering"):
            await run.wait_answer("r1", 5)

    asyncio.run(scenario())


def test_a_job_that_takes_the_request_and_never_answers_is_told_apart(workshop: Any, until: Any) -> None:
    source = """
        import heliotrope.job as heliotrope_job, time
        job = heliotrope_job.connect()
        while True:
            time.sleep(0.01)
            job.checkpoint_due()
    """

    async def scenario() -> None:
        run = await workshop.launch(*workshop.python(source))
        await run.request_checkpoint("r1")
        await until(lambda: run.answer_of("r1").state == "delivered")
        with pytest.raises(DeadlineExceeded, match="does not answer"):
            await run.wait_answer("r1", 0.1)
        await run.kill()

    asyncio.run(scenario())


def test_a_request_taken_back_is_forgotten_by_the_job(workshop: Any, until: Any) -> None:
    source = """
        import heliotrope.job as heliotrope_job, pathlib, time
        job = heliotrope_job.connect()
        while not job.checkpoint_due():
            time.sleep(0.01)
        pathlib.Path("asked").touch()
        while job.checkpoint_due():
            time.sleep(0.01)
        print("forgotten", flush=True)
        while not job.checkpoint_due():
            time.sleep(0.01)
        with job.checkpoint(1) as folder:
            (folder / "x").touch()
        job.exit_if_stopped()
    """

    async def scenario() -> None:
        run = await workshop.launch(*workshop.python(source))
        await run.request_checkpoint("stop", stop=True)
        await until((Path(run.request.working_dir) / "asked").exists)
        assert await run.cancel_request("stop") is True
        await until(lambda: "forgotten" in (run.folder / runfolder.STDOUT).read_text())
        with pytest.raises(Conflict, match="taken back"):
            await run.wait_answer("stop", 5)
        await run.request_checkpoint("go on")
        assert (await run.wait_answer("go on", 30)).name == "step-00000001"
        assert (await run.wait(30)).reason == "finished"  # not stopped: that request was taken back
        assert await run.cancel_request("go on") is False

    asyncio.run(scenario())


SIGNALLED = """
    import os, pathlib, signal, time
    asked = []
    signal.signal(signal.SIGUSR1, lambda *_: asked.append(1))
    folder = pathlib.Path(os.environ["HELIOTROPE_CHECKPOINT_DIR"])
    READY
    step = 0
    while True:
        time.sleep(0.01)
        step += 1
        if asked or (FIRST and step == 1):
            asked.clear()
            (folder / ".half.tmp").mkdir()
            (folder / ".half.tmp").rename(folder / f"ckpt-{step}")
"""
SAYS_READY = '(folder / ".heliotrope-ready").write_text(str(os.getpid()))'


@pytest.mark.parametrize("way", ["ready file", "first checkpoint"])
def test_requests_by_signal_reach_one_process_without_the_socket(workshop: Any, until: Any, way: str) -> None:
    source = SIGNALLED.replace("READY", SAYS_READY if way == "ready file" else "pass")

    async def scenario() -> None:
        command = workshop.python(source, FIRST=way != "ready file")
        if way == "ready file":  # through a wrapper that would die of the signal
            command = ("/bin/sh", "-c", f"{shlex.join(command)}; exit $?")
        run = await workshop.launch(*command, request_mode="signal")
        folder = Path(run.request.checkpoint_dir)
        await run.request_checkpoint("r1")
        await until(lambda: run.answer_of("r1").state == "delivered")
        before = {"ckpt-1"} if way != "ready file" else set()
        found = await until(lambda: {path.name for path in folder.glob("ckpt-*")} - before)
        await run.mark_answered("r1", found.pop())
        assert (await run.wait_answer("r1", 5)).state == "answered"
        assert (await run.status()).state == "running"
        await run.kill()

    asyncio.run(scenario())


def test_a_process_that_would_die_of_the_signal_is_never_signalled(workshop: Any, until: Any) -> None:
    script = 'touch "$HELIOTROPE_CHECKPOINT_DIR/ckpt-1"; ' + DEAF

    async def scenario() -> None:
        run = await workshop.launch("/bin/sh", "-c", script, request_mode="signal")
        await run.request_checkpoint("r1")
        with pytest.raises(DeadlineExceeded, match="does not handle SIGUSR1"):
            await run.wait_answer("r1", 1.0)
        assert (await run.status()).state == "running"
        await run.kill()

    asyncio.run(scenario())


def test_the_library_answers_requests_by_signal_too(workshop: Any) -> None:
    async def scenario() -> None:
        run = await workshop.launch(*workshop.python(TRAINING, LAST_STEP=10**9), request_mode="signal")
        for request_id in ("r1", "r2"):
            await run.request_checkpoint(request_id)
        names = [(await run.wait_answer(request_id, 30)).name for request_id in ("r1", "r2")]
        assert len(set(names)) == 2
        await run.kill()

    asyncio.run(scenario())


def test_a_job_without_requests_refuses_them(workshop: Any) -> None:
    async def scenario() -> None:
        run = await workshop.launch("/bin/sleep", "1000", request_mode="none")
        with pytest.raises(Conflict, match="takes no requests"):
            await run.request_checkpoint("r1")
        await run.kill()

    asyncio.run(scenario())


def test_wrong_messages_on_the_socket_get_an_error_that_names_the_field(workshop: Any) -> None:
    wrong = {
        "not json": "one line",
        "[1]": "one line",
        '{"type": "dance"}': "field type",
        '{"type": "hello", "protocol": 99}': "field protocol",
        '{"type": "progress", "step": -1}': "field step",
        '{"type": "progress", "step": true}': "field step",
        '{"type": "progress", "loss": "low"}': "field loss",
        '{"type": "progress", "loss": 1e999}': "field loss",
        '{"type": "checkpoint", "name": "../../etc"}': "field name",
        '{"type": "checkpoint", "name": "absent"}': "field name",
        '{"type": "checkpoint", "name": 7}': "field name",
        '{"type": "checkpoint_failed", "request_id": "none", "error": "x"}': "field request_id",
    }

    def talk(path: str) -> list[str]:
        with socket.socket(socket.AF_UNIX) as connection, short_address(path) as address:
            connection.settimeout(30)
            connection.connect(address)
            with connection.makefile("rw") as stream:
                answers = []
                for line in wrong:
                    stream.write(line + "\n")
                    stream.flush()
                    answers.append(json.loads(stream.readline())["error"])
                stream.write("x" * 200_000)
                stream.flush()
                answers.append(json.loads(stream.readline())["error"])
                return answers

    async def scenario() -> None:
        run = await workshop.launch("/bin/sleep", "1000")
        answers = await asyncio.to_thread(talk, f"{run.request.run_dir}/job.sock")
        for answer, expected in zip(answers, [*wrong.values(), "longer than"], strict=True):
            assert expected in answer
        assert (await run.status()).state == "running"
        assert run.progress() is None
        await run.kill()

    asyncio.run(scenario())


def test_a_job_may_say_that_it_cannot(workshop: Any) -> None:
    source = """
        import json, os, socket
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(os.environ["HELIOTROPE_SOCKET"])
        stream = connection.makefile("rw")
        def say(**message):
            stream.write(json.dumps(message) + "\\n")
            stream.flush()
        say(type="hello", protocol=1, ready=True)
        while True:
            message = json.loads(stream.readline())
            if message["type"] == "checkpoint":
                say(type="checkpoint_failed", request_id=message["request_id"], error="disk full")
    """

    async def scenario() -> None:
        run = await workshop.launch(*workshop.python(source))
        await run.request_checkpoint("r1")
        with pytest.raises(Conflict, match="disk full"):
            await run.wait_answer("r1", 30)
        await run.kill()

    asyncio.run(scenario())


@given(st.lists(st.tuples(st.sampled_from(["add", "deliver", "answer", "fail"]), st.integers(0, 4)), max_size=40))
def test_a_request_is_settled_once_and_never_again(steps: list[tuple[str, int]]) -> None:
    requests = CheckpointRequests()
    settled: dict[str, str] = {}
    for number, (action, which) in enumerate(steps):
        request_id = str(which)
        if action == "add":
            requests.add(request_id, False)
        elif action == "deliver":
            for request in requests.unanswered():
                request.state = "delivered" if request.request_id == request_id else request.state
        elif action == "answer":
            for request in requests.answer(request_id, f"c{number}", number):
                assert request.request_id not in settled
                settled[request.request_id] = f"c{number}"
        elif requests.fail(request_id, "no") is not None:
            assert request_id not in settled
            settled[request_id] = ""
    assert {
        record["request_id"]: record["name"]
        for record in requests.records()
        if record["state"] in ("answered", "failed")
    } == settled
