"""The bundle for aarch64 under qemu-user: it starts, computes with NEON, and codes the same bytes as this processor."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(2400)]

ROOT = Path(__file__).resolve().parents[2]
EMULATORS = ("qemu-aarch64", "qemu-aarch64-static")
FRAMES = """
import hashlib, json, random
from heliotrope import native
random.seed(5)
frames = []
for width in (1, 2, 4, 8):
    base = bytes(min(255, int(random.expovariate(0.05))) for _ in range(40_000))
    data = bytes(byte ^ (random.random() < 0.1) for byte in base)
    for reference in (None, base):
        chunk = native.Chunk(data, width=width, base=reference)
        (frame,) = native.encode([chunk])
        frames.append(hashlib.sha256(frame).hexdigest())
print(json.dumps({"kernels": native.kernels(), "frames": frames}))
"""


@pytest.fixture(scope="module")
def python(bundle: Callable[[str], Path], aarch64_root: Path) -> list[str]:
    """The command that is the bundle's interpreter, emulated."""
    emulator = next(filter(None, map(shutil.which, EMULATORS)), None)
    if emulator is None:
        pytest.skip(f"{EMULATORS[0]} is not installed")
    return [emulator, "-L", str(aarch64_root), str(bundle("aarch64") / "bin" / "python3"), "-I"]


def run(command: list[str], *arguments: str, **environment: str) -> str:
    """Output of the emulated program."""
    done = subprocess.run([*command, *arguments], env=environment, cwd="/", capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_it_starts_and_both_daemons_load(python: list[str]) -> None:
    version = json.loads((Path(python[3]).parents[1] / "MANIFEST.json").read_text())["heliotrope"]
    assert run(python, "-m", "heliotrope.cli", "--version").split()[-1] == version
    source = (
        "import heliotrope.agent.daemon, heliotrope.coordinator.daemon, pynvml, platform; print(platform.machine())"
    )
    assert run(python, "-c", source).strip() == "aarch64"


def test_it_computes_with_neon_and_codes_the_same_frames(python: list[str]) -> None:
    there, here = json.loads(run(python, "-c", FRAMES)), json.loads(run([sys.executable], "-c", FRAMES))
    assert "neon" in there["kernels"].values()
    assert platform.machine() != "x86_64" or "neon" not in here["kernels"].values()
    assert there["frames"] == here["frames"]


def test_the_native_tests_pass_there(python: list[str], tmp_path: Path) -> None:
    """The very tests of tests/native, by the bundle's interpreter; what they need besides comes from wheels."""
    packages = tmp_path / "packages"
    tags = ["--platform=manylinux2014_aarch64", "--platform=manylinux_2_17_aarch64", "--only-binary=:all:"]
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-compile"]
    wanted = ["pytest", "pytest-timeout", "hypothesis"]
    minor = next((Path(python[3]).parents[1] / "lib").glob("python3.*")).name.removeprefix("python")
    subprocess.run(
        [*pip, "--target", str(packages), *tags, "--implementation=cp", f"--python-version={minor}", *wanted],
        check=True,
        env={**os.environ},
    )
    shutil.copytree(ROOT / "tests" / "native", tmp_path / "tests" / "native")
    start = f"import sys; sys.path.insert(0, {str(packages)!r}); import pytest; sys.exit(pytest.main(sys.argv[1:]))"
    chosen = ["frames", "golden", "kernels", "malformed", "boundaries"]
    files = [str(tmp_path / "tests" / "native" / f"test_native_{name}.py") for name in chosen]
    # qemu-user aborts in a thread that a forked child starts; CI=true is Hypothesis' profile without deadlines.
    options = ["--rootdir", str(tmp_path), "-q", "--timeout=900", "-p", "no:cacheprovider", "-k", "not forked_child"]
    said = run(python, "-c", start, *options, *files, CI="true")
    assert " passed" in said and "failed" not in said, said
