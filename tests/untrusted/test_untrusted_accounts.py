"""A job of another account beside a real agent's state: nothing of the daemon's, nothing of another job's."""

from __future__ import annotations

import asyncio
import json
import os
import pwd
import shutil
import subprocess
from pathlib import Path
from typing import Any

import msgspec
import pytest
from blake3 import blake3

from heliotrope.agent.accounts import Accounts
from heliotrope.agent.config import AgentConfig, JobsConfig
from heliotrope.agent.deeds.preparing import Preparer
from heliotrope.agent.held import HeldJob, HeldJobs
from heliotrope.agent.jobs import processes
from heliotrope.agent.jobs.launcher import DetachedLauncher
from heliotrope.agent.jobs.request import RunRequest
from heliotrope.agent.jobs.runs import Run
from heliotrope.agent.orders import Bundle
from heliotrope.foundation.errors import Conflict, InvalidInput
from heliotrope.foundation.jobspec import CheckpointRules, JobSpec

from .conftest import STRANGER
from .test_untrusted_bundles import Packed

INTRUDER = Path(__file__).with_name("intruder.py")
REFUSED = {"EACCES", "EPERM", "ECONNREFUSED", "ENOENT"}
SPEC = JobSpec(name="x", command=("true",))


def preparer(folder: Path, held: HeldJobs, archive: Path | None = None, **jobs: Any) -> Preparer:
    """The real one; the bundle comes from a file instead of the coordinator."""

    async def fetch(_: str) -> Any:
        assert archive is not None
        yield archive.read_bytes()

    config = AgentConfig(coordinator="x:1", identity="i", state_dir="s", site="w", jobs=JobsConfig(**jobs))
    return Preparer(
        held=held,
        config=config,
        state_dir=folder,
        launcher=DetachedLauncher(),
        inventory=lambda: pytest.fail("not asked"),
        fetch_bundle=fetch,
    )


def bundle_of(archive: Path) -> Bundle:
    return Bundle(digest=blake3(archive.read_bytes()).digest(), size_bytes=archive.stat().st_size)


# -- which accounts


@pytest.mark.parametrize(
    ("user", "jobs", "words"),
    [
        ("", {}, "no default user"),
        ("root", {"users_allowed": ("root",)}, "run as root"),
        ("", {"user": "root"}, "run as root"),
        ("daemon", {"users_allowed": (STRANGER,)}, "not in this node's jobs.users_allowed"),
        ("root", {"allow_same_user": True}, "not in this node's jobs.users_allowed"),
        ("0", {"users_allowed": (STRANGER,)}, "not in this node's jobs.users_allowed"),
    ],
)
def test_accounts_that_are_refused(folder: Path, user: str, jobs: dict[str, Any], words: str) -> None:
    held = HeldJobs(folder / "jobs")
    spec = JobSpec(name="x", command=("true",), user=user)
    with pytest.raises(Conflict, match=words):
        asyncio.run(preparer(folder, held, **jobs).ensure("j-1", spec, Bundle(digest=b"", size_bytes=0)))
    assert list((folder / "jobs").iterdir()) == []


def test_an_account_that_is_not_there(folder: Path) -> None:
    spec = JobSpec(name="x", command=("true",), user="no-such-account")
    made = preparer(folder, HeldJobs(folder / "jobs"), users_allowed=("no-such-account",))
    with pytest.raises(InvalidInput, match="field user: this node has no account"):
        asyncio.run(made.ensure("j-1", spec, Bundle(digest=b"", size_bytes=0)))


def test_the_allow_list_holds_for_a_job_that_is_already_here(folder: Path) -> None:
    """A second order may bring another specification, and the node's list may have become shorter since the first."""
    held = HeldJobs(folder / "jobs")
    held.put(HeldJob(job_id="j-1", spec=SPEC, bundle_digest=b"d", prepared=True))
    made = preparer(folder, held, users_allowed=(STRANGER,))
    other = JobSpec(name="x", command=("true",), user="daemon")
    with pytest.raises(Conflict, match=r"not in this node's jobs\.users_allowed"):
        asyncio.run(made.ensure("j-1", other, Bundle(digest=b"d", size_bytes=0)))
    assert held.get("j-1").spec == SPEC


@pytest.mark.parametrize("directory", ["../../../etc", "/etc", "a/../../b", "."])
def test_a_checkpoint_folder_outside_is_refused_by_the_node_too(folder: Path, directory: str) -> None:
    spec = JobSpec(name="x", command=("true",), checkpoint=CheckpointRules(directory=directory))
    made = preparer(folder, HeldJobs(folder / "jobs"), allow_same_user=True)
    with pytest.raises(InvalidInput, match=r"field checkpoint\.directory"):
        asyncio.run(made.ensure("j-1", spec, Bundle(digest=b"", size_bytes=0)))


