"""Archives that try: every trick is refused by name, and nothing of it is on disk afterwards, inside or outside."""

from __future__ import annotations

import io
import os
import shutil
import stat
import tarfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from heliotrope.agent import bundle
from heliotrope.foundation.errors import InvalidInput


class Packed:
    """Builds one archive, member by member, with whatever a tool would refuse to write."""

    def __init__(self, path: Path, *, format: int = tarfile.PAX_FORMAT) -> None:
        self.path = path
        self._tar = tarfile.open(path, "w", format=format)  # noqa: SIM115 - done() closes it

    def add(self, name: str, data: bytes = b"", **fields: object) -> Packed:
        member = tarfile.TarInfo(name)
        member.size = len(data)
        for field, value in fields.items():
            setattr(member, field, value)
        self._tar.addfile(member, io.BytesIO(data) if member.isreg() else None)
        return self

    def link(self, name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> Packed:
        return self.add(name, type=kind, linkname=target)

    def folder(self, name: str) -> Packed:
        return self.add(name, type=tarfile.DIRTYPE, mode=0o755)

    def done(self) -> Path:
        self._tar.close()
        return self.path


@pytest.fixture
def packed(tmp_path: Path) -> Packed:
    return Packed(tmp_path / "bundle.tar")


def refused(archive: Path, words: str = "field files") -> None:
    """The archive is refused with these words, and the disk is as it was."""
    before = everything(archive.parent)
    with pytest.raises(InvalidInput, match=words):
        bundle.unpack(archive, archive.parent / "work")
    assert everything(archive.parent) == before


def everything(folder: Path) -> dict[str, tuple[int, int]]:
    found = {}
    for path in (folder, *folder.rglob("*")):
        status = path.lstat()
        found[str(path)] = (status.st_mode, status.st_size if stat.S_ISREG(status.st_mode) else 0)
    return found


def test_an_honest_bundle(packed: Packed, tmp_path: Path) -> None:
    packed.folder("data").add("./data/a b.txt", b"words" * 300_000).add("run.sh", b"#!", mode=0o755)
    packed.link("data/latest", "a b.txt").link("run", "./data/../run.sh").add("deep/er/x", b"1").folder("empty")
    work = tmp_path / "work"
    bundle.unpack(packed.done(), work)
    assert (work / "data" / "latest").read_bytes() == b"words" * 300_000
    assert (work / "run").read_bytes() == b"#!" and (work / "deep" / "er" / "x").read_bytes() == b"1"
    modes = {name: stat.S_IMODE((work / name).stat().st_mode) for name in ("", "data", "data/a b.txt", "run.sh")}
    assert modes == {"": 0o700, "data": 0o755, "data/a b.txt": 0o644, "run.sh": 0o755}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bundle.tar", "work"]


@pytest.mark.parametrize(
    "name",
    [
        "../evil",
        "/etc/evil",
        "a/../../evil",
        "a/..",
        "..",
        "//evil",
        "./../evil",
        "x" * 256,
        "d/" * 200 + "f",
        "d" * 99 + "/" + "é" * 200,
    ],
)
def test_names_that_lead_elsewhere(packed: Packed, name: str) -> None:
    refused(packed.add("fine", b"1").add(name, b"evil").done(), "field files: .*(outside|shorten)")


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (tarfile.LNKTYPE, "no file, folder or link"),
        (tarfile.CHRTYPE, "no file, folder or link"),
        (tarfile.BLKTYPE, "no file, folder or link"),
        (tarfile.FIFOTYPE, "no file, folder or link"),
        (b"Z", "no file, folder or link"),
        (tarfile.CONTTYPE, ""),
    ],
)
def test_kinds_of_members(packed: Packed, tmp_path: Path, kind: bytes, words: str) -> None:
    """Devices, pipes and hard links; what is only an old way to say "file" is one."""
    (tmp_path / "secret").write_text("theirs")
    packed.add("device", type=kind, linkname=str(tmp_path / "secret"), devmajor=1, devminor=3)
    if words:
        refused(packed.done(), words)
    else:
        bundle.unpack(packed.done(), tmp_path / "work")
        assert (tmp_path / "work" / "device").is_file()


@pytest.mark.parametrize("target", ["/etc/passwd", "../outside", "a/../../outside", "", "x/" * 3000])
def test_links_that_lead_outside(packed: Packed, target: str) -> None:
    refused(packed.add("a/file", b"1").link("a-link", target).done(), "field files: .*outside|link")


def test_a_link_that_leads_outside_by_way_of_others(packed: Packed) -> None:
    """Each is inside by its text: only who follows them as the kernel does sees it."""
    packed.folder("a").folder("a/b").link("a/b/up", "../..").link("out", "a/b/up/../etc")
    refused(packed.done(), "outside")


def test_a_link_that_grows_while_it_is_resolved(packed: Packed) -> None:
    """Names so long that a resolver gives up half-way and believes the rest (the standard library's did)."""
    name, here = "d" * 200, ""
    for letter in "abcdefghijklmnop":
        packed.folder(f"{here}{name}").link(f"{here}{letter}", name)
        here += f"{name}/"
    short = "/".join("abcdefghijklmnop")
    packed.link(f"{short}/{'l' * 200}", "../" * 16).link("escape", f"{short}/{'l' * 200}/../../evil")
    refused(packed.done())


