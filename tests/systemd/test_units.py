"""The unit files as files: how much they leave open by systemd's own count, and that it understands every line."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from heliotrope.agent.config import AgentConfig
from heliotrope.coordinator.config import CoordinatorConfig
from heliotrope.coordinator.sites import open_sites
from heliotrope.foundation import config, jobspec
from heliotrope.foundation.clock import SystemClock

from .nested import ROOT

FOLDER = ROOT / "systemd"
UNITS = sorted(FOLDER.glob("*.service"))
LIMIT = {"heliotrope-coordinator": 2.0, "heliotrope-agent": 3.0}
needs_analyze = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")


def exposure(unit: Path) -> float:
    """systemd's figure: 0 nothing is exposed, 10 everything."""
    command = ["systemd-analyze", "security", "--offline=yes", "--no-pager", str(unit)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if "unrecognized option" in done.stderr:
        pytest.skip("this systemd-analyze judges no files (--offline, systemd 250)")
    found = re.search(r"Overall exposure level for \S+: ([0-9.]+)", done.stdout)
    assert found is not None, done.stdout + done.stderr
    return float(found[1])


def test_both_units_are_judged() -> None:
    assert {unit.stem for unit in UNITS} == set(LIMIT)


@needs_analyze
@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_little_is_exposed(unit: Path) -> None:
    assert exposure(unit) <= LIMIT[unit.stem]


@needs_analyze
def test_the_judge_sees_a_difference(tmp_path: Path) -> None:
    """The same unit without its sandbox is above the limit: the figure comes from the lines."""
    agent = FOLDER / "heliotrope-agent.service"
    bare = tmp_path / agent.name
    kept = [line for line in agent.read_text().splitlines() if not line.startswith(("Capability", "Protect", "System"))]
    bare.write_text("\n".join(kept))
    assert exposure(bare) > LIMIT[agent.stem]


@needs_analyze
@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_systemd_understands_every_line(unit: Path, tmp_path: Path) -> None:
    """With a program that exists; what `verify` says of other units on this machine is not ours."""
    copy = tmp_path / unit.name
    copy.write_text(unit.read_text().replace("/opt/heliotrope/bin/heliotrope", "/bin/true"))
    done = subprocess.run(["systemd-analyze", "verify", str(copy)], capture_output=True, text=True, check=False)
    assert unit.name not in done.stderr


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_the_services_are_notified_watched_and_restarted(unit: Path) -> None:
    lines = unit.read_text().splitlines()
    assert {"Type=notify", "Restart=always"} <= set(lines)
    assert any(line.startswith("WatchdogSec=") for line in lines)


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_every_capability_has_its_reason(unit: Path) -> None:
    text = unit.read_text()
    granted = re.findall(r"^CapabilityBoundingSet=(.*)$", text, re.MULTILINE)
    comments = "\n".join(line for line in text.splitlines() if line.startswith("#"))
    assert len(granted) == 1
    assert [name for name in granted[0].split() if f"{name}:" not in comments] == []


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_the_unit_and_the_example_name_the_same_places(unit: Path) -> None:
    part = unit.stem.removeprefix("heliotrope-")
    text = unit.read_text()
    table = config.read_table(FOLDER / f"{part}.toml")
    assert f"--config /etc/heliotrope/{part}.toml\n" in text
    assert f"StateDirectory={Path(table['state_dir']).relative_to('/var/lib')}\n" in text
    # Below the state: a renewed certificate is written there, and the sandbox lets nothing else be written.
    assert table["identity"].startswith(f"{table['state_dir']}/")


def test_the_examples_are_valid(tmp_path: Path) -> None:
    agent = config.load(FOLDER / "agent.toml", AgentConfig)
    coordinator = config.load(FOLDER / "coordinator.toml", CoordinatorConfig)
    assert agent.jobs.launcher == "systemd" and not agent.jobs.allow_same_user
    sites = open_sites(coordinator, FOLDER, tmp_path, SystemClock())
    assert agent.site in sites
    jobspec.load(FOLDER / "job.toml")


def test_the_jobs_account_is_the_one_that_is_made() -> None:
    agent = config.load(FOLDER / "agent.toml", AgentConfig)
    made = re.findall(r"^u (\S+)", (FOLDER / "sysusers-agent.conf").read_text(), re.MULTILINE)
    assert made == [agent.jobs.user]
