"""What the benchmarks share: the machine in words, medians with their spread, and the printed object."""

from __future__ import annotations

import argparse
import json
import os
import platform
import shlex
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from heliotrope.native import kernels

FEWEST_RUNS = 5

Row = dict[str, Any]


def options(description: str | None) -> argparse.ArgumentParser:
    """A parser with what every benchmark takes."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of lines")
    parser.add_argument("--runs", type=_runs, default=FEWEST_RUNS, help=f"at least {FEWEST_RUNS} (default)")
    return parser


def machine() -> Row:
    """What the figures depend on."""
    return {
        "processor": _processor(),
        "cpu_count": len(os.sched_getaffinity(0)),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
        "heliotrope": metadata.version("heliotrope"),
        "kernels": kernels(),
        "load_average": os.getloadavg()[0],
    }


def figures(name: str, samples: Sequence[float]) -> dict[str, float]:
    """The median under ``name``, the lowest and highest beside it, to four digits: more would be noise."""
    found = {name: statistics.median(samples), f"{name}_min": min(samples), f"{name}_max": max(samples)}
    return {name: float(f"{value:.4g}") for name, value in found.items()}


def seconds(work: Callable[[], object]) -> float:
    """How long ``work`` takes once."""
    start_s = time.perf_counter()
    work()
    return time.perf_counter() - start_s


def in_turns(works: Mapping[str, Callable[[], object]], runs: int) -> dict[str, list[float]]:
    """Seconds of each work, ``runs`` times; one round of all, then the next. One round before does not count."""
    found: dict[str, list[float]] = {name: [] for name in works}
    for work in works.values():
        work()
    for _ in range(runs):
        for name, work in works.items():
            found[name].append(seconds(work))
    return found


def show(rows: Sequence[Row], as_json: bool) -> None:
    """Print the object, or a line per row for people."""
    if as_json:
        command = shlex.join(["python", "-m", f"benchmarks.{Path(sys.argv[0]).stem}", *sys.argv[1:]])
        print(json.dumps({"machine": machine(), "command": command, "rows": list(rows)}, indent=1))
        return
    for row in rows:
        print("  ".join(f"{name}={_text(value)}" for name, value in row.items() if value is not None))


def _text(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _runs(text: str) -> int:
    if not text.isdigit() or int(text) < FEWEST_RUNS:
        raise argparse.ArgumentTypeError(f"{text} is too few to give a spread; use {FEWEST_RUNS} or more")
    return int(text)


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or "unknown"
