"""One coordinator under many agents: how long until a batch of energy is committed and acknowledged, and what it costs.

``python -m benchmarks.fleet [--json] [--agents N ...] [--period-s S] [--seconds S]``. The coordinator is the real
process; the agents are real sessions over mutual TLS, one certificate and connection each, that send a heartbeat and
a batch each period (benchmarks/fleet_agents.py), from this machine too: they take a good part of its processors, so
the figures are worse than with agents elsewhere. ``p50_s``, ``p99_s``: from sending a batch to its acknowledgement,
which comes after the commit is on disk; ``heartbeat_p99_s``: a round trip without a commit.
``rss_bytes_per_agent``: what the coordinator grew by.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil

from heliotrope.cli.demo.fleet import COORDINATOR, LocalFleet

from . import measure
from .fleet_agents import names
from .measure import Row

SITE: dict[str, Any] = {
    "name": "here",
    "latitude": 52.5,
    "longitude": 13.4,
    "grid_intensity_g_per_kwh": 300.0,
    "window": {"rule": "intensity_below", "threshold": 500.0},
}
FILES_PER_AGENT, FILES_BESIDE = 4, 1000


def main() -> None:
    parser = measure.options(__doc__)
    parser.add_argument("--agents", type=int, nargs="+", default=[100, 1000], help="how many (default 100 1000)")
    parser.add_argument("--period-s", type=float, default=10.0, help="between two batches of an agent (default 10)")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long to measure (default 60)")
    arguments = parser.parse_args()
    rows = []
    for count in arguments.agents:
        _allow_files(count * FILES_PER_AGENT + FILES_BESIDE)
        with tempfile.TemporaryDirectory(prefix="heliotrope-fleet-") as name:
            rows.append(_row(Path(name), count, arguments))
            print(rows[-1], file=sys.stderr, flush=True)
    measure.show(rows, arguments.json)


def _row(folder: Path, count: int, arguments: argparse.Namespace) -> Row:
    nodes = dict.fromkeys(names(count), SITE["name"])
    fields = {"heartbeat_interval_s": arguments.period_s}
    with LocalFleet(folder, sites=[SITE], nodes=nodes, coordinator=fields) as fleet:
        fleet.prepare()
        fleet.start(COORDINATOR)
        process = fleet.members[COORDINATOR].process
        assert process is not None
        coordinator = psutil.Process(process.pid)
        empty_bytes = coordinator.memory_info().rss
        found, cpu_s = _under_load(fleet, coordinator, count, arguments)
        grown_bytes = coordinator.memory_info().rss - empty_bytes
    batches_s, heartbeats_s = sorted(found["batch_s"]), sorted(found["heartbeat_s"])
    return {
        "agents": count,
        "period_s": arguments.period_s,
        "seconds": arguments.seconds,
        "batches": len(batches_s),
        **{f"p{percent}_s": _quantile(batches_s, percent) for percent in (50, 99)},
        **{f"heartbeat_p{percent}_s": _quantile(heartbeats_s, percent) for percent in (50, 99)},
        "cpu_ratio": cpu_s / arguments.seconds,
        "rss_bytes_per_agent": round(grown_bytes / count),
    }


def _under_load(
    fleet: LocalFleet, coordinator: psutil.Process, count: int, arguments: argparse.Namespace
) -> tuple[dict[str, list[float]], float]:
    """What the agents saw, and the processor time that the coordinator took meanwhile."""
    words = ["--address", fleet.address, "--folder", str(fleet.folder / "identities"), "--site", SITE["name"]]
    words += ["--count", str(count), "--period-s", str(arguments.period_s), "--seconds", str(arguments.seconds)]
    command = [sys.executable, "-m", "benchmarks.fleet_agents", *words]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as agents:
        assert agents.stdin is not None
        assert agents.stdout is not None
        if agents.stdout.readline() != "ready\n":
            raise SystemExit(f"the agents did not get ready; the coordinator's log ends:\n{fleet.tail(COORDINATOR)}")
        before = coordinator.cpu_times()
        agents.stdin.write("go\n")
        agents.stdin.flush()
        answer = agents.stdout.readline()
        after = coordinator.cpu_times()
        agents.terminate()
    found: dict[str, list[float]] = json.loads(answer)
    return found, after.user + after.system - before.user - before.system


def _quantile(ordered: Sequence[float], percent: int) -> float:
    """By the nearest rank; four digits, more would be noise."""
    return float(f"{ordered[min(len(ordered) - 1, len(ordered) * percent // 100)]:.4g}")


def _allow_files(count: int) -> None:
    """Two processes hold a connection per agent each; both inherit the limit."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < count:
        raise SystemExit(f"{count} files are needed, {hard} are allowed; raise `ulimit -Hn` or take fewer --agents")
    resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))


if __name__ == "__main__":
    main()
