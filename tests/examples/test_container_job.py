"""container.sh: what it tells each engine, and, where an engine runs, that a container is a job like any other."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from itertools import pairwise
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "examples" / "container.sh"
# An image with a shell; nothing is pulled by a test.
IMAGE = "HELIOTROPE_TEST_IMAGE"


def given(folder: Path, **more: str) -> dict[str, str]:
    (folder / "run").mkdir()
    (folder / "checkpoints").mkdir()
    return {
        "PATH": os.environ["PATH"],
        "HELIOTROPE_JOB_ID": "j-1",
        "HELIOTROPE_SOCKET": str(folder / "run" / "job.sock"),
        "HELIOTROPE_CHECKPOINT_DIR": str(folder / "checkpoints"),
        "HELIOTROPE_RESUME_FROM": "",
        "PYTHONPATH": str(folder / "run"),
        **more,
    }


def test_what_docker_is_told(tmp_path: Path) -> None:
    engine = tmp_path / "docker"
    engine.write_text('#!/bin/sh\nfor word; do echo "$word"; done\n')
    engine.chmod(0o755)
    variables = given(tmp_path, CONTAINER_ENGINE=str(engine), CUDA_VISIBLE_DEVICES="GPU-1,GPU-2")
    command = ["sh", str(SCRIPT), "image", "python3", "train.py", "a b"]
    said = subprocess.run(command, check=True, capture_output=True, text=True, env=variables, cwd=tmp_path).stdout
    words = said.splitlines()
    pairs = set(pairwise(words))
    assert {("--gpus", '"device=GPU-1,GPU-2"'), ("--name", "heliotrope-j-1"), ("--workdir", str(tmp_path))} < pairs
    assert ("--user", f"{os.getuid()}:{os.getgid()}") in pairs
    for folder in (tmp_path, tmp_path / "run", tmp_path / "checkpoints"):
        assert ("--volume", f"{folder}:{folder}") in pairs
    assert words[-4:] == ["image", "python3", "train.py", "a b"] and words[0] == "run"
    assert not [word for word in words if "cgroups" in word or "userns" in word]


@pytest.fixture(params=["podman", "docker"])
def engine(request: pytest.FixtureRequest) -> str:
    name = str(request.param)
    if shutil.which(name) is None:
        pytest.skip(f"{name} is not installed here")
    image = os.environ.get(IMAGE, "")
    if not image:
        pytest.skip(f"name an image with sh that the engine has in {IMAGE}")
    # Not `info`: a client without its daemon answers that with success.
    found = subprocess.run([name, "image", "inspect", image], check=False, capture_output=True, text=True, timeout=60)
    if found.returncode:
        pytest.skip(f"{name} does not run here, or lacks {image}: {(found.stderr.strip().splitlines() or [''])[-1]}")
    return name


def test_exit_code_files_and_signals_go_through(tmp_path: Path, engine: str) -> None:
    variables = given(tmp_path, CONTAINER_ENGINE=engine, HOME=str(Path.home()))
    command = ["sh", str(SCRIPT), os.environ[IMAGE], "sh", "-c"]
    write = 'echo made > "$HELIOTROPE_CHECKPOINT_DIR/one"; exit 75'
    done = subprocess.run([*command, write], check=False, env=variables, cwd=tmp_path)
    assert done.returncode == 75
    made = tmp_path / "checkpoints" / "one"
    assert (made.read_text(), made.stat().st_uid) == ("made\n", os.getuid())
    wait = "trap 'exit 75' TERM; touch ready; while :; do sleep 0.1; done"
    with subprocess.Popen([*command, wait], env=variables, cwd=tmp_path) as running:
        deadline_s = time.monotonic() + 60
        while not (tmp_path / "ready").exists() and time.monotonic() < deadline_s:
            time.sleep(0.05)
        running.send_signal(signal.SIGTERM)
        assert running.wait(60) == 75
