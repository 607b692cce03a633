"""The guides, followed to the letter on three machines: from nothing to a job that survived everything, bit for bit."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .lab import Lab, torch_environment
from .nested import ROOT, interpreter_inside, until, why_not

pytestmark = [pytest.mark.slow, pytest.mark.torch, pytest.mark.timeout(900)]

HOSTS = {"coordinator": "10.7.40.1", "node-1": "10.7.40.2", "node-2": "10.7.40.3"}
TORCH_PYTHON = ROOT / ".venv-torch" / "bin" / "python"
RUN_STEPS = ("--steps", "1500")


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    if reason := why_not():
        pytest.skip(reason)
    packages = next(TORCH_PYTHON.parents[1].glob("lib/python*/site-packages"), None)
    if packages is None or not (packages / "torch").is_dir():
        pytest.skip("no PyTorch in .venv-torch; `make test-frameworks` makes it")
    extra = {
        "/opt/torch": torch_environment(tmp_path, packages, interpreter_inside()),
        "/opt/torch-packages": packages,
    }
    with Lab(tmp_path, HOSTS, extra) as made:
        yield made


def test_the_tour(lab: Lab, tmp_path: Path) -> None:
    for guide in ("install.md", "first-site.md", "first-job.md"):
        lab.follow(guide)
    before = job_process(lab)
    lab.follow("upgrade.md")
    assert job_process(lab) == before, "the upgrade must not have touched the job"
    lab.follow("drain.md")
    assert shown(lab)["node_id"] == "node-2", "drained away"
    until(lambda: replica_at(lab, "node-1") or None, "a replica at node-1")
    lab.kill("node-2")
    lab.follow("node-lost.md")
    job = shown(lab)
    assert (job["state"], job["node_id"]) == ("FINISHED", "node-1")
    lab.follow("install.md", when="last")
    result = json.loads(lab.machines["coordinator"].path("/root/results/result.json").read_text())
    assert result["parameters_digest"] == undisturbed(tmp_path, lab)


def shown(lab: Lab) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(
        lab.machines["coordinator"].run("heliotrope", "job", "show", "first-job", "--json").stdout
    )
    return answer


def job_process(lab: Lab) -> int:
    """The job's own process on node-1, as its run's record has it."""
    jobs = lab.machines["node-1"].path("/var/lib/heliotrope-agent/jobs")
    records = [json.loads(path.read_text()) for path in jobs.glob("*/runs/*/status.json")]
    return int(max(records, key=lambda record: record["epoch"])["job_pid"])


def replica_at(lab: Lab, node: str) -> bool:
    return any(replica["node_id"] == node for replica in shown(lab)["replicas"])


def undisturbed(folder: Path, lab: Lab) -> str:
    """The digest of the same training, run here to its end without anyone looking after it."""
    corpus = lab.machines["coordinator"].path("/root/first-job/corpus.txt")
    (folder / "corpus.txt").write_bytes(corpus.read_bytes())
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HELIOTROPE_")}
    job = str(ROOT / "job")
    script = ROOT / "examples" / "train_torch.py"
    (folder / "heliotrope").mkdir()
    (folder / "heliotrope" / "job").symlink_to(job)
    environment["PYTHONPATH"] = str(folder)
    files = ("--corpus", str(folder / "corpus.txt"), "--result", str(folder / "truth.json"))
    subprocess.run([TORCH_PYTHON, script, *RUN_STEPS, *files], cwd=folder, check=True, env=environment)
    return str(json.loads((folder / "truth.json").read_text())["parameters_digest"])
