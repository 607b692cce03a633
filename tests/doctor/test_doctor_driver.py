"""The driver check in a process of its own, against a stub library in C, through the real nvidia-ml-py."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Tree = Callable[[dict[str, str]], Path]
Examine = Callable[..., dict[str, Any]]

BOARD = "bus/pci/devices/0000:0{n}:00.0"
SCRIPT = """
import json, sys
from pathlib import Path
from heliotrope.agent.doctor import driver, running
from heliotrope.agent.doctor.catalogue import Family
from heliotrope.agent.doctor.subject import Subject, installed_utc
subject = Subject(installed_utc=installed_utc(), sys_root=Path(sys.argv[1]))
found = running.run([Family("driver", float(sys.argv[2]), driver.findings)], subject)
print(json.dumps({one.check: [one.status, one.found, one.remedy, one.figures] for one in found}))
"""


@pytest.fixture(scope="session")
def driver_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the stub libnvidia-ml.so.1."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler to build the stub driver with")
    folder = tmp_path_factory.mktemp("driver")
    source, library = Path(__file__).with_name("driver_stub.c"), folder / "libnvidia-ml.so.1"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source], check=True)
    return folder


@pytest.fixture
def examine(driver_library: Path) -> Examine:
    """Finding name -> [status, found, remedy, figures]; the loader reads LD_LIBRARY_PATH at its start only."""

    def run(sys_root: Path, *, limit_s: float = 60.0, library: bool = True, **scenario: str) -> dict[str, Any]:
        variables = {f"DOCTOR_NVML_{name.upper()}": value for name, value in scenario.items()}
        path = {"LD_LIBRARY_PATH": str(driver_library)} if library else {}
        command = [sys.executable, "-c", SCRIPT, str(sys_root), str(limit_s)]
        done = subprocess.run(command, capture_output=True, env={**os.environ, **path, **variables}, check=True)
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    return run


def boards(count: int, module: str = "560.35.03") -> dict[str, str]:
    """Files of a /sys with so many NVIDIA GPUs, each with its audio function, and a loaded module."""
    files = {"module/nvidia/version": f"{module}\n"} if module else {}
    for number in range(count):
        place = BOARD.format(n=number)
        files |= {f"{place}/vendor": "0x10de\n", f"{place}/class": "0x030200\n"}
        sound = place.removesuffix("0") + "1"
        files |= {f"{sound}/vendor": "0x10de\n", f"{sound}/class": "0x040300\n"}
    return files


def test_a_driver_that_is_well(examine: Examine, tree: Tree) -> None:
    found = examine(tree(boards(2)), count="2")
    assert found["driver.library"][0] == found["driver.devices"][0] == "ok"
    assert found["driver.devices"][3] == {"device_count": 2, "board_count": 2}


def test_a_board_that_fell_off_the_bus(examine: Examine, tree: Tree) -> None:
    status, text, remedy, _ = examine(tree(boards(3)), count="2")["driver.devices"]
    assert status == "error" and "2 of 3" in text and "Xid" in remedy


def test_library_and_module_of_different_versions(examine: Examine, tree: Tree) -> None:
    root = tree(boards(1, module="550.54.15"))
    status, text, remedy, _ = examine(root, version="560.35.03")["driver.library"]
    assert status == "error" and "550.54.15" in text and "Reboot" in remedy
    assert examine(root, init="18")["driver.library"][0] == "error"  # what NVML itself says of it


def test_a_driver_that_hangs_is_cut_off(examine: Examine, tree: Tree) -> None:
    found = examine(tree(boards(1)), limit_s=2.0, hang="1")
    assert list(found) == ["driver.hang"] and found["driver.hang"][0] == "error"


@pytest.mark.skipif(Path("/dev/nvidiactl").exists(), reason="this machine has a driver of its own")
def test_no_library(examine: Examine, tree: Tree) -> None:
    status, text, remedy, _ = examine(tree(boards(1)), library=False)["driver.library"]
    assert status == "error" and "no libnvidia-ml.so.1" in text and "Install" in remedy


@pytest.mark.skipif(Path("/dev/nvidiactl").exists(), reason="this machine has a driver of its own")
def test_a_machine_without_gpus_needs_no_driver(examine: Examine, tree: Tree) -> None:
    assert examine(tree({"x": ""}), library=False)["driver.library"][0] == "skipped"


def test_device_files_that_may_not_be_opened(examine: Examine, tree: Tree) -> None:
    status, text, _, _ = examine(tree(boards(1)), init="4")["driver.library"]
    assert status == "error" and "may not open" in text
