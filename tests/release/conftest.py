"""Relocatable bundles, built as an operator builds them and unpacked where no builder would."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest

from . import sysroot

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


@pytest.fixture(scope="session")
def aarch64_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The libraries of an aarch64 machine; of the oldest system that is still to be had, glibc 2.31 as on JetPack 5."""
    reasons = []
    for suite in ("bullseye", "bookworm"):
        try:
            return sysroot.make(tmp_path_factory.mktemp(suite), suite)
        except sysroot.Unavailable as error:
            reasons.append(f"{suite}: {error}")
    pytest.skip(f"no libraries of aarch64: {'; '.join(reasons)}")


def _unpacked(arch: str, folder: Path) -> Path:
    place = folder / "a place with spaces"
    with tarfile.open(_archive(arch, folder)) as archive:
        archive.extractall(place, filter="data")
    return place / "heliotrope"


def _archive(arch: str, folder: Path) -> Path:
    """The one in the folder that HELIOTROPE_BUNDLES names, so that what is released can be tested; else a new one."""
    if given := os.environ.get("HELIOTROPE_BUNDLES"):
        (found,) = (ROOT / given).glob(f"heliotrope-*-linux-{arch}.tar.gz")
        return found
    if find_spec("ziglang") is None:
        pytest.skip("ziglang is not installed: make test-bundle does that")
    if shutil.which("apt-get") is None:
        pytest.skip("Python's sources come from Debian's archive, and there is no apt-get here")
    # What is tested here is not released: a mirror that lags behind its security updates is no fault of ours.
    command = [sys.executable, "-m", "release", "--arch", arch, "--output", str(folder), "--accept-outdated"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=BUILD_TIMEOUT_S, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return Path(done.stdout.strip().splitlines()[-1])
