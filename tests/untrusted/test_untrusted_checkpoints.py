"""Checkpoints that try: what a job puts into its folder, and what a peer says of one."""

from __future__ import annotations

import asyncio
import io
import os
import socket
import stat
import tarfile
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from heliotrope.agent.checkpoints import manifest as manifests
from heliotrope.agent.checkpoints.manifest import Entry, Manifest
from heliotrope.agent.checkpoints.pins import Pins
from heliotrope.agent.checkpoints.reader import CheckpointReader
from heliotrope.agent.checkpoints.registry import CheckpointRegister
from heliotrope.agent.checkpoints.scan import build
from heliotrope.agent.checkpoints.store import ChunkStore
from heliotrope.agent.held import HeldJob, HeldJobs
from heliotrope.agent.outputs import archive
from heliotrope.agent.vault import Vault
from heliotrope.foundation.errors import Conflict, Corrupt, HeliotropeError, InvalidInput, NotFound
from heliotrope.foundation.jobspec import CheckpointRules, JobSpec

STRANGER_UID = 65534
AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="root is needed to make other accounts' files")
ROOT = Entry("", "dir", 0o755, 0)


@pytest.fixture
def held(folder: Path) -> HeldJobs:
    """A held job with a working folder; its checkpoints lie in a folder within a folder."""
    jobs = HeldJobs(folder / "jobs")
    spec = JobSpec(name="x", command=("true",), checkpoint=CheckpointRules(directory="out/checkpoints"))
    jobs.put(HeldJob(job_id="j-1", spec=spec, bundle_digest=b""))
    (jobs.work("j-1") / "out" / "checkpoints" / "step-1").mkdir(parents=True)
    (jobs.work("j-1") / "out" / "checkpoints" / "step-1" / "weights").write_bytes(b"w" * 1000)
    return jobs


@pytest.fixture
def vault(folder: Path, held: HeldJobs) -> Vault:
    store = ChunkStore(folder / "store", quota_bytes=1 << 30)
    return Vault(CheckpointRegister(folder / "register"), Pins(folder / "pins"), store, held)


def _give(path: Path, uid: int = STRANGER_UID) -> None:
    for each in (path, *path.rglob("*")):
        os.chown(each, uid, uid, follow_symlinks=False)


# -- what a peer says: a manifest is refused before anything of it is made


def _chain(*entries: Entry) -> Manifest:
    return Manifest((ROOT, *entries))


@pytest.mark.parametrize(
    "manifest",
    [
        _chain(Entry("../evil", "file", 0o644, 0)),
        _chain(Entry("/etc/evil", "file", 0o644, 0)),
        _chain(Entry("a", "dir", 0o755, 0), Entry("a/../../evil", "file", 0o644, 0)),
        _chain(Entry("a%00b", "file", 0o644, 0)),
        _chain(Entry("n" * 256, "file", 0o644, 0)),
        _chain(Entry("su", "file", 0o4755, 0)),
        _chain(Entry("sg", "file", 0o2755, 0)),
        _chain(Entry("d", "dir", 0o4755, 0)),
        _chain(Entry("l", "symlink", 0o777, 0, target="/etc/passwd")),
        _chain(Entry("l", "symlink", 0o777, 0, target="../x")),
        _chain(Entry("a", "symlink", 0o777, 0, target="."), Entry("a/b", "file", 0o644, 0)),
        _chain(
            Entry("a", "dir", 0o755, 0),
            Entry("a/up", "symlink", 0o777, 0, target=".."),
            Entry("out", "symlink", 0o777, 0, target="a/up/../etc"),
        ),
        _chain(Entry("same", "file", 0o644, 0), Entry("same", "file", 0o644, 0)),
        Manifest((Entry("", "symlink", 0o777, 0, target="/etc"),)),
    ],
    ids=lambda manifest: manifest.entries[-1].path[:20] or "root",
)
def test_manifests_that_lead_elsewhere(manifest: Manifest) -> None:
    with pytest.raises(InvalidInput):
        manifests.decode(manifests.encode(manifest))


def test_a_manifest_of_a_device_or_of_an_exabyte_is_none() -> None:
    for entry in (("null", "chr", 0o666, 0, 0, "", ()), ("big", "file", 0o644, 0, 1 << 60, "", ())):
        data = bytes([manifests.MANIFEST_VERSION]) + msgspec.msgpack.encode([[ROOT, entry]])
        with pytest.raises(Corrupt):
            manifests.decode(data)


