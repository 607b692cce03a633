"""Another local account, an interpreter that it may run, and a folder that it may pass through."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from fleet_driver import TINY_JOB, Truth, plain_environment

STRANGER = "nobody"


def _runs_as_stranger(python: str) -> bool:
    try:
        done = subprocess.run([python, "-c", ""], user=STRANGER, group=_gid(), extra_groups=[], check=False)
    except OSError:
        return False
    return done.returncode == 0


def _gid() -> int:
    return pwd.getpwnam(STRANGER).pw_gid


@pytest.fixture(scope="session")
def stranger_python() -> str:
    """An interpreter that the account may execute (ours may lie in a private home folder). Skips without root."""
    if os.geteuid() != 0:
        pytest.skip("only root can start a job as another account")
    candidates = [sys.executable, *(found for name in ("python3", "python") if (found := shutil.which(name)))]
    candidates += [path for path in ("/usr/bin/python3", "/usr/local/bin/python3") if Path(path).exists()]
    found = next((python for python in dict.fromkeys(candidates) if _runs_as_stranger(python)), None)
    if found is None:
        pytest.skip(f"no Python that {STRANGER} may run")
    return found


@pytest.fixture
def folder() -> Iterator[Path]:
    """As a state's folder should be: others pass through it and list nothing."""
    with tempfile.TemporaryDirectory(prefix="ht-", ignore_cleanup_errors=True) as name:
        Path(name).chmod(0o711)
        yield Path(name)


@pytest.fixture
def truth(tmp_path: Path) -> Truth:
    """Digests of uninterrupted runs of the tiny job, as a plain program."""

    def digest(arguments: tuple[str, ...]) -> str:
        result = tmp_path / "result.json"
        command = [sys.executable, str(TINY_JOB), *arguments, "--result", str(result)]
        subprocess.run(command, check=True, cwd=tmp_path, env=plain_environment())
        return str(json.loads(result.read_text())["parameters_digest"])

    return digest
