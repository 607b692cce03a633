"""What of a job's folder stays behind, which line says so, and what a submission would send."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from heliotrope.cli import submission
from heliotrope.cli.ignoring import IGNORE_FILE, IgnoreRules
from heliotrope.cli.job import job
from heliotrope.foundation.errors import InvalidInput

TREE = ("a.py", "__pycache__/a.pyc", ".git/HEAD", ".venv/bin/x", "data/big.bin", "data/keep.bin", "data/raw/1.bin")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number, name in enumerate(TREE):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(bytes(number))
    return tmp_path


def files(folder: Path, *patterns: str) -> list[str]:
    found = submission.collect(folder, patterns or ["."])
    return [name for name, path in found.items() if path.is_file()]


@pytest.mark.parametrize(
    ("lines", "kept"),
    [
        ("", ["a.py", "data/big.bin", "data/keep.bin", "data/raw/1.bin"]),
        ("# a comment\n\n*.bin\n!keep.bin\n", ["a.py", "data/keep.bin"]),
        ("/data/*\n!/data/raw/\n", ["a.py", "data/raw/1.bin"]),
        ("data/\n!data/keep.bin\n", ["a.py"]),  # as git has it: what lies in an ignored folder is not taken back
        ("!.venv/\ndata/**/*.bin\n", [".venv/bin/x", "a.py"]),
    ],
)
def test_defaults_and_the_ignore_file(folder: Path, lines: str, kept: list[str]) -> None:
    if lines:
        (folder / IGNORE_FILE).write_text(lines)
    assert files(folder) == kept


def test_rules_hold_for_patterns_too(folder: Path) -> None:
    (folder / IGNORE_FILE).write_text("raw/\n")
    assert files(folder, "data/**/*.bin") == ["data/big.bin", "data/keep.bin"]


def test_what_is_named_and_ignored_is_an_error(folder: Path) -> None:
    (folder / IGNORE_FILE).write_text("*.bin\n")
    with pytest.raises(InvalidInput, match=r"'data/big\.bin' is ignored by '\*\.bin' of .*; leave it out, or take it"):
        files(folder, "a.py", "data/big.bin")
    with pytest.raises(InvalidInput, match=r"ignored by '\.venv/' of the defaults"):
        files(folder, ".venv/bin/x")


@pytest.mark.parametrize("line", ["!", "[z-a]"])
def test_a_line_that_is_no_pattern_is_named(line: str) -> None:
    with pytest.raises(InvalidInput, match="rules: line 3: "):
        IgnoreRules(["a", "", line], "rules")


def test_too_much_names_the_largest(folder: Path) -> None:
    collected = submission.collect(folder, ["."])
    submission.check_size(collected, 15)  # 0 + 4 + 5 + 6
    with pytest.raises(InvalidInput, match=r"15 bytes, more than the 14 of .*largest: data/raw/1\.bin \(6 bytes\), "):
        submission.check_size(collected, 14)


def test_a_dry_run_lists_and_sends_nothing(folder: Path) -> None:
    """No coordinator and no identity are configured: it asks for neither."""
    (folder / "job.json").write_text(json.dumps({"name": "x", "command": ["true"], "files": ["a.py", "data"]}))
    (folder / IGNORE_FILE).write_text("raw/\n")

    def run(*options: str) -> str:
        words = ["submit", str(folder / "job.json"), "--dry-run", *options]
        return CliRunner().invoke(job, words, catch_exceptions=False).output

    told = json.loads(run("--json"))
    assert [(one["path"], one["size_bytes"]) for one in told["files"]] == [
        ("a.py", 0),
        ("data", 0),
        ("data/big.bin", 4),
        ("data/keep.bin", 5),
    ]
    assert told["size_bytes"] == 9
    assert [one["path"] for one in told["ignored"]] == ["data/raw/"]
    assert "left out: data/raw/, by 'raw/' of" in run() and "nothing was sent" in run()
