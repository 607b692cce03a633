"""Fakes at the lowest layer: a driver library in C, a written /sys. All above them is the real code."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from heliotrope.agent.power.window import Seed, SensorMessage, Settings

HERE = Path(__file__).parent


class Scenario:
    """The file that drives the stub driver; :meth:`write` replaces it while readers run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lines: dict[str, list[str]] = {}
        self._number = itertools.count()

    def set(self, **values: Any) -> Scenario:
        """``gpu0__power_mw=250`` sets "gpu0.power_mw"; a list gives several lines, None removes the key."""
        for key, value in values.items():
            name = key.replace("__", ".")
            if value is None:
                self.lines.pop(name, None)
            else:
                self.lines[name] = [str(one) for one in (value if isinstance(value, list) else [value])]
        temporary = self.path.with_suffix(f".{next(self._number)}")
        temporary.write_text("".join(f"{key} {value}\n" for key, all_ in self.lines.items() for value in all_))
        temporary.replace(self.path)
        return self

    def limit_w(self, index: int) -> float:
        """The power limit of a GPU as its "hardware" has it, whoever set it; 0.0 while nobody has."""
        path = self.path.with_suffix(".limits")
        entry = path.read_bytes()[index * 16 : index * 16 + 15] if path.exists() else b""
        return int(entry.strip(b"\0 ") or 0) / 1e3

    def set_limit_w(self, index: int, limit_w: float) -> None:
        """Set it as somebody else would, or (0.0) as a reset does."""
        path = self.path.with_suffix(".limits")
        path.touch()
        with path.open("r+b") as file:
            file.seek(index * 16)
            file.write(f"{round(limit_w * 1e3):15d}\n".encode())

    def gpu(self, index: int, power_w: float, energy_j: float = 1000.0, **values: Any) -> Scenario:
        """A GPU whose counter stands at ``energy_j`` now and goes on with ``power_w``."""
        prefix = f"gpu{index}__"
        common = {"uuid": f"GPU-{index}", "power_mw": power_w * 1e3, "energy_mj": energy_j * 1e3}
        common["epoch_ns"] = time.monotonic_ns()
        common.update(values)
        count = max([index + 1, *(int(n) for n in self.lines.get("count", []))])
        return self.set(count=count, **{prefix + key: value for key, value in common.items()})


@pytest.fixture(scope="session")
def stub_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the stub libnvidia-ml.so.1."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler to build the stub driver with")
    folder = tmp_path_factory.mktemp("nvml")
    source, library = HERE / "stub_nvml.c", folder / "libnvidia-ml.so.1"
    subprocess.run([compiler, "-O1", "-shared", "-fPIC", "-o", library, source], check=True)
    return folder


@pytest.fixture
def scenario(tmp_path: Path, stub_library: Path, monkeypatch: pytest.MonkeyPatch) -> Scenario:
    """A scenario that child processes of this test see as their GPU driver."""
    monkeypatch.setenv("LD_LIBRARY_PATH", str(stub_library))
    monkeypatch.setenv("HELIOTROPE_NVML_SCENARIO", str(tmp_path / "scenario"))
    return Scenario(tmp_path / "scenario").set(count=0)


class Child:
    """A real sensor process, spoken to directly."""

    def __init__(self, settings: Settings) -> None:
        command = [sys.executable, "-m", "heliotrope.agent.power.child"]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self.process.stdin is not None
        self.process.stdin.write(msgspec.json.encode(settings) + b"\n")
        self.process.stdin.flush()

    def message(self) -> Any:
        """The next message; the pytest time limit ends a wait in vain."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, "the sensor ended without a message"
        return msgspec.json.decode(line, type=SensorMessage)

    def stop(self) -> int:
        """Ask it to end; its exit code."""
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.close()
        self.process.stdout.read()
        code = self.process.wait(20)
        self.process.stdout.close()
        return code


@pytest.fixture
def start_child(tmp_path: Path) -> Iterator[Callable[..., Child]]:
    """Starts sensor processes and ends them after the test."""
    children: list[Child] = []

    def start(*sources: str, seeds: dict[str, Seed] | None = None, sys_root: Path | None = None) -> Child:
        settings = Settings(
            rate_hz=20.0,
            flush_s=0.5,
            origin_s=time.monotonic(),
            sources=sources or ("nvml",),
            sys_root=os.fspath(sys_root or tmp_path / "sys"),
            seeds=seeds or {},
        )
        children.append(Child(settings))
        return children[-1]

    yield start
    for child in children:
        child.process.kill()
        child.process.wait()


@pytest.fixture
def sys_tree(tmp_path: Path) -> Callable[[dict[str, Any]], Path]:
    """Writes files below a folder that stands in for /sys; the values are their texts."""

    def write(files: dict[str, Any]) -> Path:
        root = tmp_path / "sys"
        root.mkdir(exist_ok=True)
        for name, text in files.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{text}\n")
        return root

    return write
