"""Relocatable bundles, built as an operator builds them and unpacked where no builder would."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BUILD_TIMEOUT_S = 1800


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Gives the unpacked bundle for a kind of machine, built at the first call."""
    made: dict[str, Path] = {}

    def get(arch: str) -> Path:
        if arch not in made:
            made[arch] = _unpacked(arch, tmp_path_factory.mktemp(arch))
        return made[arch]

    return get


def _unpacked(arch: str, folder: Path) -> Path:
    if find_spec("ziglang") is None:
        pytest.skip("ziglang is not installed: make test-bundle does that")
    if shutil.which("apt-get") is None:
        pytest.skip("Python's sources come from Debian's archive, and there is no apt-get here")
    # What is tested here is not released: a mirror that lags behind its security updates is no fault of ours.
    command = [sys.executable, "-m", "release", "--arch", arch, "--output", str(folder), "--accept-outdated"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=BUILD_TIMEOUT_S, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    place = folder / "a place with spaces"
    with tarfile.open(done.stdout.strip().splitlines()[-1]) as archive:
        archive.extractall(place, filter="data")
    return place / "heliotrope"
