"""The wheel: what a user gets, installed into an environment that knows nothing of this checkout."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from .tree import ROOMS, ROOT, pyproject, tracked

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

SHIPPED = (".conf", ".proto", ".py", ".pyi", ".service")
PROBE = """
import json
import heliotrope.agent.daemon, heliotrope.coordinator.daemon
import heliotrope.native as native, heliotrope.native._core as core
print(json.dumps([native.__file__, core.__file__, heliotrope.agent.daemon.__file__, native.kernels()]))
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy of what git has, so that what lies around here cannot slip in."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for path in tracked():
        copy = source / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, copy, follow_symlinks=False)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "--quiet"]
    subprocess.run([*pip, "--no-deps", "--no-build-isolation", "--wheel-dir", str(target), str(source)], check=True)
    (built,) = target.glob("heliotrope-*.whl")
    return built


def names(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_the_wheel_holds_what_runs(wheel: Path) -> None:
    held = names(wheel)
    assert any(name.startswith("heliotrope/native/_core.") and name.endswith(".so") for name in held)
    for room, package in ROOMS.items():
        folder = package.replace(".", "/")
        wanted = {
            f"{folder}/{path.relative_to(ROOT / room).as_posix()}"
            for path in (ROOT / room).rglob("*")
            if path.suffix in SHIPPED or path.name == "py.typed"
        }
        assert wanted and not wanted - held


def test_the_wheel_holds_nothing_else(wheel: Path) -> None:
    held = names(wheel)
    assert not [name for name in held if name.endswith((".c", ".h", ".pyx", ".o", ".pyc"))]
    info = f"heliotrope-{pyproject()['project']['version']}.dist-info/"
    tops = tuple(f"{package.replace('.', '/')}/" for package in ROOMS.values())
    assert not [name for name in held if not name.startswith((*tops, info))]
    assert f"{info}licenses/LICENSE" in held


def test_the_wheel_runs_where_only_it_is_installed(wheel: Path, tmp_path: Path) -> None:
    """Its dependencies are lent by this environment, so that no network is needed; the package is the wheel's alone."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "venv")], check=True)
    python = tmp_path / "venv" / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", f"--python={python}", "install", "--quiet"]
    subprocess.run([*pip, "--no-deps", "--no-index", str(wheel)], check=True)
    (site,) = (tmp_path / "venv" / "lib").glob("python*/site-packages")
    (site / "lent.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    quiet = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "HELIOTROPE_"))}

    def output(*command: str) -> str:
        return subprocess.run(command, check=True, capture_output=True, text=True, cwd=tmp_path, env=quiet).stdout

    version = output(str(python.with_name("heliotrope")), "--version")
    assert version == f"heliotrope {pyproject()['project']['version']}\n"
    *files, kernels = json.loads(output(str(python), "-c", PROBE))
    assert all(Path(file).is_relative_to(site) for file in files)
    assert kernels