# -- what a job puts there


def _pipe(path: Path) -> None:
    os.mkfifo(path)


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))


def _device(path: Path) -> None:
    os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 3))


def _absolute(path: Path) -> None:
    path.symlink_to("/etc/shadow")


def _upwards(path: Path) -> None:
    path.symlink_to("../../../../identity.key")


@pytest.mark.parametrize(
    "put", [_pipe, _socket, pytest.param(_device, marks=AS_ROOT), _absolute, _upwards], ids=lambda put: put.__name__
)
def test_what_cannot_be_carried(held: HeldJobs, vault: Vault, put: Callable[[Path], None], folder: Path) -> None:
    path = held.work("j-1") / "out" / "checkpoints" / "step-1"
    put(path / "trick")
    with pytest.raises(InvalidInput, match="cannot carry"):
        vault.add("j-1", 1, path, None)
    assert vault.checkpoints("j-1") == () and list((folder / "pins").iterdir()) == []


def test_set_user_id_does_not_travel(held: HeldJobs) -> None:
    path = held.work("j-1") / "out" / "checkpoints" / "step-1"
    (path / "su").write_bytes(b"#!")
    (path / "su").chmod(0o6755)
    assert {entry.path: oct(entry.mode) for entry in build(path).entries}["su"] == "0o755"


def test_a_checkpoint_that_is_a_link(held: HeldJobs, vault: Vault, folder: Path) -> None:
    link = held.work("j-1") / "out" / "checkpoints" / "step-2"
    link.symlink_to(folder)
    with pytest.raises(InvalidInput, match="it is a symlink"):
        vault.add("j-1", 1, link, None)


@pytest.mark.parametrize("where", ["out", "out/checkpoints"])
def test_a_link_in_place_of_the_checkpoint_folder(held: HeldJobs, folder: Path, where: str) -> None:
    """The agent's own identity, offered as a checkpoint: a job owns every folder below its own."""
    (folder / "identity" / "checkpoints").mkdir(parents=True)
    (folder / "identity" / "checkpoints" / "identity.key").write_text("secret")
    place = held.work("j-1") / where
    place.rename(place.with_name("aside"))
    place.symlink_to(folder / "identity" / ("checkpoints" if where.endswith("checkpoints") else ""))
    with pytest.raises(Conflict, match="make it a folder, not a link"), held.opened_checkpoints(held.get("j-1")):
        pytest.fail("it was opened")


def test_the_folder_that_was_opened_is_the_folder_that_is_read(held: HeldJobs, vault: Vault, folder: Path) -> None:
    """The job turns it into a link between the look and the reading."""
    (folder / "secret" / "step-1").mkdir(parents=True)
    (folder / "secret" / "step-1" / "identity.key").write_text("secret")
    with held.opened_checkpoints(held.get("j-1")) as opened:
        assert opened is not None
        place = held.work("j-1") / "out" / "checkpoints"
        place.rename(place.with_name("aside"))
        place.symlink_to(folder / "secret")
        checkpoint = vault.add("j-1", 1, opened / "step-1", None)
    found = vault.path("j-1", checkpoint)
    assert [path.name for path in found.iterdir()] == ["weights"]


def test_a_folder_that_is_not_there_is_none(held: HeldJobs) -> None:
    (held.work("j-1") / "out").rename(held.work("j-1") / "aside")
    with held.opened_checkpoints(held.get("j-1")) as opened:
        assert opened is None


@AS_ROOT
@pytest.mark.parametrize("mode", [0o600, 0o644])
def test_a_hard_link_to_somebody_elses_file(held: HeldJobs, vault: Vault, folder: Path, mode: int) -> None:
    """Where the kernel lets a job make one: what it cannot read itself would come back as its own."""
    _give(held.work("j-1"))
    (folder / "shadow").write_text("root:secret")
    (folder / "shadow").chmod(mode)
    path = held.work("j-1") / "out" / "checkpoints" / "step-1"
    (path / "weights-2").hardlink_to(folder / "shadow")
    with pytest.raises(InvalidInput, match="belongs to uid 0"):
        vault.add("j-1", 1, path, None)
    assert vault.checkpoints("j-1") == () and list((folder / "pins").iterdir()) == []


