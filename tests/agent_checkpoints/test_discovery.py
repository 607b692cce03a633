"""Which entries of a checkpoint folder are whole: by rename, by marker, by message; and what a job may try."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heliotrope.agent.checkpoints.discovery import find, is_temporary, step_in
from heliotrope.foundation.errors import Conflict
from heliotrope.foundation.jobspec import CheckpointRules

RENAME = CheckpointRules()
MESSAGE = CheckpointRules(complete="message")


def marker(name: str) -> CheckpointRules:
    return CheckpointRules(complete="marker", marker=name)


def make(folder: Path, name: str, time_s: int, *files: str) -> Path:
    path = folder / name
    path.mkdir()
    for file in files:
        (path / file).write_text("x")
        os.utime(path / file, (time_s, time_s))
    os.utime(path, (time_s, time_s))
    return path


def names(folder: Path, rules: CheckpointRules, announced: dict[str, int | None] | None = None) -> list[str]:
    return [found.name for found in find(folder, rules, announced)]


def test_by_rename_all_but_temporary_ones_newest_last(tmp_path: Path) -> None:
    for name, time_s in (("step-00000002", 20), ("step-00000001", 30), ("step-00000003", 10)):
        make(tmp_path, name, time_s)
    for name in (".step-00000009.writing.tmp", "step-00000008.tmp", "step-00000007.partial", ".heliotrope-ready"):
        make(tmp_path, name, 99)
    (tmp_path / "step-4.safetensors").write_text("x")
    os.utime(tmp_path / "step-4.safetensors", (15, 15))
    assert names(tmp_path, RENAME) == ["step-00000003", "step-4.safetensors", "step-00000002", "step-00000001"]
    newest = find(tmp_path, RENAME)[-1]
    assert (newest.step, newest.path, newest.modified_utc.timestamp()) == (1, tmp_path / "step-00000001", 30.0)
    assert newest.modified_utc.utcoffset() is not None


def test_equal_times_are_ordered_by_step(tmp_path: Path) -> None:
    for step in (9, 10, 2):
        make(tmp_path, f"checkpoint-{step}", 5)
    assert names(tmp_path, RENAME) == ["checkpoint-2", "checkpoint-9", "checkpoint-10"]


def test_a_file_written_into_an_old_folder_makes_it_newer(tmp_path: Path) -> None:
    make(tmp_path, "a", 5, "weights")
    make(tmp_path, "b", 6, "weights")
    os.utime(tmp_path / "a/weights", (7, 7))
    assert names(tmp_path, RENAME) == ["b", "a"]


def test_by_marker_inside_the_entry(tmp_path: Path) -> None:
    make(tmp_path, "checkpoint-1", 1, "weights", ".metadata")
    make(tmp_path, "checkpoint-2", 2, "weights")  # still being written
    (make(tmp_path, "checkpoint-3", 3) / ".metadata").mkdir()  # a folder is no marker
    (tmp_path / "notes.txt").write_text("x")
    assert names(tmp_path, marker(".metadata")) == ["checkpoint-1"]


def test_by_marker_that_names_the_entry(tmp_path: Path) -> None:
    make(tmp_path, "global_step100", 1)
    make(tmp_path, "global_step200", 2)
    assert names(tmp_path, marker("latest")) == []
    (tmp_path / "latest").write_text("global_step100\n")
    assert names(tmp_path, marker("latest")) == ["global_step100"]
    assert find(tmp_path, marker("latest"))[0].step == 100
    (tmp_path / "latest").write_text("global_step300")  # named, but not there
    assert names(tmp_path, marker("latest")) == []


def test_by_marker_that_holds_the_step(tmp_path: Path) -> None:
    make(tmp_path, "iter_0000100", 1)
    make(tmp_path, "iter_0000200", 2)
    (tmp_path / "latest_checkpointed_iteration.txt").write_text("200")
    assert names(tmp_path, marker("latest_checkpointed_iteration.txt")) == ["iter_0000200"]


def test_by_message_only_what_was_announced_and_is_there(tmp_path: Path) -> None:
    for name in ("one", "two", "three"):
        make(tmp_path, name, 1)
    assert names(tmp_path, MESSAGE) == []
    found = find(tmp_path, MESSAGE, {"two": 22, "gone": 1, "../two": 3})
    assert [(entry.name, entry.step) for entry in found] == [("two", 22)]


def test_tricks_are_not_followed(tmp_path: Path) -> None:
    outside, folder = tmp_path / "outside", tmp_path / "folder"
    outside.mkdir()
    folder.mkdir()
    make(outside, "real", 1, "marker")
    (outside / "secret").write_text("real")
    (folder / "link").symlink_to(outside / "real")
    os.mkfifo(folder / "pipe")
    make(folder, "here", 1)
    (folder / "here/marker").symlink_to(outside / "secret")
    assert names(folder, RENAME) == ["here"]
    assert names(folder, marker("marker")) == []
    (folder / "marker").symlink_to(outside / "secret")
    assert names(folder, marker("marker")) == []
    for text in ("../outside/real", "/etc", "..", ".", "", "link"):
        (folder / "latest").write_text(text)
        assert names(folder, marker("latest")) == []
    (folder / "latest").unlink()
    os.mkfifo(folder / "latest")  # reading it must not block
    assert names(folder, marker("latest")) == []


def test_a_missing_folder_has_none_and_a_wrong_one_is_an_error(tmp_path: Path) -> None:
    assert find(tmp_path / "absent", RENAME) == []
    (tmp_path / "file").touch()
    with pytest.raises(Conflict, match="cannot look for checkpoints in"):
        find(tmp_path / "file", RENAME)


@pytest.mark.parametrize(
    ("name", "step"),
    [
        ("step-00000123", 123),
        ("step-00000123.2", 123),
        ("global_step100", 100),
        ("checkpoint-500", 500),
        ("epoch=3-step=1000.ckpt", 1000),
        ("iter_0000007", 7),
        ("best", None),
        ("epoch-4", None),
        ("ckpt-" + "9" * 40, None),
    ],
)
def test_steps_in_names(name: str, step: int | None) -> None:
    assert step_in(name) == step


@given(st.text(alphabet=st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=40))
def test_any_name_is_found_once_unless_temporary(tmp_path_factory: pytest.TempPathFactory, name: str) -> None:
    if name in (".", "..") or len(name.encode()) > 255:
        return
    folder = tmp_path_factory.mktemp("any")
    (folder / name).touch()
    assert names(folder, RENAME) == ([] if is_temporary(name) else [name])
