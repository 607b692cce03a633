"""Jobs of real frameworks: they run by an interpreter of their own that has PyTorch, ours has none."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from fleet_driver import ROOT, plain_environment

from heliotrope.agent.jobs import pythonpath
from heliotrope.examples import collect_corpus

from .moving import Truth

EXAMPLES = ROOT / "examples"
ANY_PYTHON = (os.environ.get("HELIOTROPE_TORCH_PYTHON", ""), str(ROOT / ".venv-torch/bin/python"), sys.executable)


@pytest.fixture(scope="session")
def torch_python() -> str:
    """An interpreter that can import what the examples import."""
    for python in filter(None, ANY_PYTHON):
        asked = [python, "-c", "import numpy, safetensors.torch, torch"]
        if Path(python).exists() and subprocess.run(asked, check=False, capture_output=True).returncode == 0:
            return python
    pytest.skip(
        "no interpreter has torch and safetensors; `make test-frameworks` makes one, or name one in "
        "HELIOTROPE_TORCH_PYTHON"
    )


@pytest.fixture
def folder() -> Iterator[Path]:
    """A short path: unix sockets live below it."""
    with tempfile.TemporaryDirectory(prefix="ht-", ignore_cleanup_errors=True) as name:
        yield Path(name)


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What travels with every job of these tests: the examples and a short text."""
    corpus = tmp_path_factory.mktemp("corpus") / "corpus.txt"
    collect_corpus.collect(corpus, limit_bytes=30_000)
    names = sorted(path for path in EXAMPLES.glob("*torch*") if path.suffix in (".py", ".sh"))
    return {"corpus.txt": corpus.read_bytes(), **{path.name: path.read_bytes() for path in names}}


@pytest.fixture(scope="session")
def truth(tmp_path_factory: pytest.TempPathFactory, torch_python: str, files: dict[str, bytes]) -> Truth:
    """Digests of uninterrupted runs, each made once by running the command as a plain program."""
    return partial(_digest, {}, tmp_path_factory.mktemp("truth"), files)


def _digest(known: dict[tuple[str, ...], str], folder: Path, files: dict[str, bytes], *command: str) -> str:
    if command not in known:
        work = folder / str(len(known))
        work.mkdir()
        for name, data in files.items():
            (work / name).write_bytes(data)
        environment = {**plain_environment(), "PYTHONPATH": str(pythonpath.install(folder / "pythonpath"))}
        subprocess.run(command, check=True, cwd=work, env=environment, timeout=120)
        known[command] = str(json.loads((work / "result.json").read_text())["parameters_digest"])
    return known[command]