@AS_ROOT
def test_a_pin_is_for_its_own_account_only(held: HeldJobs, vault: Vault, folder: Path) -> None:
    work = held.work("j-1")
    (work / "out" / "checkpoints" / "step-1" / "deep").mkdir(mode=0o700)
    _give(work)
    before = build(work / "out" / "checkpoints" / "step-1")
    pinned = vault.path("j-1", vault.add("j-1", 1, work / "out" / "checkpoints" / "step-1", None))
    assert {path.lstat().st_uid for path in (pinned, *pinned.rglob("*"))} == {STRANGER_UID}
    assert build(pinned) == before  # its modes are the checkpoint's
    for uid, allowed in ((STRANGER_UID, True), (12345, False)):
        assert _may_read(pinned / "weights", uid) is allowed
        assert _may_read(folder / "pins", uid) is False
    assert not _may_write(pinned.parent, STRANGER_UID)


def _may_read(path: Path, uid: int) -> bool:
    return _as(uid, lambda: os.close(os.open(path, os.O_RDONLY)))


def _may_write(path: Path, uid: int) -> bool:
    return _as(uid, lambda: os.close(os.open(path / "new", os.O_CREAT | os.O_WRONLY)))


def _as(uid: int, act: Callable[[], None]) -> bool:
    """In a process of that account and no other group."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.setgroups([])
            os.setgid(uid)
            os.setuid(uid)
            act()
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


# -- trees that the job owns, read afterwards


@pytest.mark.parametrize("trick", ["pipe", "link", "folder link"])
def test_a_tree_that_changes_under_its_reader(folder: Path, trick: str) -> None:
    """Neither waited for (a pipe) nor followed (a link): a received checkpoint belongs to the job that resumes it."""
    tree = folder / "tree"
    (tree / "deep").mkdir(parents=True)
    (tree / "deep" / "weights").write_bytes(b"w" * 1000)
    reader = CheckpointReader(tree, build(tree))
    (folder / "elsewhere").mkdir()
    (folder / "elsewhere" / "weights").write_bytes(b"w" * 1000)  # the right bytes in the wrong place
    if trick == "folder link":
        (tree / "deep").rename(folder / "aside")
        (tree / "deep").symlink_to(folder / "elsewhere")
    else:
        (tree / "deep" / "weights").unlink()
        if trick == "pipe":
            os.mkfifo(tree / "deep" / "weights")
        else:
            (tree / "deep" / "weights").symlink_to(folder / "elsewhere" / "weights")
    with pytest.raises(NotFound):
        reader.read_into(0, memoryview(bytearray(1000)))


# -- outputs


async def _fetched(work: Path, *paths: str) -> dict[str, bytes]:
    data = b"".join([piece async for piece in archive(work, paths)])
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return {one.name: _content(tar, one) for one in tar}


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = tar.extractfile(member) if member.isreg() else None
    return file.read() if file is not None else member.linkname.encode()


def test_outputs_come_as_they_are(held: HeldJobs) -> None:
    work = held.work("j-1")
    (work / "result.json").write_text("{}")
    (work / "out" / "latest").symlink_to("checkpoints")
    found = asyncio.run(_fetched(work, "result.json", "out"))
    assert found["result.json"] == b"{}" and found["out/latest"] == b"checkpoints"
    assert found["out/checkpoints/step-1/weights"] == b"w" * 1000


@pytest.mark.parametrize("path", ["../x", "/etc/shadow", "out/../../x"])
def test_outputs_that_lead_outside(held: HeldJobs, path: str) -> None:
    with pytest.raises(InvalidInput, match="leaves the job's folder"):
        asyncio.run(_fetched(held.work("j-1"), path))


def test_outputs_through_links(held: HeldJobs, folder: Path) -> None:
    (folder / "secret").write_text("secret")
    (held.work("j-1") / "door").symlink_to(folder)
    for path in ("door/secret", "door"):
        with pytest.raises(HeliotropeError):
            asyncio.run(_fetched(held.work("j-1"), path))


@AS_ROOT
def test_outputs_that_are_somebody_elses(held: HeldJobs, folder: Path) -> None:
    work = held.work("j-1")
    _give(work)
    (folder / "shadow").write_text("secret")
    (work / "result.json").hardlink_to(folder / "shadow")
    with pytest.raises(InvalidInput, match="belongs to uid 0"):
        asyncio.run(_fetched(work, "result.json"))
