"""Real runs for these tests: real supervisors, real jobs; whatever a test leaves behind is killed after it."""

from __future__ import annotations

import asyncio
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from heliotrope.agent.jobs import processes, pythonpath
from heliotrope.agent.jobs.launcher import DetachedLauncher
from heliotrope.agent.jobs.request import RunRequest
from heliotrope.agent.jobs.runs import Run


class Workshop:
    """Makes run requests below one folder and launches them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.requests: list[RunRequest] = []

    def python(self, source: str, **values: Any) -> tuple[str, ...]:
        """A command that runs this source with the tests' own interpreter."""
        text = textwrap.dedent(source)
        for name, value in values.items():
            text = text.replace(name, repr(value))
        script = self.folder / f"job-{len(list(self.folder.glob('job-*.py')))}.py"
        script.write_text(text)
        return (sys.executable, str(script))

    def request(self, *command: str, **fields: Any) -> RunRequest:
        """A request for one attempt, its folders made."""
        attempt = len(self.requests) + 1
        working_dir = self.folder / "work"
        working_dir.mkdir(exist_ok=True)
        request = RunRequest(
            job_id="job-1",
            epoch=3,
            attempt=attempt,
            command=command,
            working_dir=str(working_dir),
            checkpoint_dir=str(working_dir / "checkpoints"),
            run_dir=str(self.folder / f"run-{attempt}"),
            pythonpath_dir=str(pythonpath.install(self.folder / "pythonpath")),
            allow_same_user=True,
            grace_s=5.0,
        )
        request = msgspec.structs.replace(request, **fields)
        self.requests.append(request)
        return request

    async def launch(self, *command: str, **fields: Any) -> Run:
        return await Run.launch(self.request(*command, **fields), DetachedLauncher())

    def left(self) -> list[int]:
        """The processes that still belong to any of these runs, supervisors included."""
        found = []
        for process in processes.everyone():
            try:
                line = Path(f"/proc/{process.pid}/cmdline").read_bytes()
            except OSError:
                continue
            if process.alive and str(self.folder).encode() in line:
                found.append(process.pid)
        for request in self.requests:
            found += [process.pid for process in processes.marked(f"HELIOTROPE_SOCKET={request.run_dir}/job.sock")]
        return found


@pytest.fixture
def workshop(tmp_path: Path) -> Iterator[Workshop]:
    made = Workshop(tmp_path)
    yield made
    for pid in made.left():
        process = processes.read(pid)
        if process is not None:
            processes.kill_all([process])


@pytest.fixture
def until() -> Callable[..., Any]:
    """Poll a condition until it gives something true, or fail after a generous deadline."""

    async def poll(condition: Callable[[], Any], timeout_s: float = 30.0) -> Any:
        deadline_s = asyncio.get_running_loop().time() + timeout_s
        while not (found := condition()):
            assert asyncio.get_running_loop().time() < deadline_s, "it did not happen"
            await asyncio.sleep(0.01)
        return found

    return poll
