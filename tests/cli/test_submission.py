"""A job's files: what is gathered, what is refused, and that the archive depends on nothing but them."""

from __future__ import annotations

import os
import socket
import tarfile
import tempfile
from pathlib import Path

import pytest
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st

from heliotrope.agent import bundle
from heliotrope.cli import submission
from heliotrope.foundation.errors import InvalidInput


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "job"
    (root / "data" / "deep").mkdir(parents=True)
    (root / "data" / "empty").mkdir()
    (root / "a.py").write_text("a")
    (root / "b.py").write_text("b")
    (root / "run.sh").write_text("#!/bin/sh\n")
    (root / "run.sh").chmod(0o700)
    (root / "data" / "deep" / "x.bin").write_bytes(bytes(3_000_000))
    (root / "data" / "link").symlink_to("deep/x.bin")
    return root


def test_globs_folders_and_the_whole_folder(folder: Path) -> None:
    assert list(submission.collect(folder, ["*.py"])) == ["a.py", "b.py"]
    everything = ["data", "data/deep", "data/deep/x.bin", "data/empty", "data/link"]
    assert list(submission.collect(folder, ["data"])) == everything
    assert list(submission.collect(folder, ["data/**/*.bin", "a.py", "a.*"])) == ["a.py", "data/deep/x.bin"]
    assert list(submission.collect(folder, ["."])) == ["a.py", "b.py", *everything, "run.sh"]
    assert submission.collect(folder, []) == {}


def test_a_name_with_glob_characters_is_a_name_first(folder: Path) -> None:
    (folder / "a[1].txt").write_text("")
    (folder / "a1.txt").write_text("")
    assert list(submission.collect(folder, ["a[1].txt"])) == ["a[1].txt"]


@pytest.mark.parametrize("pattern", ["none.txt", "*.none", "data/none/*"])
def test_a_pattern_that_matches_nothing(folder: Path, pattern: str) -> None:
    with pytest.raises(InvalidInput, match=r"matches nothing in .*job"):
        submission.collect(folder, [pattern])


@pytest.mark.parametrize("pattern", ["../job/a.py", "/etc/hostname", "data/../../x"])
def test_a_pattern_that_leaves_the_folder(folder: Path, pattern: str) -> None:
    with pytest.raises(InvalidInput, match="leaves the job file's folder"):
        submission.collect(folder, [pattern])


@pytest.mark.parametrize(
    ("target", "text"),
    [
        ("/etc/hostname", "out of the job file's folder"),
        ("../../elsewhere", "out of the job file's folder"),
        ("../a.py", "not among the files"),
        ("gone", "not among the files"),
    ],
)
def test_links_that_would_dangle_at_the_node(folder: Path, target: str, text: str) -> None:
    (folder / "data" / "bad").symlink_to(target)
    with pytest.raises(InvalidInput, match=f"'data/bad' is a link to .*{text}"):
        submission.collect(folder, ["data"])


def test_a_link_to_a_folder_among_the_files_stays_one(folder: Path) -> None:
    (folder / "data" / "newest").symlink_to("deep")
    assert "data/newest" in submission.collect(folder, ["data"])
    with pytest.raises(InvalidInput, match="goes through the link data/newest"):
        submission.collect(folder, ["data/newest/x.bin"])


def test_sockets_and_pipes_are_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)  # a socket's path may have 107 bytes at most
    os.mkfifo(folder / "pipe")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("sock")
    for name in ("pipe", "sock"):
        with pytest.raises(InvalidInput, match=f"'{name}' is neither a file"):
            submission.collect(folder, [name])


def test_the_agent_unpacks_what_was_packed(folder: Path, tmp_path: Path) -> None:
    with submission.pack(submission.collect(folder, ["."])) as archive:
        data = b"".join(archive.pieces())
        assert [len(piece) for piece in archive.pieces()][:2] == [1024**2, 1024**2]
        assert (len(data), blake3(data).digest()) == (archive.size_bytes, archive.digest)
    (tmp_path / "bundle.tar").write_bytes(data)
    work = tmp_path / "work"
    bundle.unpack(tmp_path / "bundle.tar", work)
    for path in folder.rglob("*"):
        there = work / path.relative_to(folder)
        assert there.is_symlink() == path.is_symlink() and there.is_dir() == path.is_dir()
        if path.is_file():
            assert there.read_bytes() == path.read_bytes()
    assert (work / "run.sh").stat().st_mode & 0o777 == 0o755
    assert (work / "a.py").stat().st_mode & 0o777 == 0o644
    assert (work / "data" / "link").readlink() == Path("deep/x.bin")


def test_owners_and_times_do_not_travel(folder: Path, tmp_path: Path) -> None:
    with submission.pack(submission.collect(folder, ["."])) as archive:
        (tmp_path / "bundle.tar").write_bytes(b"".join(archive.pieces()))
    with tarfile.open(tmp_path / "bundle.tar", "r:") as tar:
        seen = {(member.mtime, member.uid, member.gid, member.uname, member.gname) for member in tar}
    assert seen == {(0, 0, 0, "", "")}


TREES = st.dictionaries(
    st.text("abcé[*_ ", min_size=1, max_size=5).filter(lambda name: name.strip() == name),
    st.binary(max_size=50),
    min_size=1,
)


@settings(max_examples=30, deadline=None)
@given(tree=TREES, seed=st.randoms(use_true_random=False))
def test_equal_files_make_equal_archives(tree: dict[str, bytes], seed: object) -> None:
    digests = set()
    for turn in range(2):
        with tempfile.TemporaryDirectory() as made:
            root = Path(made)
            names = sorted(tree, reverse=bool(turn))
            for name in names:
                (root / name).write_bytes(tree[name])
                (root / name).chmod(0o640 if turn else 0o604)
                os.utime(root / name, (turn * 1e9, turn * 1e9))
            with submission.pack(submission.collect(root, names)) as archive:
                digests.add(archive.digest)
    assert len(digests) == 1


def test_a_changed_byte_name_or_mode_changes_the_digest(folder: Path) -> None:
    def digest() -> bytes:
        with submission.pack(submission.collect(folder, ["*"])) as archive:
            return archive.digest

    seen = [digest()]
    (folder / "a.py").write_text("A")
    seen.append(digest())
    (folder / "a.py").rename(folder / "c.py")
    seen.append(digest())
    (folder / "c.py").chmod(0o755)
    seen.append(digest())
    assert len(set(seen)) == 4


def test_files_that_change_while_they_are_read(folder: Path) -> None:
    """The kernel's files are read with more bytes, or fewer, than their size says."""
    with submission.pack({"status": Path("/proc/self/status")}) as archive:
        assert archive.size_bytes == tarfile.RECORDSIZE  # said to be empty, so it is
    with pytest.raises(InvalidInput, match="'mtu' became shorter while it was read"):
        submission.pack({"mtu": Path("/sys/class/net/lo/mtu")})


def test_a_file_that_goes_away(folder: Path) -> None:
    collected = submission.collect(folder, ["a.py"])
    (folder / "a.py").unlink()
    with pytest.raises(InvalidInput, match=r"cannot read 'a\.py': No such file"):
        submission.pack(collected)
