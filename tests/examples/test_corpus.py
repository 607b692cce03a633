"""Collecting the corpus: the same library gives the same bytes, within the limit, in the order of names."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heliotrope.examples import collect_corpus
from heliotrope.foundation import jobspec


def library(folder: Path) -> Path:
    for name, text in {
        "b.py": "second\n",
        "a.py": "first\n",
        "c/d.py": "third\nfourth",
        "test/e.py": "left out\n",
        "site-packages/f.py": "left out\n",
        "_sysconfigdata_x.py": "left out\n",
        "notes.txt": "left out\n",
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    (folder / "link.py").symlink_to(folder / "a.py")
    return folder


def test_two_collections_are_equal(tmp_path: Path) -> None:
    first, second = tmp_path / "1.txt", tmp_path / "2.txt"
    size_bytes = collect_corpus.collect(first, limit_bytes=500_000)
    script = Path(collect_corpus.__file__)
    line = [sys.executable, str(script), "--output", str(second), "--limit-bytes", "500000"]
    done = subprocess.run(line, check=True, capture_output=True, text=True, timeout=60)  # another hash seed
    assert first.read_bytes() == second.read_bytes()
    assert f"{size_bytes} bytes" in done.stdout
    assert 490_000 < size_bytes == first.stat().st_size <= 500_000
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1.txt", "2.txt"]


def test_order_and_choice_of_files(tmp_path: Path) -> None:
    output = tmp_path / "corpus.txt"
    collect_corpus.collect(output, library=library(tmp_path / "library"))
    assert output.read_text() == "first\nsecond\nthird\nfourth"


@given(limit_bytes=st.integers(6, 40))
def test_cut_after_the_last_whole_line(tmp_path_factory: pytest.TempPathFactory, limit_bytes: int) -> None:
    folder = tmp_path_factory.mktemp("cut")
    size_bytes = collect_corpus.collect(folder / "out", limit_bytes=limit_bytes, library=library(folder / "library"))
    whole = b"first\nsecond\nthird\nfourth"
    text = (folder / "out").read_bytes()
    assert len(text) == size_bytes <= limit_bytes
    assert whole.startswith(text)
    assert text.endswith(b"\n") or text == whole
    assert text == whole or b"\n" not in whole[size_bytes:limit_bytes]


def test_nothing_to_collect_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"holds no \.py files"):
        collect_corpus.collect(tmp_path / "out", library=tmp_path)
    with pytest.raises(ValueError, match="limit_bytes 3"):
        collect_corpus.collect(tmp_path / "out", limit_bytes=3, library=library(tmp_path / "library"))
    assert not (tmp_path / "out").exists()


def test_the_example_job_file_is_valid_and_complete() -> None:
    folder = Path(collect_corpus.__file__).parent
    spec = jobspec.load(folder / "train_numpy.toml")
    assert spec.files == ("train_numpy.py", "corpus.txt")
    assert spec.outputs == ("result.json",)
    assert spec.command[1] == "train_numpy.py"
