"""Real checkpoints to measure on: examples/train_numpy.py trains for a few steps, and its state is kept.

They lie in a folder of the system's temporary directory, named by what they were made from, and are made once.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
STATE_MB = 48
STEPS = (20, 30, 31)
# Two of the tensors stand for adapters: all else is frozen, as in LoRA training.
TRAINED = ("embedding", "positions")


@dataclass(frozen=True)
class Sample:
    """A checkpoint file, and an older one of the same run that a receiver may hold."""

    name: str
    path: Path
    base: Path | None = None
    base_name: str | None = None


def samples() -> list[Sample]:
    """The state in fp32 alone and against older states, its weights in bf16 and int8, noise, and a run of which most is
    frozen.
    """
    folder = _folder()
    state = {step: folder / f"fp32-{step}.safetensors" for step in STEPS}
    weights = {step: folder / f"bf16-{step}.safetensors" for step in STEPS}
    frozen = {step: folder / f"frozen-{step}.safetensors" for step in STEPS}
    return [
        Sample("fp32 AdamW state", state[31]),
        Sample("fp32 AdamW state", state[31], state[30], "1 step before"),
        Sample("fp32 AdamW state", state[30], state[20], "10 steps before"),
        Sample("bf16 weights", weights[31]),
        Sample("bf16 weights", weights[31], weights[30], "1 step before"),
        Sample("int8 weights", folder / f"int8-{STEPS[-1]}.safetensors"),
        Sample("random bytes", folder / "random.bin"),
        Sample("frozen bf16 weights, trained fp32 part", frozen[31], frozen[30], "1 step before"),
    ]


def _folder() -> Path:
    """The folder of samples, made if it is not whole: it gets its name last."""
    sources = b"".join(path.read_bytes() for path in (Path(__file__), EXAMPLES / "train_numpy.py"))
    name = f"heliotrope-benchmark-{os.getuid()}-{hashlib.sha256(sources).hexdigest()[:12]}"
    folder = Path(tempfile.gettempdir()) / name
    if not folder.is_dir():
        making = Path(tempfile.mkdtemp(prefix=f"{name}."))
        try:
            _train(making)
            making.rename(folder)
        except OSError:
            if not folder.is_dir():  # else another benchmark made it meanwhile
                raise
        finally:
            shutil.rmtree(making, ignore_errors=True)
    return folder


def _train(folder: Path) -> None:
    print(f"training {STEPS[-1]} steps for checkpoints to measure on ...", file=sys.stderr, flush=True)
    corpus = folder / "corpus.txt"
    _python("collect_corpus.py", "--output", str(corpus), folder=folder)
    resume = ""
    for step in STEPS:
        saved = folder / f"at-{step}"
        arguments = ["--steps", str(step), "--state-mb", str(STATE_MB), "--corpus", str(corpus)]
        arguments += ["--result", str(folder / "result.json"), "--checkpoint-every", str(step)]
        _python(
            "train_numpy.py",
            *arguments,
            folder=folder,
            HELIOTROPE_CHECKPOINT_DIR=str(saved),
            HELIOTROPE_RESUME_FROM=resume,
        )
        (checkpoint,) = (path for path in saved.iterdir() if (path / "meta.json").exists())
        resume = str(checkpoint)
        _derive(checkpoint / "state.safetensors", folder, step)
    for step in STEPS:
        shutil.rmtree(folder / f"at-{step}")
    (folder / "random.bin").write_bytes(np.random.default_rng(1).bytes(STATE_MB * 1_000_000))


def _python(script: str, *arguments: str, folder: Path, **environment: str) -> None:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("HELIOTROPE_")}
    command = [sys.executable, str(EXAMPLES / script), *arguments]
    subprocess.run(command, check=True, cwd=folder, env=clean | environment, stdout=subprocess.DEVNULL)


def _derive(source: Path, folder: Path, step: int) -> None:
    """The state as it is, its weights rounded to bf16 and to int8, and the frozen mixture."""
    shutil.copyfile(source, folder / f"fp32-{step}.safetensors")
    tensors = read_tensors(source)
    weights = {name: _bf16(data) for name, data in tensors.items() if name.startswith("weights.")}
    _write(folder / f"bf16-{step}.safetensors", {name: ("BF16", data) for name, data in weights.items()})
    small = {name: ("I8", _int8(data)) for name, data in tensors.items() if name.startswith("weights.")}
    _write(folder / f"int8-{step}.safetensors", small)
    mixture: dict[str, tuple[str, npt.NDArray[Any]]] = {}
    first = read_tensors(folder / f"fp32-{STEPS[0]}.safetensors")
    for name, data in tensors.items():
        if name.partition(".")[2] in TRAINED:
            mixture[name] = ("F32", data)
        elif name.startswith("weights."):
            mixture[name] = ("BF16", _bf16(first[name]))
    _write(folder / f"frozen-{step}.safetensors", mixture)


def _bf16(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The upper halves of fp32 values, rounded to the nearest, ties to even, as frameworks do."""
    bits = values.view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def _int8(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """One scale for each tensor, its largest magnitude at 127: what quantised weights are in the simplest schemes."""
    scale = float(np.abs(values).max()) / 127 or 1.0
    return np.round(values / scale).astype(np.int8)


def read_tensors(path: Path) -> dict[str, npt.NDArray[Any]]:
    """fp32 tensors of a safetensors file (u64 length of a JSON header, the header, the data)."""
    raw = path.read_bytes()
    size_bytes = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8 : 8 + size_bytes])
    data = np.frombuffer(raw, np.uint8, offset=8 + size_bytes)
    places = {name: entry["data_offsets"] for name, entry in header.items() if name != "__metadata__"}
    return {name: data[start:end].view(np.float32) for name, (start, end) in places.items()}


def _write(path: Path, tensors: dict[str, tuple[str, npt.NDArray[Any]]]) -> None:
    header, end = {}, 0
    for name, (dtype, data) in tensors.items():
        start, end = end, end + data.nbytes
        header[name] = {"dtype": dtype, "shape": [data.size], "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    text += b" " * (-(8 + len(text)) % 64)
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.writelines(data.data for _, data in tensors.values())
