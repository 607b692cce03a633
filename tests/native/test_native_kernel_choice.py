"""HELIOTROPE_KERNEL: what is demanded runs, or the import fails and says why."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

from heliotrope.native import kernels

OPERATIONS = {"split", "merge", "histogram", "boundaries"}
OPERATIONS |= {"huffman_encode", "huffman_decode", "ans_encode", "ans_decode"}
FOREIGN = "neon" if platform.machine() == "x86_64" else "avx2"


def import_with(kernel: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "from heliotrope.native import kernels; print(sorted(set(kernels().values())))"],
        env={**os.environ, "HELIOTROPE_KERNEL": kernel},
        capture_output=True,
        text=True,
        check=False,
    )


def test_every_operation_names_its_kernel() -> None:
    assert set(kernels()) == OPERATIONS
    assert set(kernels().values()) <= {"scalar", "avx2", "neon"}


def test_a_demanded_scalar_kernel_runs_everywhere() -> None:
    done = import_with("scalar")
    assert (done.returncode, done.stdout.strip()) == (0, "['scalar']")


@pytest.mark.parametrize("kernel", ["", "auto"])
def test_without_a_demand_the_fastest_runs(kernel: str) -> None:
    assert import_with(kernel).returncode == 0


@pytest.mark.parametrize("kernel", [FOREIGN, "altivec"])
def test_a_demand_that_cannot_be_met_fails_the_import(kernel: str) -> None:
    done = import_with(kernel)
    assert done.returncode != 0
    assert "KernelUnavailable: cannot load heliotrope.native: HELIOTROPE_KERNEL" in done.stderr
    assert repr(kernel) in done.stderr
