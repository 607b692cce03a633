"""examples/train_numpy.py as a process: continued from any checkpoint it equals an uninterrupted run, bit for bit."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from heliotrope.examples import collect_corpus, train_numpy

SCRIPT = str(Path(train_numpy.__file__))
SIZE = ["--state-mb", "2", "--context", "32", "--batch", "2"]


def environment(folder: Path, resume_from: Path | None = None) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HELIOTROPE_")}
    kept |= {"HELIOTROPE_CHECKPOINT_DIR": str(folder / "checkpoints"), "HELIOTROPE_KEEP_COUNT": "100"}
    return kept | ({"HELIOTROPE_RESUME_FROM": str(resume_from)} if resume_from else {})


def command(folder: Path, corpus: Path, *more: str) -> list[str]:
    return [sys.executable, SCRIPT, *SIZE, "--corpus", str(corpus), "--result", str(folder / "result.json"), *more]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("corpus") / "corpus.txt"
    collect_corpus.collect(path, limit_bytes=200_000)
    return path


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory, corpus: Path) -> Path:
    """Folder of a run of 13 steps that wrote a checkpoint after each."""
    folder = tmp_path_factory.mktemp("uninterrupted")
    line = command(folder, corpus, "--steps", "13", "--checkpoint-every", "1")
    subprocess.run(line, env=environment(folder), check=True, timeout=60)
    return folder


@pytest.mark.parametrize("step", [1, 6, 13])
def test_resumed_run_equals_the_uninterrupted_one(tmp_path: Path, corpus: Path, uninterrupted: Path, step: int) -> None:
    resume_from = uninterrupted / "checkpoints" / f"step-{step:08d}"
    line = command(tmp_path, corpus, "--steps", "13", "--checkpoint-every", "13")
    subprocess.run(line, env=environment(tmp_path, resume_from), check=True, timeout=60)
    assert (tmp_path / "result.json").read_bytes() == (uninterrupted / "result.json").read_bytes()
    for name in ("state.safetensors", "meta.json") if step < 13 else ():
        last = Path("checkpoints", "step-00000013", name)
        assert (tmp_path / last).read_bytes() == (uninterrupted / last).read_bytes()


def test_killed_run_goes_on_from_its_newest_checkpoint(tmp_path: Path, corpus: Path, uninterrupted: Path) -> None:
    checkpoints = tmp_path / "checkpoints"
    line = command(tmp_path, corpus, "--checkpoint-every", "2", "--steps")
    process = subprocess.Popen([*line, "1000000"], env=environment(tmp_path))
    try:
        deadline_s = time.monotonic() + 60
        while not (checkpoints / "step-00000004").exists():
            assert process.poll() is None
            assert time.monotonic() < deadline_s
            time.sleep(0.005)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    newest = max(path for path in checkpoints.iterdir() if path.name <= "step-00000012")
    subprocess.run([*line, "13"], env=environment(tmp_path, newest), check=True, timeout=60)
    assert (tmp_path / "result.json").read_bytes() == (uninterrupted / "result.json").read_bytes()


def test_asked_to_stop_it_leaves_a_checkpoint_and_75(tmp_path: Path, corpus: Path, uninterrupted: Path) -> None:
    line = command(tmp_path, corpus, "--steps")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
        listener.listen()
        listener.settimeout(60)
        variables = environment(tmp_path) | {"HELIOTROPE_SOCKET": str(tmp_path / "socket")}
        process = subprocess.Popen([*line, "1000000"], env=variables)
        connection, _ = listener.accept()
        with connection, connection.makefile("rb") as lines:
            assert json.loads(lines.readline())["type"] == "hello"
            assert json.loads(lines.readline())["tokens"] == 2 * 32  # after the first step
            connection.sendall(b'{"type": "checkpoint", "request_id": "r1", "stop": true}\n')
            answer = next(message for message in map(json.loads, lines) if message["type"] == "checkpoint")
            assert process.wait(60) == 75
    assert answer["request_id"] == "r1"
    assert not (tmp_path / "result.json").exists()
    step = answer["step"]
    subprocess.run(
        [*line, str(max(step, 13))], env=environment(tmp_path, tmp_path / "checkpoints" / answer["name"]), check=True
    )
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["steps"] == max(step, 13)
    expected = json.loads((uninterrupted / "result.json").read_text())
    assert step > 13 or result == expected


def test_digest_depends_on_the_seed_and_the_text(tmp_path: Path, corpus: Path, uninterrupted: Path) -> None:
    other = tmp_path / "other.txt"
    other.write_bytes(corpus.read_bytes()[::-1])
    digests = {json.loads((uninterrupted / "result.json").read_text())["parameters_digest"]}
    for line in (command(tmp_path, corpus, "--seed", "2"), command(tmp_path, other)):
        subprocess.run([*line, "--steps", "13"], env=environment(tmp_path), check=True, timeout=60)
        digests.add(json.loads((tmp_path / "result.json").read_text())["parameters_digest"])
    assert len(digests) == 3


def test_result_tells_steps_and_losses(uninterrupted: Path) -> None:
    result = json.loads((uninterrupted / "result.json").read_text())
    assert result["steps"] == 13
    assert set(result["losses"]) == {"1", "10"}
    assert 0 < result["final_loss"] < result["losses"]["1"]
    assert len(result["parameters_digest"]) == 64
    assert sorted(path.name for path in uninterrupted.iterdir()) == ["checkpoints", "result.json"]


def test_checkpoint_follows_the_safetensors_layout(uninterrupted: Path) -> None:
    """Its rules: u64 length, a JSON object that starts with '{', offsets that cover the data without a hole."""
    folder = uninterrupted / "checkpoints" / "step-00000013"
    data = (folder / "state.safetensors").read_bytes()
    length = int.from_bytes(data[:8], "little")
    text, body = data[8 : 8 + length], data[8 + length :]
    assert text.startswith(b"{")
    stop = 0
    for name, entry in sorted(json.loads(text).items(), key=lambda item: item[1]["data_offsets"][0]):
        assert set(entry) == {"dtype", "shape", "data_offsets"}
        assert entry["dtype"] == "F32"
        assert entry["data_offsets"][0] == stop, name
        stop = entry["data_offsets"][1]
        tensor = np.frombuffer(body[entry["data_offsets"][0] : stop], "<f4").reshape(entry["shape"])
        assert np.isfinite(tensor).all()
        assert name.startswith(("weights.", "adam_m.", "adam_v."))
        assert tensor.any(), name
        assert not name.startswith("adam_v.") or (tensor >= 0).all()
    assert stop == len(body)
    settings = json.loads((folder / "meta.json").read_text())["settings"]
    assert (8 + length) % 64 == 0
    assert f"weights.block{settings['layers'] - 1}.qkv" in json.loads(text)


def refused(line: list[str], variables: dict[str, str]) -> str:
    done = subprocess.run(line, env=variables, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode not in (0, 75)
    assert "Traceback" not in done.stderr
    return done.stderr


def test_bad_input_names_what_is_wrong(tmp_path: Path, corpus: Path, uninterrupted: Path) -> None:
    plain = environment(tmp_path)
    assert "corpus" in refused(command(tmp_path, tmp_path / "none.txt"), plain)
    assert "--batch" in refused(command(tmp_path, corpus, "--batch", "0"), plain)
    step = uninterrupted / "checkpoints" / "step-00000006"
    assert "seed" in refused(command(tmp_path, corpus, "--seed", "5"), environment(tmp_path, step))
    assert "meta.json" in refused(command(tmp_path, corpus), environment(tmp_path, tmp_path / "gone"))
    cut = tmp_path / "cut"
    cut.mkdir()
    (cut / "meta.json").write_bytes((step / "meta.json").read_bytes())
    (cut / "state.safetensors").write_bytes((step / "state.safetensors").read_bytes()[:-4])
    assert "cut short" in refused(command(tmp_path, corpus), environment(tmp_path, cut))
    assert not (tmp_path / "result.json").exists()


def test_it_is_a_plain_program_without_the_module(tmp_path: Path, corpus: Path) -> None:
    """No heliotrope.job in the interpreter: it trains all the same, and refuses to promise checkpoints."""
    hide = "import runpy, sys; sys.modules['heliotrope.job'] = None; sys.argv = sys.argv[1:]; "
    start = [sys.executable, "-c", hide + "runpy.run_path(sys.argv[0], run_name='__main__')"]
    line = start + command(tmp_path, corpus, "--steps", "2")[1:]
    subprocess.run(line, env=environment(tmp_path), check=True, timeout=60)
    assert json.loads((tmp_path / "result.json").read_text())["steps"] == 2
    assert "heliotrope.job" in refused([*line, "--checkpoint-every", "1"], environment(tmp_path))
