"""Damage on a node's disk: found, withdrawn, mended from a peer bit for bit; said plainly where no peer can."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from fleet_driver import Operator, tiny_spec, two_nodes

from heliotrope.cli.demo.fleet import LocalFleet
from heliotrope.v1 import operator_pb2 as pb

ARGUMENTS = ("--steps", "4000", "--step-s", "0.05", "--state-kb", "256")
CORRUPT = 8


def verify(fleet: LocalFleet, node: str, *options: str) -> tuple[int, dict[str, Any]]:
    """`heliotrope store verify` as an operator on the node runs it, beside the agent."""
    command = [sys.executable, "-m", "heliotrope.cli", "store", "verify", "--config", str(fleet.members[node].config)]
    done = subprocess.run([*command, "--json", *options], check=False, capture_output=True, text=True)
    return done.returncode, json.loads(done.stdout) if done.stdout else {"error": done.stderr}


def flip(path: Path, offset: int) -> None:
    """Rot: a byte changes, the file's times do not."""
    before = path.stat()
    with open(path, "r+b") as file:
        file.seek(offset)
        byte = file.read(1)
        file.seek(offset)
        file.write(bytes([byte[0] ^ 0x40]))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def largest(folder: Path) -> Path:
    return max((path for path in folder.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)


def test_damage_is_found_withdrawn_and_mended(folder: Path) -> None:
    with two_nodes(folder, saga={"retention_s": 3600.0}, store={"scrub_period_s": 0}) as fleet:
        fleet.start_all()
        operator = Operator(fleet)
        operator.nodes_connected()
        job_id = operator.submit(tiny_spec(*ARGUMENTS))
        operator.reached(5)
        assert operator.migration_ended(operator.move("b")) == "COMMITTED", operator.story()
        assert verify(fleet, "b")[0] == 0
        received = next((folder / "b" / "jobs" / job_id / "received").iterdir())
        target = largest(received)
        good = target.read_bytes()

        # The peer is away: what is damaged is named and withdrawn, and that nobody can mend it is said.
        fleet.kill("a")
        flip(target, 100_000)
        code, report = verify(fleet, "b", "--repair", "--timeout", "60")
        assert code == CORRUPT, report
        (damaged,) = report["damaged"]
        assert (damaged["job_id"], damaged["repaired"]) == (job_id, False)
        assert "no connected node holds this checkpoint whole" in damaged["note"]
        (chunk,) = damaged["chunks"]
        assert chunk["offset"] <= 100_000 < chunk["offset"] + chunk["size_bytes"] and chunk["file"] in str(target)
        assert target.read_bytes() != good

        # It is back: the agent mends by itself, and the operator may wait for it.
        fleet.start("a")
        code, report = verify(fleet, "b", "--repair", "--timeout", "60")
        assert (code, [one["repaired"] for one in report["damaged"]]) in ((0, [True]), (0, [])), operator.story()
        assert target.read_bytes() == good
        assert verify(fleet, "b")[0] == 0 and not list((folder / "b").rglob("*.aside"))
        assert "mended from a" in fleet.log("b").read_text()

        # Both copies rot: the peer's own read finds its damage while it serves, and what is damaged is not taken.
        for pin in (folder / "a" / "pins").iterdir():
            flip(largest(pin), 100_000)
        for path in (folder / "b" / "jobs" / job_id / "received").iterdir():
            flip(largest(path), 100_000)
        code, report = verify(fleet, "b", "--repair", "--timeout", "60")
        assert code == CORRUPT and not report["damaged"][0]["repaired"], report
        # The refusal names the place; once a's copy is withdrawn too, the note says that nobody is left.
        refusal = "at 0 are not those of its manifest"
        operator.until(lambda: refusal in fleet.log("b").read_text() or None, "the refusal in b's log")
        assert list((folder / "a" / "checkpoints" / "damaged").glob("*.json"))

        def withdrawn() -> bool | None:
            found = operator.stub.GetJob(pb.GetJobRequest(job=job_id), timeout=5)
            return True if not found.HasField("checkpoint") else None

        operator.until(withdrawn, "the coordinator's knowledge that no whole copy is left")
