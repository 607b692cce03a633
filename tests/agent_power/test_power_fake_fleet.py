"""Made-up GPUs through a whole fleet: marked wherever a person looks; and a real agent gives its drivers back."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from fleet_driver import Operator, two_nodes

from heliotrope.cli.demo.fleet import COORDINATOR, LocalFleet


@pytest.fixture
def fleet() -> Iterator[LocalFleet]:
    power = {"batch_s": 1.0, "fake": "eight-gpus"}
    with (
        tempfile.TemporaryDirectory(prefix="ht-", ignore_cleanup_errors=True) as name,
        two_nodes(Path(name), power=power) as made,
    ):
        made.start(COORDINATOR)
        made.start("a")
        yield made


def heliotrope(*words: str) -> str:
    command = [sys.executable, "-m", "heliotrope.cli", *words]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_everything_that_a_person_sees_says_that_it_is_made_up(fleet: LocalFleet) -> None:
    asking = ("--coordinator", fleet.address, "--identity", str(fleet.folder / "identities" / "operator"))

    def told() -> str | None:
        text = heliotrope("report", *asking)
        return text if "MADE-UP" in text else None

    report = Operator(fleet).until(told, "made-up energy in the report")
    assert "~" in report
    rows = json.loads(heliotrope("report", "--json", *asking))["rows"]
    assert {source for row in rows for source in row["sources"]} == {"fake"}
    assert "fake GPU" in heliotrope("node", "show", "a", *asking)
    assert "are made up" in fleet.tail("a", lines=200)
    doctor = heliotrope("doctor", "--config", str(fleet.members["a"].config), "--only", "sensors")
    assert "nothing is measured here" in doctor

    released = json.loads(heliotrope("agent", "release-driver", "--state-dir", str(fleet.folder / "a"), "--json"))
    assert released["agent_runs"] is True
    assert "again within a second" in heliotrope("agent", "retake-driver", "--state-dir", str(fleet.folder / "a"))