@pytest.mark.parametrize("job_id", ["../x", "/etc", "a/b", "", ".", "..", "A", "x" * 70])
def test_ids_that_are_paths(folder: Path, job_id: str) -> None:
    with pytest.raises(InvalidInput, match="field job_id"):
        HeldJobs(folder / "jobs").folder(job_id)


def test_root_is_refused_by_the_supervisor_as_well(folder: Path, stranger_python: str) -> None:
    """Should a request for uid 0 come so far: the run ends before anything of it starts."""
    status = asyncio.run(_ended(_request(folder, "j-1", ("touch", str(folder / "made")), user="root")))
    assert status.reason == "failed" and "jobs never run as root" in status.error
    assert not (folder / "made").exists()


# -- what a job of another account reaches


def _request(folder: Path, job_id: str, command: tuple[str, ...], *, user: str = STRANGER) -> RunRequest:
    job = folder / "jobs" / job_id
    (job / "work").mkdir(parents=True, exist_ok=True)
    return RunRequest(
        job_id=job_id,
        epoch=1,
        attempt=0,
        command=command,
        working_dir=str(job / "work"),
        checkpoint_dir=str(job / "work" / "checkpoints"),
        run_dir=str(job / "runs" / "1-0"),
        user=user,
        grace_s=1.0,
    )


async def _ended(request: RunRequest) -> Any:
    run = await Run.launch(request, DetachedLauncher())
    return await run.wait(60.0)


async def _prepared(folder: Path, held: HeldJobs, job_id: str, user: str) -> None:
    archive = Packed(folder / f"{job_id}.tar").add("secret.txt", b"of " + job_id.encode()).done()
    archive.chmod(0o600)
    made = preparer(folder, held, archive, users_allowed=(user,))
    await made.ensure(job_id, JobSpec(name="x", command=("true",), user=user), bundle_of(archive))


def _state(folder: Path) -> list[Path]:
    """What an agent keeps beside its jobs, made as the agent makes it."""
    for name in ("checkpoints", "pins", "store", "spool", "commands"):
        (folder / name).mkdir(mode=0o700)
    (folder / "identity").mkdir(mode=0o700)
    for name in ("identity/identity.key", "lock", "commands/c-1.json"):
        os.close(os.open(folder / name, os.O_WRONLY | os.O_CREAT, 0o600))
    names = ("checkpoints", "pins", "store", "spool", "commands", "identity/identity.key", "lock", "jobs")
    return [folder / name for name in names]


def test_a_job_reaches_nothing_but_its_own(folder: Path, stranger_python: str) -> None:
    told, own_run = asyncio.run(_intrude(folder, stranger_python))
    account = pwd.getpwnam(STRANGER)
    assert (told["uid"], told["gid"]) == (account.pw_uid, account.pw_gid)
    assert 0 not in told["groups"]
    assert set(told["fds"]) <= {"0", "1", "2", "3"}  # 3: the listing itself
    assert not [name for name in told["environment"] if name in ("NOTIFY_SOCKET", "HELIOTROPE_IDENTITY")]
    tries = {name: outcome for name, outcome in told.items() if isinstance(outcome, str)}
    own = {name: outcome for name, outcome in tries.items() if name in own_run}
    assert set(own.values()) == {"WORKED"}, own  # the tries themselves work where they may
    others = {name: outcome for name, outcome in tries.items() if name not in own_run}
    assert len(others) > 20
    assert not {name: outcome for name, outcome in others.items() if outcome not in REFUSED}


async def _intrude(folder: Path, python: str) -> tuple[dict[str, Any], set[str]]:
    """Two jobs: one of ``daemon`` that sleeps, one of ours that tries. What it tells, and the tries that may work."""
    (folder / "jobs").mkdir(mode=0o711)
    held = HeldJobs(folder / "jobs")
    private = _state(folder)
    await _prepared(folder, held, "j-victim", "daemon")
    await _prepared(folder, held, "j-intruder", STRANGER)
    victim = await Run.launch(_request(folder, "j-victim", ("sleep", "600"), user="daemon"), DetachedLauncher())
    try:
        work = held.work("j-intruder")
        shutil.copy(INTRUDER, work / "intruder.py")
        (work / "intruder.py").chmod(0o644)
        status = await victim.status()
        theirs = held.folder("j-victim")
        guard = processes.read(status.supervisor_pid)
        assert guard is not None
        run_dir = held.folder("j-intruder") / "runs" / "1-0"
        tries = [("read", str(path)) for path in private]
        tries += [("make", str(path)) for path in (folder, folder / "jobs", held.folder("j-intruder"), run_dir)]
        tries += [("read", str(held.folder("j-intruder"))), ("read", str(run_dir / "run.json"))]
        tries += [("write", str(run_dir / name)) for name in ("status.json", "events.jsonl", "stdout.log")]
        tries += [("connect", str(run_dir / "control.sock"))]
        tries += [("connect", str(theirs / "runs" / "1-0" / name)) for name in ("control.sock", "job.sock")]
        for name in ("", "record.json", "work", "work/secret.txt", "runs/1-0", "runs/1-0/run.json"):
            tries += [("read", str(theirs / name)), ("write", str(theirs / name / "x"))]
        for pid in (status.supervisor_pid, guard.ppid, status.job_pid, os.getpid()):
            tries += [("trace", str(pid)), ("kill", str(pid)), ("read", f"/proc/{pid}/environ")]
        tries += [("become", "0")]
        allowed = [("read", str(work / "secret.txt")), ("make", str(work)), ("read", str(work))]
        (work / "tries.json").write_text(json.dumps(tries + allowed))
        (work / "tries.json").chmod(0o644)
        command = (python, "intruder.py", "tries.json", "told.json")
        ended = await _ended(_request(folder, "j-intruder", command))
        assert ended.reason == "finished", (run_dir / "stderr.log").read_text()
        assert (await victim.status()).state == "running"
        told: dict[str, Any] = json.loads((work / "told.json").read_text())
        return told, {f"{kind} {target}" for kind, target in allowed}
    finally:
        await victim.kill()