def test_a_file_through_a_link_of_the_same_archive(packed: Packed, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    packed.link("door", "../outside").add("door/evil", b"evil")
    refused(packed.done())
    assert list((tmp_path / "outside").iterdir()) == []


def test_a_file_through_a_link_that_stays_inside_is_refused_too(packed: Packed) -> None:
    refused(packed.folder("real").link("door", "real").add("door/file", b"1").done(), "name it once")


@pytest.mark.parametrize("second", ["file", "folder", "link"])
def test_a_name_that_comes_twice(packed: Packed, second: str) -> None:
    packed.add("same", b"first")
    if second == "file":
        packed.add("same", b"second")
    elif second == "folder":
        packed.add("same/inside", b"second")
    else:
        packed.link("same", "other")
    refused(packed.done(), "name it once")


def test_set_user_id_and_owner_do_not_come_along(packed: Packed, tmp_path: Path) -> None:
    packed.add("su", b"#!", mode=0o6755, uid=12345, gid=12345).folder("open")
    packed.add("writable", b"1", mode=0o777, uname="root")
    bundle.unpack(packed.done(), tmp_path / "work")
    su = (tmp_path / "work" / "su").stat()
    assert (stat.S_IMODE(su.st_mode), su.st_uid) == (0o755, os.geteuid())
    assert stat.S_IMODE((tmp_path / "work" / "writable").stat().st_mode) == 0o755


def header(name: bytes, size: bytes, kind: bytes = b"0") -> bytes:
    """One raw header block with the size field as given (11 octal digits, or base-256)."""
    block = bytearray(512)
    block[0 : len(name)] = name
    block[100:108], block[108:116], block[116:124] = b"0000644\0", b"0000000\0", b"0000000\0"
    block[124 : 124 + len(size)] = size
    block[136:148], block[156:157], block[257:265] = b"00000000000\0", kind, b"ustar\x0000"
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


HUGE, NEGATIVE = b"\x80" + (1 << 80).to_bytes(11, "big"), b"\xff" * 11 + b"\x00"


@pytest.mark.parametrize("size", [HUGE, NEGATIVE, b"77777777777"], ids=["huge", "negative", "8 GiB"])
@pytest.mark.parametrize("kind", [b"0", b"x", b"g", b"L", b"K", b"S", b"5"])
def test_sizes_that_are_not_there(tmp_path: Path, size: bytes, kind: bytes) -> None:
    """In headers of files, extended attributes, long names and sparse files: refused, not allocated, not waited for."""
    archive = tmp_path / "bundle.tar"
    archive.write_bytes(header(b"file", size, kind) + b"x" * 512 + header(b"next", b"00000000000\0") + bytes(1024))
    if kind == b"5" and size != NEGATIVE:
        bundle.unpack(archive, tmp_path / "work")  # a folder has no bytes, whatever its header says
    else:
        refused(archive)


def test_a_sparse_file_of_an_exabyte(tmp_path: Path) -> None:
    attributes = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": str(1 << 60)}
    packed = Packed(tmp_path / "bundle.tar")
    packed.add("hole", b"1\n0\n1\n".ljust(512, b"\0"), pax_headers={**attributes, "GNU.sparse.name": "hole"})
    refused(packed.done(), "size of its own making")


def test_a_chain_of_headers(tmp_path: Path) -> None:
    """Each extended header is read inside the one before: a long chain must not end the agent."""
    archive = tmp_path / "bundle.tar"
    archive.write_bytes(header(b"x", b"00000000000\0", b"x") * 5000 + bytes(1024))
    refused(archive)


def test_too_many_entries(packed: Packed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundle, "MEMBERS_LIMIT", 3)
    for number in range(4):
        packed.folder(f"f{number}")
    refused(packed.done(), "more than 3 entries")


def test_no_archive_at_all(tmp_path: Path) -> None:
    (tmp_path / "bundle.tar").write_bytes(b"hello" * 200)
    refused(tmp_path / "bundle.tar", "not a tar archive")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root hands files to another account")
def test_everything_is_handed_to_the_jobs_account(packed: Packed, tmp_path: Path) -> None:
    packed.add("a/b/file", b"1").link("a/link", "b/file").folder("empty")
    bundle.unpack(packed.done(), tmp_path / "work", (65534, 65534))
    found = [tmp_path / "work", *(tmp_path / "work").rglob("*")]
    assert {path.lstat().st_uid for path in found} == {65534} and len(found) == 6


@given(data=st.data())
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_damaged_archive_is_refused_or_unpacked_whole(data: st.DataObject, tmp_path: Path) -> None:
    """Any bytes changed anywhere: an error of ours or a folder, and nothing outside of it."""
    archive = tmp_path / "bundle.tar"
    packed = Packed(archive, format=data.draw(st.sampled_from([tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])))
    whole = packed.folder("d").add("d/" + "n" * 120, b"data").link("l", "d").add("é", b"2").done().read_bytes()
    spoiled = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 6))):
        spoiled[data.draw(st.integers(0, len(spoiled) - 1))] = data.draw(st.integers(0, 255))
    archive.write_bytes(spoiled[: data.draw(st.integers(0, len(spoiled)))])
    work = tmp_path / "work"
    try:
        bundle.unpack(archive, work)
    except InvalidInput:
        assert not work.exists()
    names = {path.name for path in tmp_path.iterdir()}
    assert names <= {"bundle.tar", "work"}
    if work.exists():
        shutil.rmtree(work)
