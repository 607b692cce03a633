"""What a job in its transient service may and may not do, asked of a job that tries."""

from __future__ import annotations

import json
from typing import Any

import pytest

from .conftest import PYTHON, TINY, Services
from .nested import until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

PROBE = """
import json, os, pathlib
def tried(call):
    try:
        call()
    except OSError as error:
        return type(error).__name__
    return "done"
status = dict(line.split(":", 1) for line in open("/proc/self/status").read().splitlines())
agent = pathlib.Path("/var/lib/heliotrope-agent")
run = pathlib.Path(os.environ["HELIOTROPE_SOCKET"]).parent
pathlib.Path("/tmp/mine").write_text("x")
print(json.dumps({
    "user": os.popen("id -un").read().strip(),
    "uids": status["Uid"].split(),
    "effective": status["CapEff"].strip(),
    "new_privileges": status["NoNewPrivs"].strip(),
    "fuse": tried(lambda: open("/dev/fuse", "rb")) if os.path.exists("/dev/fuse") else "PermissionError",
    "null": tried(lambda: open("/dev/null", "rb")),
    "key": tried(lambda: open(agent / "identity" / "identity.key")),
    "state": tried(lambda: os.listdir(agent)),
    "jobs": tried(lambda: os.listdir(agent / "jobs")),
    "record": tried(lambda: open(run / "status.json", "w")),
    "control": tried(lambda: open(run / "control.sock")),
    "usr": tried(lambda: open("/usr/x", "w")),
    "tmp": sorted(os.listdir("/tmp")),
    "home": tried(lambda: open(pathlib.Path.home() / "x", "w")),
    "checkpoints": tried(lambda: open(pathlib.Path(os.environ["HELIOTROPE_CHECKPOINT_DIR"]) / ".x", "w")),
}))
"""


def probed(services: Services, name: str, **fields: Any) -> dict[str, Any]:
    job_id = services.submit(name, [PYTHON, "-c", PROBE], **fields)
    ended = services.ended(job_id)
    assert ended["state"] == "FINISHED", f"{ended}\n{services.logs(job_id)}\n{services.story()}"
    found: dict[str, Any] = json.loads(services.logs(job_id))
    return found


def test_a_job_has_its_own_and_nothing_else(services: Services) -> None:
    services.machine.path("/tmp/others").write_text("x")
    found = probed(services, "probe")
    assert found["user"] == "heliotrope-job" and "0" not in found["uids"]
    assert (found["effective"], found["new_privileges"]) == ("0" * 16, "1")
    refused = ("fuse", "key", "state", "jobs", "record", "control", "usr")
    assert {name: found[name] for name in refused if found[name] == "done"} == {}
    assert [found[name] for name in ("null", "home", "checkpoints")] == ["done"] * 3
    assert found["tmp"] == ["mine"]


NEIGHBOUR = """
import json, os, pathlib
jobs = pathlib.Path(os.environ["HELIOTROPE_SOCKET"]).parents[3]
own = os.environ["HELIOTROPE_JOB_ID"]
seen = {}
for pid in filter(str.isdigit, os.listdir("/proc")):
    try:
        seen[pid] = os.stat(f"/proc/{pid}").st_uid
    except OSError:
        pass
def tried(call):
    try:
        call()
    except OSError as error:
        return type(error).__name__
    return "done"
print(json.dumps({
    "own": sorted(os.listdir(jobs / own / "work"))[:1],
    "other": tried(lambda: os.stat(jobs / "OTHER")),
    "work": tried(lambda: os.listdir(jobs / "OTHER" / "work")),
    "write": tried(lambda: open(jobs / "OTHER" / "work" / "x", "w")),
    "pins": tried(lambda: os.listdir(jobs.parent / "pins")),
    "foreign": sorted({uid for uid in seen.values() if uid != os.getuid()}),
    "module": __import__("heliotrope.job").job.PROTOCOL,
}))
"""


