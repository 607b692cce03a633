"""The C core by itself, on this processor and, where a cross compiler and qemu-user are installed, on aarch64: the
same golden vectors, and every kernel against the reference."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent
SOURCES = HERE.parents[1] / "native"
MACHINES = {
    "here": (("cc",), ()),
    "aarch64": (("aarch64-linux-gnu-gcc", "-static"), ("qemu-aarch64", "qemu-aarch64-static")),
}


# An emulated processor takes a minute for each: a part of the long matrices.
PARAMS = ["here", pytest.param("aarch64", marks=[pytest.mark.slow, pytest.mark.timeout(600)])]


@pytest.fixture(scope="module", params=PARAMS)
def program(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The command that runs the check, built once for each machine."""
    compiler, emulators = MACHINES[request.param]
    if shutil.which(compiler[0]) is None:
        pytest.skip(f"{compiler[0]} is not installed")
    emulator = [name for name in emulators if shutil.which(name)][:1]
    if emulators and not emulator:
        pytest.skip(f"{emulators[0]} is not installed")
    built = tmp_path_factory.mktemp("foreign") / "foreign_check"
    sources = [HERE / "foreign_check.c", *sorted(SOURCES.glob("*.c"))]
    flags = ["-O2", "-std=c11", "-Wall", "-Wextra", "-Werror", f"-I{SOURCES}"]
    subprocess.run([*compiler, *flags, *map(str, sources), "-o", str(built)], check=True)
    return [*emulator, str(built)]


@pytest.mark.parametrize("kernel", ["scalar", "auto"])
def test_the_core_agrees_on_every_processor(program: list[str], kernel: str) -> None:
    golden = sorted(map(str, (HERE / "golden").glob("*.hex")))
    done = subprocess.run([*program, kernel, *golden], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.endswith(": 0 failures\n")) == (0, True), done.stdout + done.stderr
