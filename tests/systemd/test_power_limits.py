"""The stop step under a real systemd: however the agent's service ends, the GPU's limit is what it was before.

Below the driver's library all is stubbed; the agent, its sandbox, the process that systemd starts for each change and
ExecStopPost= are real.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .conftest import Services
from .nested import ROOT, until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

AGENT = "heliotrope-agent.service"
STUB = ROOT / "tests" / "agent_power" / "stub_nvml.c"
SCENARIO = "/var/lib/heliotrope-agent/stub/scenario"  # where the service may write: limits lie beside it
PREVIOUS_W, CAPPED_W = 600.0, 300.0


class Gpu:
    """A GPU inside the machine, and the service that sees it."""

    def __init__(self, services: Services) -> None:
        self.services = services
        self.machine = services.machine
        self.node_id = ""

    def put_in(self, library: Path) -> None:
        """The driver's library, the GPU, and a drop-in that shows both to the service."""
        stub = self.machine.path("/opt/stub")
        stub.mkdir(exist_ok=True)
        shutil.copy(library, stub)
        scenario = self.machine.path(SCENARIO)
        scenario.parent.mkdir(exist_ok=True)
        scenario.write_text("count 1\ngpu0.uuid GPU-0\ngpu0.power_mw 100000\ngpu0.limit_range_mw 100000 700000\n")
        self.machine.path(f"{SCENARIO}.limits").write_text(f"{round(PREVIOUS_W * 1e3):15d}\n")
        self.drop_in("stub", f"Environment=LD_LIBRARY_PATH=/opt/stub HELIOTROPE_NVML_SCENARIO={SCENARIO}")
        self.machine.run("systemctl", "restart", AGENT)
        self.node_id = str(until(self.services.connected, "the agent's session")["node_id"])

    def drop_in(self, name: str, line: str) -> None:
        """One more line of the service; empty takes it away."""
        path = self.machine.path(f"/etc/systemd/system/{AGENT}.d/{name}.conf")
        path.parent.mkdir(exist_ok=True)
        if line:
            path.write_text(f"[Service]\n{line}\n")
        else:
            path.unlink(missing_ok=True)
        if not list(path.parent.iterdir()):
            path.parent.rmdir()
        self.machine.run("systemctl", "daemon-reload")

    def limit_w(self) -> float:
        return int(self.machine.path(f"{SCENARIO}.limits").read_text()) / 1e3

    def cap(self) -> dict[str, Any]:
        (event,) = self.services.ask("node", "cap", self.node_id, "--watts", str(CAPPED_W), "--for", "1h")
        assert self.limit_w() == CAPPED_W, self.services.story()
        return dict(event)

    def told(self, cap_id: str, kind: str) -> list[str]:
        """The kinds of that cap's events, oldest first, once the newest is of ``kind``."""

        def look() -> list[str] | None:
            events = self.services.ask("node", "caps", self.node_id, "--history")
            kinds = [event["kind"] for event in reversed(events) if event["cap_id"] == cap_id]
            return kinds if kinds[-1] == kind else None

        return until(look, f"event {kind}; {self.services.story()}")

    def start(self) -> None:
        self.machine.run("systemctl", "start", AGENT)
        until(self.services.connected, "the agent's session")


@pytest.fixture(scope="module")
def gpu(services: Services, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gpu]:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler to build the stub driver with")
    library = tmp_path_factory.mktemp("nvml") / "libnvidia-ml.so.1"
    subprocess.run([compiler, "-O1", "-shared", "-fPIC", "-o", library, STUB], check=True)
    made = Gpu(services)
    made.put_in(library)
    yield made
    made.drop_in("stub", "")
    services.machine.run("systemctl", "restart", AGENT)


def test_a_confined_agent_sets_a_limit(gpu: Gpu) -> None:
    """The agent has no CAP_SYS_ADMIN (test_services); the process that systemd starts for it has, and is gone again."""
    event = gpu.cap()
    assert (event["found_w"], event["limit_w"], event["operator"]) == (PREVIOUS_W, CAPPED_W, "ann")
    assert "Heliotrope reads or sets power limits" in gpu.machine.journal()
    (released,) = gpu.services.ask("node", "uncap", gpu.node_id)
    assert (released["limit_w"], gpu.limit_w()) == (PREVIOUS_W, PREVIOUS_W)


def test_stopping_the_service_restores(gpu: Gpu) -> None:
    cap_id = gpu.cap()["cap_id"]
    gpu.machine.run("systemctl", "stop", AGENT)
    assert gpu.limit_w() == PREVIOUS_W
    gpu.start()
    assert gpu.told(cap_id, "RESTORED") == ["ORDERED", "SET", "RESTORED"]
    assert gpu.limit_w() == PREVIOUS_W


@pytest.mark.parametrize("signal", ["KILL", "ABRT"])
def test_a_killed_agent_is_cleaned_up_after_and_the_next_goes_on(signal: str, gpu: Gpu) -> None:
    cap_id = gpu.cap()["cap_id"]
    gpu.drop_in("once", "Restart=no")
    try:
        gpu.machine.run("kill", f"-{signal}", gpu.machine.show(AGENT, "MainPID"))
        until(lambda: gpu.machine.show(AGENT, "ActiveState") == "failed" or None, "the end of the service")
        assert gpu.limit_w() == PREVIOUS_W, gpu.services.story()
    finally:
        gpu.drop_in("once", "")
    gpu.start()
    assert gpu.told(cap_id, "REAPPLIED") == ["ORDERED", "SET", "SUSPENDED", "REAPPLIED"]
    assert gpu.limit_w() == CAPPED_W
    gpu.services.ask("node", "uncap", gpu.node_id)
    assert gpu.limit_w() == PREVIOUS_W


def test_the_watchdogs_bite_is_a_crash_too(gpu: Gpu) -> None:
    cap_id = gpu.cap()["cap_id"]
    gpu.drop_in("short", "WatchdogSec=2")
    try:
        gpu.machine.run("systemctl", "restart", AGENT)  # a clean stop: the cap ends
        until(gpu.services.connected, "the agent's session")
        assert gpu.told(cap_id, "RESTORED") and gpu.limit_w() == PREVIOUS_W
        cap_id = gpu.cap()["cap_id"]
        hanging = gpu.machine.show(AGENT, "MainPID")
        gpu.machine.run("kill", "-STOP", hanging)
        until(lambda: gpu.machine.show(AGENT, "MainPID") not in (hanging, "0") or None, "a new agent")
    finally:
        gpu.drop_in("short", "")
        gpu.machine.run("systemctl", "daemon-reload")
    assert gpu.told(cap_id, "REAPPLIED")[-2:] == ["SUSPENDED", "REAPPLIED"]
    gpu.services.ask("node", "uncap", gpu.node_id)
    assert gpu.limit_w() == PREVIOUS_W
