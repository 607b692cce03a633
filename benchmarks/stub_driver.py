"""A machine with eight GPUs where there is none: the tests' stub driver, with the time that a real driver's calls take.

What the calls cost is the whole question of a benchmark of monitors, so the figures have sources, and are high rather
than low. They are processor time here: a driver whose calls sleep while the GPU's own controller answers is cheaper.

- energy, power, utilisation, any other: 40 to 50 us each, running processes 500 us: the costs that codecarbon's own
  benchmark of eight simulated GPUs assumes (mlco2/codecarbon pull request 1264, June 2026)
- for comparison: five queries of an RTX 5080 in 90 us together (davidboulay/OpenKraken pull request 3, July 2026), 365
  us for a power query of a Tesla K40m (wookayin/gpustat issue 76, 2020)
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[1] / "tests" / "agent_power" / "stub_nvml.c"
GPU_COUNT = 8
POWER_W = 300.0
CALL_US = 50
CALLS_US = {"values": 40, "energy_call": 40, "power_call": 45, "processes": 500, "utilization": 50}


class Unavailable(Exception):
    """Why it cannot be built here."""


class StubDriver:
    """The library in ``folder``, and the file that says what its GPUs do."""

    def __init__(self, folder: Path) -> None:
        compiler = shutil.which("cc") or shutil.which("gcc")
        if compiler is None:
            raise Unavailable("no C compiler to build the stub driver with")
        self.folder = folder
        self._scenario = folder / "scenario"
        self._epoch_ns = time.monotonic_ns()
        library = folder / "libnvidia-ml.so.1"
        subprocess.run([compiler, "-O1", "-shared", "-fPIC", "-o", library, SOURCE], check=True)
        self.busy([])

    @property
    def environment(self) -> dict[str, str]:
        """This process's, with the stub as the driver."""
        return {
            **os.environ,
            "LD_LIBRARY_PATH": str(self.folder),
            "HELIOTROPE_NVML_SCENARIO": str(self._scenario),
        }

    def busy(self, pids: Sequence[int]) -> None:
        """All GPUs at the same power; each of ``pids`` uses two of them."""
        lines = [f"count {GPU_COUNT}", f"cost_us {CALL_US}"]
        lines += [f"cost_us.{name} {cost_us}" for name, cost_us in CALLS_US.items()]
        for index in range(GPU_COUNT):
            values = {
                "uuid": uuid(index),
                "power_mw": POWER_W * 1e3,
                "energy_mj": 10**9,
                "epoch_ns": self._epoch_ns,
            }
            lines += [f"gpu{index}.{key} {value}" for key, value in values.items()]
            lines += [f"gpu{index}.process {pid} 8589934592 60" for pid in pids[index // 2 : index // 2 + 1]]
        temporary = self._scenario.with_suffix(".new")
        temporary.write_text("\n".join(lines) + "\n")
        temporary.replace(self._scenario)


def uuid(index: int) -> str:
    return f"GPU-{index:08d}-0000-0000-0000-000000000000"
