"""Fleets of real processes for the tests of this folder."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import fleet_driver
import pytest


@pytest.fixture
def folder() -> Iterator[Path]:
    """A short path: unix sockets live below it."""
    with tempfile.TemporaryDirectory(prefix="ht-", ignore_cleanup_errors=True) as name:
        yield Path(name)


@pytest.fixture(scope="session")
def truth(tmp_path_factory: pytest.TempPathFactory) -> fleet_driver.Truth:
    """Digests of uninterrupted runs, made once per set of arguments by running the job as a plain program."""
    folder = tmp_path_factory.mktemp("truth")

    def digest(arguments: tuple[str, ...]) -> str:
        name = "-".join(arguments).replace("/", "_")
        result = folder / f"{name}.json"
        if not result.exists():
            command = [sys.executable, str(fleet_driver.TINY_JOB), *arguments, "--result", str(result)]
            subprocess.run(command, check=True, cwd=folder, env=fleet_driver.plain_environment())
        return str(json.loads(result.read_text())["parameters_digest"])

    return digest
