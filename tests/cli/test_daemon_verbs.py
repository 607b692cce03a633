"""``heliotrope coordinator`` and ``heliotrope agent``: what ``--check`` finds, and what a start refuses."""

from __future__ import annotations

from pathlib import Path

import pytest

from heliotrope.foundation import errors

from .conftest import Heliotrope, LiveFleet

COORDINATOR = 'identity = "{folder}/identity-main"\nstate_dir = "state"\nlisten = "127.0.0.1:0"\n'
SITE = """
[[sites]]
name = "valley"
latitude = 46.5
longitude = 9.8
window = { rule = "intensity_below", threshold = 100.0 }
"""
DECLARED = SITE + "grid_intensity_g_per_kwh = 30.0\n"
AGENT = 'coordinator = "127.0.0.1:7440"\nidentity = "{folder}/identity-{name}"\nstate_dir = "state"\nsite = "valley"\n'


def _files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*"))


def test_a_coordinators_configuration_is_checked_without_a_trace(
    heliotrope: Heliotrope, live_fleet: LiveFleet, tmp_path: Path
) -> None:
    path = tmp_path / "c.toml"
    scaled = '[trace]\nstart = "2026-06-21T06:00:00Z"\nscale = 60.0\n'
    path.write_text(_filled(COORDINATOR + DECLARED + scaled, live_fleet))
    done = heliotrope("coordinator", "--config", path, "--check")
    assert done.code == 0, done.err
    assert "heliotrope://lab/coordinator/main" in done.out and "valley" in done.out
    assert _files(tmp_path) == ["c.toml"]


@pytest.mark.parametrize(
    ("text", "kind", "words"),
    [
        (COORDINATOR, errors.InvalidInput, "field sites: none is configured"),
        (COORDINATOR + DECLARED * 2, errors.InvalidInput, "'valley' is configured twice"),
        (COORDINATOR + SITE, errors.InvalidInput, "field window.rule"),
        (COORDINATOR + DECLARED + "[saga]\nretention = 1\n", errors.InvalidInput, "field saga.retention"),
        (COORDINATOR + DECLARED + "[planner]\ninterval_s = 0\n", errors.InvalidInput, "field planner.interval_s"),
        (COORDINATOR.replace("main", "alice") + DECLARED, errors.Denied, "is no coordinator's"),
        (COORDINATOR.replace("main", "nobody") + DECLARED, errors.NotFound, "identity-nobody"),
        (
            COORDINATOR + SITE + 'intensity = { file = "none.csv", zone = "A", unit = "g_per_kwh" }\n',
            errors.InvalidInput,
            "none.csv",
        ),
    ],
)
def test_what_is_wrong_with_a_coordinators_configuration(
    heliotrope: Heliotrope,
    live_fleet: LiveFleet,
    tmp_path: Path,
    text: str,
    kind: type[errors.HeliotropeError],
    words: str,
) -> None:
    path = tmp_path / "c.toml"
    path.write_text(_filled(text, live_fleet))
    for check in (["--check"], []):  # a start refuses the same
        done = heliotrope("coordinator", "--config", path, *check)
        assert (done.code, done.out) == (kind.exit_code, "")
        assert words in done.err


def _filled(text: str, live_fleet: LiveFleet) -> str:
    return text.replace("{folder}", str(live_fleet.folder))


def test_a_second_coordinator_on_the_port(heliotrope: Heliotrope, live_fleet: LiveFleet, tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    text = COORDINATOR.replace("127.0.0.1:0", live_fleet.address) + DECLARED
    path.write_text(_filled(text, live_fleet))
    done = heliotrope("coordinator", "--config", path)
    assert done.code == errors.Conflict.exit_code
    assert f"cannot listen on {live_fleet.address}" in done.err


def test_an_agents_configuration(heliotrope: Heliotrope, live_fleet: LiveFleet, tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    for name, code in (("node1", 0), ("alice", errors.Denied.exit_code), ("none", errors.NotFound.exit_code)):
        path.write_text(AGENT.format(folder=live_fleet.folder, name=name))
        assert heliotrope("agent", "--config", path, "--check").code == code
    path.write_text(AGENT.format(folder=live_fleet.folder, name="node1") + "[jobs]\nslots = 1\n")
    done = heliotrope("agent", "--config", path, "--check")
    assert done.code == errors.InvalidInput.exit_code and "field jobs.slots" in done.err
    assert _files(tmp_path) == ["a.toml"]
