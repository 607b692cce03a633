"""The bundle for this machine: any folder, nobody's Python but its own, and a job that notices nothing of it."""

from __future__ import annotations

import hashlib
import json
import platform
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fleet_driver import SITES, Operator

from heliotrope.cli.demo.fleet import LocalFleet
from heliotrope.foundation.jobspec import JobSpec

pytestmark = [pytest.mark.slow, pytest.mark.timeout(2400)]

ROOT = Path(__file__).resolve().parents[2]
# What a caller may have set up for a Python of its own.
FOREIGN = {"PYTHONHOME": "/nonexistent", "PYTHONPATH": "/nonexistent", "LD_PRELOAD_HINT": "kept"}
JOB = """
import json, os, sys
import heliotrope.job
with open("result.json", "w") as file:
    json.dump({"environment": dict(os.environ), "prefix": sys.prefix, "job": heliotrope.job.__file__}, file)
"""


@pytest.fixture(scope="module")
def home(bundle: Callable[[str], Path]) -> Path:
    return bundle(platform.machine())


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A PATH with what the launcher may use, and no Python."""
    folder = tmp_path_factory.mktemp("tools")
    for name in ("sh", "readlink"):
        found = shutil.which(name)
        assert found is not None
        (folder / name).symlink_to(found)
    return folder


def run(program: Path, tools: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    only = {"PATH": str(tools), **environment}
    return subprocess.run([program, *arguments], env=only, cwd="/", capture_output=True, text=True, check=False)


def test_it_runs_from_a_path_with_spaces_through_links_and_with_a_foreign_python_around(
    home: Path, tools: Path, tmp_path: Path
) -> None:
    link = tmp_path / "linked"
    link.symlink_to(home / "bin" / "heliotrope")
    for program, environment in ((home / "bin" / "heliotrope", {}), (link, FOREIGN)):
        done = run(program, tools, "--version", **environment)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.split()[-1] == json.loads((home / "MANIFEST.json").read_text())["heliotrope"]


def test_the_doctor_finds_all_software_in_it(home: Path, tools: Path) -> None:
    done = run(home / "bin" / "heliotrope", tools, "doctor", "--only", "software", "--json", **FOREIGN)
    findings = {one["check"]: one for one in json.loads(done.stdout)["findings"]}
    assert findings and {one["status"] for one in findings.values()} == {"ok"}, done.stdout
    assert str(home) in findings["software.python"]["found"]


def test_every_file_is_the_one_that_was_packed_and_none_is_written_by_running(home: Path, tools: Path) -> None:
    run(home / "bin" / "heliotrope", tools, "job", "--help")
    listed = dict(line.split("  ", 1)[::-1] for line in (home / "SHA256SUMS").read_text().splitlines())
    found = {
        str(path.relative_to(home)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in home.rglob("*")
        if path.is_file() and not path.is_symlink() and path.name != "SHA256SUMS"
    }
    assert found == listed


def test_the_bill_of_materials_names_every_package(home: Path) -> None:
    manifest = json.loads((home / "MANIFEST.json").read_text())
    site = next(home.glob("lib/python3.*/site-packages"))
    installed = {path.name.split("-")[0].lower().replace("_", "-") for path in site.glob("*.dist-info")} - {
        "heliotrope"
    }
    listed = {one["name"].lower().replace("_", "-").replace(".", "-"): one for one in manifest["packages"]}
    assert set(listed) == installed
    assert all(len(one["sha256"]) == 64 and one["licence"] != "not stated" for one in listed.values()), listed
    python = manifest["python"]
    assert len(python["sha256"]) == 64
    if "compiler" in python:  # else the builder brought it
        assert {one["name"] for one in python["sources"]} >= {"openssl", "python3.13", "sqlite3"}


def test_no_path_of_the_builder_is_in_it(home: Path) -> None:
    telling = (b"heliotrope-release-", bytes(ROOT))
    files = [path for path in home.rglob("*") if path.is_file()]
    assert not [path for path in files if any(text in path.read_bytes() for text in telling)]


def test_a_coordinator_and_an_agent_of_it_run_a_job_of_another_python(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The job gets its own interpreter's environment, ``heliotrope.job`` and nothing else of the bundle."""
    python = shutil.which("python3", path="/usr/bin:/usr/local/bin")
    if python is None:
        pytest.skip("no python3 of the machine's own to run a job with")
    for name, value in (*FOREIGN.items(), ("LD_LIBRARY_PATH", "/nonexistent")):
        monkeypatch.setenv(name, value)
    fleet = LocalFleet(
        tmp_path / "fleet",
        sites=SITES,
        nodes={"a": "west"},
        coordinator={"planner": {"enabled": False, "placement_backoff_s": 1.0}},
        agent={"power": {"model": {"idle_w": 1.0, "max_w": 10.0, "scope": "tree"}}},
        program=[str(home / "bin" / "heliotrope")],
    )
    fleet.prepare()
    with fleet:
        fleet.start_all()
        operator = Operator(fleet)
        operator.submit(
            JobSpec(name="tiny", command=(python, "job.py"), outputs=("result.json",)), {"job.py": JOB.encode()}
        )
        operator.ended()
        found: dict[str, Any] = json.loads(operator.fetch())
    environment = found["environment"]
    assert not {"PYTHONHOME", "PYTHONNOUSERSITE", "LD_LIBRARY_PATH", "LD_PRELOAD_HINT"} & set(environment)
    assert str(home) not in json.dumps(environment)
    assert not found["prefix"].startswith(str(home))
    assert found["job"] == str(Path(environment["PYTHONPATH"], "heliotrope", "job.py"))


def test_units_start_the_program_of_the_bundle(home: Path, tools: Path, tmp_path: Path) -> None:
    """Where it lies, or the link that an upgrade turns; a place with spaces is refused by name."""
    refused = run(home / "bin" / "heliotrope", tools, "install", "--agent", "--root", str(tmp_path / "x"))
    assert refused.returncode == 2 and "--program" in refused.stderr and not (tmp_path / "x").exists()
    place = tmp_path / "heliotrope-1"
    shutil.copytree(home, place, symlinks=True)
    (tmp_path / "current").symlink_to(place)
    for words, program in (
        ([], place / "bin" / "heliotrope"),
        (["--program", str(tmp_path / "current/bin/heliotrope")], tmp_path / "current" / "bin" / "heliotrope"),
    ):
        done = run(
            place / "bin" / "heliotrope",
            tools,
            "install",
            "--agent",
            "--root",
            str(tmp_path / "root"),
            "--json",
            *words,
        )
        assert done.returncode == 0, done.stderr
        unit = (tmp_path / "root/etc/systemd/system/heliotrope-agent.service").read_text()
        assert f"ExecStart={program} " in unit
