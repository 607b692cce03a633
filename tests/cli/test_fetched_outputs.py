"""Outputs are put in place whole or not at all, inside the folder and nowhere else."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heliotrope.agent import outputs as agent_outputs
from heliotrope.cli import outputs
from heliotrope.foundation.errors import Conflict, Corrupt, InvalidInput, Unreachable


def _tar(**files: bytes | str) -> bytes:
    """An archive of files (bytes) and links (text); ``__`` in a name stands for a slash."""
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name.replace("__", "/").replace("dot_dot", ".."))
            if isinstance(content, str):
                member.type, member.linkname = tarfile.SYMTYPE, content
                tar.addfile(member)
            else:
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
    return sink.getvalue()


def _in_place(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@given(piece_bytes=st.integers(1, 30_000))
def test_however_the_bytes_are_cut(tmp_path_factory: pytest.TempPathFactory, piece_bytes: int) -> None:
    folder = tmp_path_factory.mktemp("out")
    data = _tar(result=b"1" * 20_000, logs__a=b"a", logs__deep__b=b"")
    pieces = [data[at : at + piece_bytes] for at in range(0, len(data), piece_bytes)]
    assert outputs.unpack(pieces, folder, force=False) == ["logs/a", "logs/deep/b", "result"]
    assert _in_place(folder) == {"result": b"1" * 20_000, "logs/a": b"a", "logs/deep/b": b""}


def test_what_an_agent_sends(tmp_path: Path) -> None:
    work = tmp_path / "work"
    (work / "results" / "empty").mkdir(parents=True)
    (work / "results" / "r.json").write_text("{}")
    (work / "results" / "newest").symlink_to("r.json")
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w|") as tar:  # as heliotrope.agent.outputs writes it
        for path in agent_outputs._matches(work, ["results"]):
            tar.add(path, arcname=str(path.relative_to(work)))
    out = tmp_path / "out"
    names = outputs.unpack([sink.getvalue()], out, force=False)
    assert names == ["results/empty", "results/newest", "results/r.json"]
    assert (out / "results" / "newest").readlink() == Path("r.json") and (out / "results" / "empty").is_dir()
    assert outputs.unpack([sink.getvalue()], out, force=True) == names


def test_nothing_is_overwritten_without_force(tmp_path: Path) -> None:
    (tmp_path / "b").write_bytes(b"mine")
    with pytest.raises(Conflict, match="--force"):
        outputs.unpack([_tar(a=b"1", b=b"2")], tmp_path, force=False)
    assert _in_place(tmp_path) == {"b": b"mine"}
    outputs.unpack([_tar(a=b"1", b=b"2")], tmp_path, force=True)
    assert _in_place(tmp_path) == {"a": b"1", "b": b"2"}


def test_a_folder_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "kept").write_bytes(b"mine")
    with pytest.raises(Conflict, match="one of the two is a folder"):
        outputs.unpack([_tar(a=b"1")], tmp_path, force=True)
    assert _in_place(tmp_path) == {"a/kept": b"mine"}


def test_a_stream_that_is_cut_leaves_nothing(tmp_path: Path) -> None:
    def cut() -> Iterator[bytes]:
        yield _tar(a=b"1" * 5000)[:2000]
        raise Unreachable("the node went away")

    with pytest.raises(Unreachable):
        outputs.unpack(cut(), tmp_path, force=False)
    assert list(tmp_path.iterdir()) == []


def test_an_error_after_the_last_file_is_an_error(tmp_path: Path) -> None:
    def late() -> Iterator[bytes]:
        yield _tar(a=b"1")
        raise Unreachable("the node went away")

    with pytest.raises(Unreachable):
        outputs.unpack(late(), tmp_path, force=False)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("data", [b"", b"no archive" * 100, _tar(a=b"1" * 5000)[:2000]])
def test_damaged_archives(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(Corrupt):
        outputs.unpack([data], tmp_path, force=False)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "data",
    [_tar(dot_dot__evil=b"x"), _tar(link="/etc", link__evil=b"x"), _tar(link="../..")],
    ids=["up", "abs", "link"],
)
def test_members_that_would_leave_the_folder(tmp_path: Path, data: bytes) -> None:
    folder = tmp_path / "a" / "out"
    with pytest.raises(InvalidInput):
        outputs.unpack([data], folder, force=True)
    assert list(tmp_path.rglob("*")) == [tmp_path / "a", folder]


def test_a_link_that_stands_there_leads_nothing_away(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    out = tmp_path / "out"
    out.mkdir()
    (out / "logs").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Conflict, match="is there and no folder"):
        outputs.unpack([_tar(logs__a=b"x")], out, force=True)
    assert list((tmp_path / "elsewhere").iterdir()) == []
    outputs.unpack([_tar(logs=b"x")], out, force=True)  # the link itself may be replaced
    assert (out / "logs").read_bytes() == b"x" and not (out / "logs").is_symlink()


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InvalidInput, match="choose another --out"):
        outputs.unpack([_tar(a=b"1")], tmp_path / "file" / "out", force=False)
