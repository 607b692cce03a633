"""`job logs -f` over a bad link, a coordinator that is killed and started again, and a move: each byte once."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from fleet_driver import Operator, two_nodes
from proxy import Proxy

from heliotrope.cli.demo.fleet import COORDINATOR, LocalFleet
from heliotrope.foundation.jobspec import JobSpec, Policy

LAST = 400
# Says each number once on each stream, whatever happens to it: a checkpoint holds the last one said.
JOB = f"""
import sys, time
import heliotrope.job as heliotrope_job
job = heliotrope_job.connect()
step = int((job.resume_from / "step").read_text()) if job.resume_from else 0
while step < {LAST}:
    step += 1
    print(step, "x" * 200, flush=True)
    print(step, file=sys.stderr, flush=True)
    job.report(step=step)
    if job.checkpoint_due():
        with job.checkpoint(step) as folder:
            (folder / "step").write_text(str(step))
        job.exit_if_stopped()
    time.sleep(0.02)
"""


def port(fleet: LocalFleet) -> int:
    return int(fleet.address.rpartition(":")[2])


def follow(fleet: LocalFleet, at: int, job: str, *options: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "heliotrope.cli", "job", "logs", job, *options]
    variables = {
        "HELIOTROPE_COORDINATOR": f"127.0.0.1:{at}",
        "HELIOTROPE_IDENTITY": str(fleet.operator.certificate_path.parent),
    }
    out, errors = ((fleet.folder / f"{job}-{len(options)}.{name}").open("wb") for name in ("out", "err"))
    return subprocess.Popen(command, env={**os.environ, **variables}, stdout=out, stderr=errors)


def test_a_follower_gets_every_byte_once(folder: Path) -> None:
    spec = JobSpec(
        name="talker",
        command=(sys.executable, "talk.py"),
        policy=Policy(sites_preferred=("west",), grace_s=5.0),
    )
    with two_nodes(folder) as fleet:
        fleet.start_all()
        operator = Operator(fleet)
        operator.nodes_connected()
        # Each new connection of the follower lives for so many bytes; those after them as long as they like.
        link = Proxy(("127.0.0.1", port(fleet)), cuts=[6_000, 12_000, 30_000])
        operator.submit(spec, {"talk.py": JOB.encode()})
        operator.reached(5, "talker")
        follower = follow(fleet, link.address[1], "talker", "-f")
        try:
            assert operator.migration_ended(operator.move("b", "talker")) == "COMMITTED"
            fleet.kill(COORDINATOR)
            fleet.start(COORDINATOR)
            job = operator.ended("talker")
            assert follower.wait(60) == 0, (fleet.folder / "talker-1.err").read_text()[-2000:]
        finally:
            follower.kill()
            link.stop()
        assert link.connection_count > 3, "the link was not cut"
        assert (job.node_id, job.move_count) == ("b", 1), operator.story()
        said = (fleet.folder / "talker-1.out").read_bytes()
        assert said == b"".join(f"{step} {'x' * 200}\n".encode() for step in range(1, LAST + 1))
        assert (fleet.folder / "talker-1.err").read_bytes().split() == [b"%d" % step for step in range(1, LAST + 1)]
        assert follow(fleet, port(fleet), "talker", "--tail", "100").wait(60) == 0
        tail = [(fleet.folder / f"talker-2.{name}").read_bytes() for name in ("out", "err")]
        assert len(b"".join(tail)) == 100
