"""A real coordinator in a process of its own, with real keys, that the real command talks to."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from heliotrope.cli import main as entry
from heliotrope.foundation import authority
from heliotrope.foundation.identity import Role

START_TIMEOUT_S = 60.0

SITES = """
[[sites]]
name = "valley"
latitude = 46.5
longitude = 9.8
grid_intensity_g_per_kwh = 30.0
grid_renewable_ratio = 0.9
window = { rule = "intensity_below", threshold = 100.0 }

[[sites]]
name = "mine"
latitude = 50.8
longitude = 19.1
grid_intensity_g_per_kwh = 800.0
grid_renewable_ratio = 0.1
window = { rule = "renewable_above", threshold = 0.5 }

[[sites]]
name = "desert"
latitude = 23.5
longitude = 12.0
load_w = 1000.0
solar_capacity_w = 20000.0
window = { rule = "surplus" }

[[links]]
source = "valley"
destination = "mine"
bandwidth_bytes_per_s = 1_000_000.0
"""


@dataclass(frozen=True)
class LiveFleet:
    """A running coordinator and the folder with everyone's identities."""

    folder: Path
    address: str

    def identity(self, name: str) -> Path:
        return self.folder / f"identity-{name}"

    @property
    def state_dir(self) -> Path:
        return self.folder / "state"


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def value(self) -> Any:
        """What ``--json`` printed."""
        assert self.code == 0, self.err
        return json.loads(self.out)


Heliotrope = Callable[..., Done]


@pytest.fixture(scope="session")
def live_fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveFleet]:
    folder = tmp_path_factory.mktemp("fleet")
    ca = authority.create(folder / "ca", "lab")
    for role, name in (
        (Role.COORDINATOR, "main"),
        (Role.OPERATOR, "alice"),
        (Role.OBSERVER, "olga"),
        (Role.AGENT, "node1"),
    ):
        ca.issue(role, name).save(folder / f"identity-{name}")
    stranger = authority.create(folder / "other-ca", "elsewhere")
    stranger.issue(Role.OPERATOR, "bob").save(folder / "identity-bob")
    config = folder / "coordinator.toml"
    head = 'identity = "identity-main"\nstate_dir = "state"\nlisten = "127.0.0.1:0"\n'
    config.write_text(head + SITES)
    log = folder / "coordinator.log"
    with log.open("wb") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-m", "heliotrope.cli", "coordinator", "--config", str(config)],
            stdin=subprocess.DEVNULL,
            stdout=stderr,
            stderr=stderr,
        )
        try:
            yield LiveFleet(folder, _address(process, log))
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                assert process.wait(20) == 0, log.read_text()
            finally:
                process.kill()


def _address(process: subprocess.Popen[bytes], log: Path) -> str:
    deadline_s = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline_s and process.poll() is None:
        ready = re.search(r"ready on (127\.0\.0\.1:\d+)", log.read_text())
        if ready is not None:
            return ready[1]
        time.sleep(0.02)
    raise AssertionError(f"the coordinator did not start:\n{log.read_text()}")


@pytest.fixture
def heliotrope(
    capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Heliotrope:
    """Runs one command line in this process and returns exit code and both outputs; no configuration leaks in."""
    for name in ("HELIOTROPE_COORDINATOR", "HELIOTROPE_IDENTITY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "no-config"))

    def run(*arguments: str | Path) -> Done:
        capfdbinary.readouterr()
        code = entry.run([str(argument) for argument in arguments])
        sys.stderr.flush()
        out, err = capfdbinary.readouterr()
        return Done(code, out.decode(), err.decode())

    return run


@pytest.fixture
def ask(live_fleet: LiveFleet, heliotrope: Heliotrope) -> Heliotrope:
    """As ``heliotrope``, for verbs that ask the coordinator: as the operator alice unless ``who`` says otherwise."""

    def run(*arguments: str | Path, who: str = "alice", coordinator: str = "") -> Done:
        target = ["--coordinator", coordinator or live_fleet.address, "--identity", live_fleet.identity(who)]
        return heliotrope(*arguments, *target)

    return run


@pytest.fixture
def job_file(tmp_path: Path) -> Path:
    """A job with files; its name is that of the test's folder, so that tests share the coordinator in peace."""
    folder = tmp_path / "job"
    (folder / "data" / "deep").mkdir(parents=True)
    (folder / "train.py").write_text("print('trained')\n")
    (folder / "data" / "deep" / "corpus.txt").write_text("words\n" * 1000)
    (folder / "data" / "latest").symlink_to("deep/corpus.txt")
    name = re.sub("[^a-z0-9]+", "-", tmp_path.name.lower())[-60:].strip("-")
    path = folder / "job.toml"
    path.write_text(
        f'name = "{name}"\ncommand = ["python3", "train.py"]\nfiles = ["*.py", "data"]\noutputs = ["result.json"]\n'
    )
    return path


@pytest.fixture
def submitted(ask: Heliotrope, job_file: Path) -> Iterator[dict[str, Any]]:
    """A job that waits, since no node is there; cancelled afterwards."""
    job = ask("job", "submit", job_file, "--json").value
    yield job
    ask("job", "cancel", job["job_id"])