def test_jobs_of_one_account_do_not_see_each_others_folders(services: Services) -> None:
    other = services.submit("neighbour", [*TINY, "--steps", "100000"])
    services.unit(other)
    job_id = services.submit("nosy", [PYTHON, "-c", NEIGHBOUR.replace("OTHER", other)])
    ended = services.ended(job_id)
    assert ended["state"] == "FINISHED", f"{services.logs(job_id)}\n{services.story()}"
    found = json.loads(services.logs(job_id))
    services.ask("job", "cancel", other)
    assert found["own"] and found["module"] == 1
    assert [found[name] for name in ("other", "work", "write")] == ["FileNotFoundError"] * 3
    assert found["pins"] in ("PermissionError", "FileNotFoundError")
    assert found["foreign"] == [], "processes of other accounts are to be seen"


def test_limits_are_the_job_files(services: Services) -> None:
    resources = {"memory_bytes": 300_000_000, "cpu_count": 2}
    job_id = services.submit("limited", [*TINY, "--steps", "100000"], resources=resources, policy={"grace_s": 3.0})
    unit, machine = services.unit(job_id), services.machine
    shown = {name: machine.show(unit, name) for name in ("MemoryMax", "TasksMax", "CPUWeight", "TimeoutStopUSec")}
    wanted = {"MemoryMax": "300000000", "TasksMax": "16384", "CPUWeight": "200", "TimeoutStopUSec": "33s"}
    assert shown == wanted
    assert machine.show(unit, "Slice") == "heliotrope-jobs.slice"
    services.ask("job", "cancel", job_id)
    until(lambda: machine.show(unit, "ActiveState") == "inactive" or None, "the end of the cancelled job")


def test_memory_beyond_the_limit_is_the_jobs_failure(services: Services) -> None:
    controllers = services.machine.path("/sys/fs/cgroup/cgroup.controllers").read_text().split()
    if "memory" not in controllers:
        pytest.skip("the memory controller is not part of the cgroup2 hierarchy here")
    hog = "bytearray(512 * 1024 * 1024)"
    job_id = services.submit(
        "greedy", [PYTHON, "-c", hog], resources={"memory_bytes": 100_000_000}, policy={"restart_limit": 0}
    )
    ended = services.ended(job_id)
    assert (ended["state"], ended["fault"]) == ("FAILED", "job")
    assert "more memory than resources.memory_bytes = 100000000" in ended["message"]
    record = services.status(job_id)
    assert (record["signal"], record["cause"]) == (9, "limit") and record["oom_kill_count"] >= 1


@pytest.mark.parametrize("user", ["root", "daemon"])
def test_an_account_that_is_not_allowed_is_refused(services: Services, user: str) -> None:
    job_id = services.submit(f"as-{user}", ["id"], user=user, policy={"restart_limit": 0})
    refused = (
        f"job {job_id}: prepare failed: cannot take the job: user '{user}' is not in this node's jobs.users_allowed"
    )
    until(lambda: refused in services.machine.journal("heliotrope-agent") or None, "the refusal")
    services.ask("job", "cancel", job_id)


def test_prepare_runs_as_the_job_will(services: Services) -> None:
    """Out of the agent's sandbox too: an environment may be built with what only the job's account sees."""
    prepare = ["sh", "-c", "id -un > who; grep NoNewPrivs /proc/self/status >> who; grep ^0:: /proc/self/cgroup >> who"]
    job_id = services.submit("prepared", ["cat", "who"], prepare=prepare)
    assert services.ended(job_id)["state"] == "FINISHED", services.story()
    user, new_privileges, group = services.logs(job_id).splitlines()
    assert (user, new_privileges.split()[1]) == ("heliotrope-job", "1")
    assert f"heliotrope-job-{job_id}-prepare.service" in group


def test_a_failing_prepare_says_why(services: Services) -> None:
    prepare = ["sh", "-c", "echo no such environment >&2; exit 4"]
    job_id = services.submit("unprepared", ["true"], prepare=prepare, policy={"restart_limit": 0})
    said = f"job {job_id}: prepare failed: the job's prepare command ended with exit code 4: no such environment"
    until(lambda: said in services.machine.journal("heliotrope-agent") or None, "the failure")
    services.ask("job", "cancel", job_id)
