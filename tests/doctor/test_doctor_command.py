"""``heliotrope doctor`` as a person and a program run it."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest

from .conftest import Done, Node

Run = Callable[..., Done]
LOCAL = ("--only", "certificates", "--only", "permissions.key", "--only", "disk")


def test_json_is_as_documented(node: Node, heliotrope: Run) -> None:
    node.issue()
    done = heliotrope("doctor", "--config", node.config(), "--json")
    value = done.value
    assert set(value) == {"utc", "ok_count", "warning_count", "error_count", "skipped_count", "findings"}
    assert datetime.fromisoformat(value["utc"]).utcoffset() is not None
    for finding in value["findings"]:
        assert set(finding) == {"check", "status", "found", "remedy", "figures"}
        assert re.fullmatch(r"[a-z]+\.[\w.-]+", finding["check"]) and finding["found"]
        assert bool(finding["remedy"]) is (finding["status"] in ("warning", "error")), finding
        if finding["remedy"]:
            assert re.fullmatch(r"[A-Z].*\.", finding["remedy"], re.DOTALL), finding
        assert not finding["check"].endswith((".failure", ".hang", ".crash")), finding
    for status in ("ok", "warning", "error", "skipped"):
        assert value[f"{status}_count"] == sum(1 for one in value["findings"] if one["status"] == status)
    assert done.code == (1 if value["error_count"] else 0)
    # The coordinator of this configuration is not there: that is found, and is the reason of the exit code.
    found = {one["check"]: one for one in value["findings"]}
    assert done.code == 1 and found["reach.coordinator"]["status"] == "error"


def test_exit_codes(node: Node, heliotrope: Run) -> None:
    node.issue()
    good = heliotrope("doctor", "--config", node.config(), *LOCAL)
    assert (good.code, good.err) == (0, ""), good.out
    (node.folder / "identity" / "identity.key").chmod(0o644)
    bad = heliotrope("doctor", "--config", node.config(), *LOCAL)
    assert bad.code == 1 and "Run: chmod 0600" in bad.out and bad.err == ""
    (node.folder / "agent.json").write_text('{"coordinator": 1}')
    for arguments in (("--config", node.folder / "agent.json"), ("--only", "moon"), ("--peer", "a:1")):
        wrong = heliotrope("doctor", *arguments)
        assert wrong.code == 2 and wrong.out == "" and "field" in wrong.err


def test_a_coordinators_configuration(node: Node, heliotrope: Run) -> None:
    path = node.folder / "coordinator.toml"
    path.write_text('identity = "identity"\nstate_dir = "state"\nlisten = "127.0.0.1:0"\n')
    node.issue()  # an agent's, which is wrong here
    done = heliotrope("doctor", "--coordinator-config", path, "--json")
    found = {one["check"]: one for one in done.value["findings"]}
    assert "no coordinator's" in found["certificates.coordinator"]["found"]
    assert found["ports.coordinator_listen"]["status"] == "ok" and "software.SQLAlchemy" in found
    assert found["reach.coordinator"]["status"] == "skipped" and "permissions.job_user" not in found


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("unshare") is None, reason="root mounts what is examined")
@pytest.mark.parametrize(
    ("options", "check"), [("ro", "disk.mount"), ("nr_inodes=50", "disk.inodes"), ("size=1m", "disk.room")]
)
def test_a_real_file_system_that_will_not_do(node: Node, heliotrope: Run, options: str, check: str) -> None:
    """A tmpfs of its own in a mount namespace of its own, over the node's state."""
    node.issue()
    node.fields["store"] = {"reserve_bytes": 10_000_000}
    script = f'mount -t tmpfs -o mode=711,{options} none "{node.state_dir}" && exec "$@"'
    done = heliotrope(
        "doctor",
        "--config",
        node.config(),
        "--only",
        "disk",
        "--json",
        prefix=("unshare", "-m", "sh", "-c", script, "-"),
    )
    found: dict[str, Any] = {one["check"]: one for one in done.value["findings"]}
    assert done.code == 1 and found[check]["status"] == "error", done.out
