"""A fleet of real processes with every kind of metrics port, a job that was moved, and one without a place."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from fleet_driver import Operator, tiny_spec, two_nodes
from fleet_scrapes import ROOT, TOKEN, Scrape, Watched

from heliotrope.cli.demo.fleet import LocalFleet, free_port
from heliotrope.foundation import authority
from heliotrope.foundation.identity import Role
from heliotrope.foundation.jobspec import Resources
from heliotrope.v1 import operator_pb2 as pb

STUB = ROOT / "tests" / "agent_power" / "stub_nvml.c"


@pytest.fixture(scope="session")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The stub driver of tests/agent_power with one GPU that draws 100 W and takes limits."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler to build the stub driver with")
    folder = tmp_path_factory.mktemp("nvml")
    subprocess.run([compiler, "-O1", "-shared", "-fPIC", "-o", folder / "libnvidia-ml.so.1", STUB], check=True)
    gpu = {"uuid": "GPU-0", "power_mw": 100_000, "energy_mj": 1_000_000, "epoch_ns": time.monotonic_ns()}
    lines = [f"gpu0.{name} {value}\n" for name, value in gpu.items()]
    (folder / "scenario").write_text("".join(["count 1\n", *lines, "gpu0.limit_range_mw 100000 700000\n"]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LD_LIBRARY_PATH", str(folder))
        patch.setenv("HELIOTROPE_NVML_SCENARIO", str(folder / "scenario"))
        yield


@pytest.fixture(scope="session")
def fleet(driver: None) -> Iterator[LocalFleet]:
    """The coordinator asks for a fleet's certificate, ``b`` for a token, ``a`` listens on loopback for anybody."""
    with tempfile.TemporaryDirectory(prefix="ht-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        with two_nodes(folder) as made:
            ca = authority.open(folder / "ca")
            for who, role in (("prometheus", Role.OBSERVER), ("stolen", Role.OBSERVER), ("other", Role.AGENT)):
                ca.issue(role, who).save(folder / "identities" / who)
            token = folder / "token"
            token.write_text(f"{TOKEN}\n")
            token.chmod(0o600)
            write_trace(folder / "intensity.csv")
            edit(made, "coordinator", {"listen": address(), "tls": "mutual"})
            edit(made, "a", {"listen": address()})
            edit(made, "b", {"listen": address(), "tls": "server", "token_file": "token"})
            made.start_all()
            yield made


@pytest.fixture(scope="session")
def watched(fleet: LocalFleet) -> Watched:
    """After a move, with the stub's GPU capped on node b, where the job holds it without using it."""
    urls = {}
    for member in fleet.members.values():
        metrics = json.loads(member.config.read_text())["metrics"]
        scheme = "https" if metrics.get("tls") else "http"
        urls[member.name] = f"{scheme}://{metrics['listen']}/metrics"
    found = Watched(fleet, urls)
    operator = Operator(fleet)
    operator.nodes_connected()
    steps = ("--steps", "100000", "--step-s", "0.05", "--state-kb", "64", "--checkpoint-every", "20")
    spec = tiny_spec(*steps, disconnect="stop", lease_s=60.0)
    operator.submit(msgspec.structs.replace(spec, resources=Resources(gpu_count=1)))
    greedy = msgspec.structs.replace(spec, name="greedy", resources=Resources(gpu_count=8))
    operator.submit(greedy)
    operator.reached(2)
    assert operator.migration_ended(operator.move("east")) == "COMMITTED"
    operator.reached(3)
    request = pb.CapNodeRequest(request_id="cap", node_id="b", limit_w=300.0, message="hot day")
    request.lifetime.FromSeconds(1000)
    operator.stub.CapNode(request)
    found.until("b", lambda scrape: bool(scrape.values(*HELD)), "energy of the job that holds the GPU")
    found.until("coordinator", lambda scrape: scrape.values("heliotrope_site_energy_joules_total") != [], "energy")
    found.until("coordinator", lambda scrape: scrape.values("heliotrope_fleet_jobs_unplaced") != [], "waiting job")
    return found


HELD = ("heliotrope_job_energy_joules_total",)


@pytest.fixture(scope="session")
def scrapes(watched: Watched) -> dict[str, Scrape]:
    """Of every member."""
    return {name: watched.scrape(name) for name in watched.urls}


def edit(fleet: LocalFleet, name: str, metrics: dict[str, str]) -> None:
    path = fleet.members[name].config
    config = json.loads(path.read_text())
    config["metrics"] = metrics
    if name == "coordinator":
        config["ledger"] = {"interval_s": 2.0, "grace_s": 1.0}  # sites' sums count what is closed
        config["sites"][0]["intensity"] = {"file": "intensity.csv", "zone": "west", "unit": "g_per_kwh"}
        del config["sites"][0]["grid_intensity_g_per_kwh"]
    path.write_text(json.dumps(config))


def address() -> str:
    return f"127.0.0.1:{free_port()}"


def write_trace(path: Path) -> None:
    """Hours from yesterday to the day after tomorrow, with a dirty evening, so that there is a next window."""
    start = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(days=1)
    hours = [start + timedelta(hours=hour) for hour in range(96)]
    rows = [f"{hour:%Y-%m-%dT%H:%M:%SZ},{600 if 60 <= number < 64 else 300}\n" for number, hour in enumerate(hours)]
    path.write_text("".join(["time_utc,west\n", *rows]))
