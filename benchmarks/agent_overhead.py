"""What watching eight GPUs costs the node: Heliotrope's agent, and the monitors that others use, one after the other.

    python -m benchmarks.agent_overhead --json --peers PYTHON

Rows: ``tool``, ``rate_hz`` (readings per second and GPU that were asked for), ``cpu_ratio`` (of one core, all processes
of the tool, child processes included), ``rss_bytes``, ``pss_bytes``, ``uss_bytes``. Medians of at least five windows on
end, lowest and highest beside them. The driver is the tests' stub, whose calls take as long as real ones
(``stub_driver.py``): ``driver_us`` says how long. ``PYTHON`` is an interpreter that has the peers, each its newest:

    python -m venv /tmp/peers && /tmp/peers/bin/pip install zeus codecarbon nvitop-exporter

Each runs twice: at the rate of the agent, and at its own default, which costs less and sees less. Not compared: DCGM's
exporter, Kepler and Alumet (no Python packages, and DCGM's host engine wants a real driver), jetson-stats (a Jetson).
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

from . import measure, overhead_tools, process_cost
from .measure import Row
from .process_cost import Processes
from .stub_driver import CALL_US, CALLS_US, GPU_COUNT, StubDriver, Unavailable

AGENT_HZ = 10.0
HIGHEST_HZ = {"nvitop-exporter": 4.0}  # it refuses more; the others are asked for the agent's rate
DEFAULTS_HZ = {"codecarbon": 1 / 15, "nvitop-exporter": 1.0}
SETTLE_S = 15.0  # imports, the first readings, the backlog of the start

Start = Callable[[StubDriver], AbstractContextManager[Processes]]


def main() -> None:
    parser = measure.options(__doc__)
    parser.add_argument("--window-s", type=float, default=10.0, help="length of one of the --runs windows (10)")
    parser.add_argument("--peers", type=Path, default=Path(sys.executable), help="a Python that has the peers")
    parser.add_argument("--only", help="only tools whose name begins so")
    arguments = parser.parse_args()
    measure.show(list(rows(arguments)), arguments.json)


def rows(arguments: argparse.Namespace) -> Iterator[Row]:
    for tool, rate_hz, start in _tools(arguments.peers):
        if arguments.only and not tool.startswith(arguments.only):
            continue
        row: Row = {"tool": tool, "rate_hz": round(rate_hz, 4), "gpu_count": GPU_COUNT}
        row["driver_us"] = {"other": CALL_US, **CALLS_US}
        try:
            yield row | _measured(start, arguments.window_s, arguments.runs)
        except Unavailable as error:
            yield row | {"missing": str(error)}


def _tools(python: Path) -> Iterator[tuple[str, float, Start]]:
    for name, job_count in (("heliotrope-agent", 0), ("heliotrope-agent, 4 jobs", overhead_tools.JOB_COUNT)):
        yield name, AGENT_HZ, _agent(job_count)
    for name in overhead_tools.PEERS:
        highest_hz = HIGHEST_HZ.get(name, AGENT_HZ)
        yield name, highest_hz, _peer(name, python, highest_hz)
        if name in DEFAULTS_HZ:
            yield name, DEFAULTS_HZ[name], _peer(name, python, DEFAULTS_HZ[name])


def _agent(job_count: int) -> Start:
    return lambda driver: overhead_tools.agent(driver.folder / "fleet", driver, job_count=job_count)


def _peer(name: str, python: Path, rate_hz: float) -> Start:
    return lambda driver: overhead_tools.peer(name, python, driver, period_s=1 / rate_hz)


def _measured(start: Start, window_s: float, runs: int) -> Row:
    with (
        tempfile.TemporaryDirectory(prefix="ht-", ignore_cleanup_errors=True) as name,
        start(StubDriver(Path(name))) as processes,
    ):
        time.sleep(SETTLE_S)
        ratios = list(process_cost.cpu_ratios(processes, window_s=window_s, runs=runs))
        memory = process_cost.memory_bytes(processes)
        if not memory["rss"]:
            raise Unavailable("it ended while it was measured")
        found: Row = measure.figures("cpu_ratio", ratios)
        found |= {f"{kind}_bytes": size_bytes for kind, size_bytes in memory.items()}
        return found | {"process_count": len(processes()), "runs": runs, "window_s": window_s}


if __name__ == "__main__":
    main()