def test_a_signal_is_not_sent_to_who_has_the_number_now(folder: Path, stranger_python: str) -> None:
    """A process says that it takes requests by signal and ends: its number must not be signalled afterwards."""
    source = """
import json, os, signal, socket, subprocess, sys, time
signal.signal(signal.SIGUSR1, lambda *_: None)
def hello():
    stream = socket.socket(socket.AF_UNIX)
    folder = os.open(os.path.dirname(os.environ["HELIOTROPE_SOCKET"]), os.O_PATH)
    stream.connect("/proc/self/fd/%d/job.sock" % folder)
    stream.sendall(json.dumps({"type": "hello", "protocol": 1, "ready": True}).encode() + b"\\n")
    stream.recv(100)
if os.fork() == 0:
    hello()
    os._exit(0)
os.wait()
open("said", "w").close()
time.sleep(600)
"""
    asyncio.run(_ask(folder, stranger_python, source))


async def _ask(folder: Path, python: str, source: str) -> None:
    request = _request(folder, "j-1", (python, "-c", source))
    work = Path(request.working_dir)
    for path in (work, *work.parents):
        if path.is_relative_to(folder):
            path.chmod(0o777 if path == work else 0o711)
    request = msgspec.structs.replace(request, request_mode="signal", signal="SIGUSR1")
    run = await Run.launch(request, DetachedLauncher())
    try:
        deadline_s = asyncio.get_running_loop().time() + 30
        while not (work / "said").exists():
            assert asyncio.get_running_loop().time() < deadline_s, (Path(request.run_dir) / "stderr.log").read_text()
            await asyncio.sleep(0.02)
        await run.request_checkpoint("r-1")
        (waiting,) = (await run.live()).requests
        assert waiting.state == "open" and "none of this job's" in waiting.error
    finally:
        await run.kill()


# -- an account for each job


def test_each_job_of_a_pool_has_an_account_for_itself(folder: Path, stranger_python: str) -> None:
    """Also in time: what is left of an ended job is shut before its account is given away."""
    held, running = HeldJobs(folder / "jobs"), set[str]()
    jobs = JobsConfig(users_pool=("nobody", "games"), users_allowed=("daemon",))
    accounts = Accounts(jobs, held, lambda: running)

    def take(job_id: str) -> str:
        user = accounts.choose(job_id, SPEC)
        held.put(HeldJob(job_id=job_id, spec=SPEC, bundle_digest=b"", user=user, epoch=1))
        held.admit(job_id, accounts.owner(user))
        running.add(job_id)
        return user

    assert [take("j-1"), take("j-2")] == ["nobody", "games"]
    assert accounts.choose("j-3", msgspec.structs.replace(SPEC, user="daemon")) == "daemon"
    with pytest.raises(Conflict, match=r"all 2 accounts of this node's jobs\.users_pool have jobs"):
        take("j-3")
    running.remove("j-1")
    assert take("j-3") == "nobody"
    assert _reads(stranger_python, folder / "jobs" / "j-3") and not _reads(stranger_python, folder / "jobs" / "j-1")
    with pytest.raises(Conflict, match="its account 'nobody' has another job now"):
        take("j-1")
    running.remove("j-3")
    assert take("j-1") == "nobody"
    assert _reads(stranger_python, folder / "jobs" / "j-1") and not _reads(stranger_python, folder / "jobs" / "j-3")


def _reads(python: str, job: Path) -> bool:
    """Whether the account gets through the job's folder to what lies in it."""
    (job / "work").mkdir(exist_ok=True)
    (job / "work").chmod(0o755)
    account = pwd.getpwnam(STRANGER)
    command = [python, "-c", f"import os; os.listdir({str(job / 'work')!r})"]
    done = subprocess.run(
        command, user=account.pw_uid, group=account.pw_gid, extra_groups=[], capture_output=True, check=False
    )
    return done.returncode == 0
