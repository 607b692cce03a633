"""One nested machine with a whole fleet in it, for the tests that need a real systemd."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .nested import ROOT, Machine, until, why_not

OPERATOR = ("--coordinator", "localhost:7440", "--identity", "/root/operator")
TINY_JOB = ROOT / "examples" / "tiny_job.py"
PYTHON = "/opt/heliotrope/bin/python"
TINY = [PYTHON, "tiny_job.py", "--state-kb", "32"]


class Services:
    """A coordinator and an agent as `heliotrope install` and its example configuration make them."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine

    def set_up(self) -> None:
        """What docs/install.md tells a person to do."""
        run = self.machine.run
        run("heliotrope", "install", "--coordinator", "--agent")
        run("heliotrope", "ca", "init", "/root/ca", "--fleet", "test")
        for role, name, folder in (
            ("coordinator", "main", "/var/lib/heliotrope-coordinator/identity"),
            ("agent", "node-1", "/var/lib/heliotrope-agent/identity"),
            ("operator", "ann", "/root/operator"),
        ):
            run("heliotrope", "ca", "issue", "--ca", "/root/ca", "--role", role, "--id", name, "--out", folder)
        run("chown", "-R", "heliotrope:", "/var/lib/heliotrope-coordinator/identity")
        # Many slots: a test that fails half-way must not hold up the others.
        edits = "s/coordinator.example.com/localhost/; s/^slot_count = 1 /slot_count = 16 /"
        run("sed", "-i", edits, "/etc/heliotrope/agent.toml")
        run("systemctl", "start", "heliotrope-coordinator", "heliotrope-agent")

    def ask(self, *words: str) -> Any:
        """An operator's question, its answer from JSON."""
        return json.loads(self.machine.run("heliotrope", *words, *OPERATOR, "--json").stdout)

    def connected(self) -> dict[str, Any] | None:
        """The node, once it has a session."""
        return next((node for node in self.ask("node", "list") if node["connected"]), None)

    def submit(self, name: str, command: list[str], **fields: Any) -> str:
        """A job that brings tiny_job.py along; its id."""
        folder = self.machine.path(f"/root/{name}")
        folder.mkdir()
        (folder / "tiny_job.py").write_bytes(TINY_JOB.read_bytes())
        spec = {"name": name, "command": command, "files": ["tiny_job.py"], "outputs": ["result.json"], **fields}
        (folder / "job.json").write_text(json.dumps(spec))
        return str(self.ask("job", "submit", f"/root/{name}/job.json")["job_id"])

    def unit(self, job_id: str) -> str:
        """The service of a job's run, once it runs."""

        def look() -> str | None:
            pattern = f"heliotrope-job-{job_id}-*-*.service"
            listed = self.machine.run("systemctl", "list-units", "--plain", "--no-legend", "--full", pattern).stdout
            names = [line.split()[0] for line in listed.splitlines() if "-prepare." not in line]
            # The unit is there before its supervisor has written down that the job runs.
            return names[0] if names and self.status(job_id).get("job_pid") else None

        return until(look, f"a service of job {job_id}; {self.story()}")

    def status(self, job_id: str) -> dict[str, Any]:
        """The run's own record; empty before it is written."""
        found = self.machine.path(f"/var/lib/heliotrope-agent/jobs/{job_id}/runs").glob("*/status.json")
        records: list[dict[str, Any]] = [json.loads(path.read_text()) for path in found]
        assert len(records) <= 1, "the job was started again"
        return records[0] if records else {}

    def work(self, job_id: str, name: str) -> Path:
        """A file of the job's working directory."""
        return self.machine.path(f"/var/lib/heliotrope-agent/jobs/{job_id}/work/{name}")

    def step(self, job_id: str) -> int:
        """The step that the job reported last, from its supervisor: the agent need not be there."""
        folder = self.machine.path(f"/var/lib/heliotrope-agent/jobs/{job_id}/runs")
        found = next(iter(folder.glob("*/progress.json")), None)
        return int(json.loads(found.read_text())["step"]) if found else 0

    def past(self, job_id: str, step: int) -> int:
        """Wait until the job is past that step; where it is then."""
        look = lambda: reached if (reached := self.step(job_id)) > step else None  # noqa: E731
        return until(look, f"step {step} of {job_id}")

    def ended(self, job: str) -> dict[str, Any]:
        """Wait for the job's end; what `job show` says of it."""
        self.machine.run("heliotrope", "job", "wait", job, *OPERATOR, check=False)
        shown: dict[str, Any] = self.ask("job", "show", job)
        return shown

    def logs(self, job: str) -> str:
        return self.machine.run("heliotrope", "job", "logs", job, *OPERATOR).stdout

    def story(self) -> str:
        return self.machine.journal()[-6000:]


@pytest.fixture(scope="session")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    if reason := why_not():
        pytest.skip(reason)
    with Machine(tmp_path_factory.mktemp("machine")) as booted:
        yield booted


@pytest.fixture(scope="session")
def services(machine: Machine) -> Services:
    made = Services(machine)
    try:
        made.set_up()
        until(made.connected, "the agent's session")
    except AssertionError as error:
        raise AssertionError(f"{error}\n{made.story()}") from error
    return made
