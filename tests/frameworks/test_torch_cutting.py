"""What PyTorch really writes is cut by tensor: each large one is found with its name, its element type, its bytes."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from pathlib import Path

import pytest

from heliotrope.agent.checkpoints import cutting

pytestmark = pytest.mark.torch

# A network with an optimiser's state, and one tensor of every element type; all above the size that is cut apart.
MAKE = """
import hashlib, json, sys, torch
import torch.distributed.checkpoint as dcp
from safetensors.torch import save_file

torch.manual_seed(1)
model = torch.nn.Linear(200, 200)
optimiser = torch.optim.AdamW(model.parameters())
model(torch.randn(4, 200)).sum().backward()
optimiser.step()
types = {kind: torch.randn(200, 200, dtype=getattr(torch, kind))
         for kind in ("float64", "float32", "bfloat16", "float16")}
types |= {kind: torch.arange(50_000).to(getattr(torch, kind)) for kind in ("int64", "int32", "int16", "uint8")}
types["complex64"] = torch.randn(200, 200, dtype=torch.complex64)
state = {"model": dict(model.state_dict()), "optimiser": optimiser.state_dict(), "types": types, "step": 7,
         "words": ["no", "tensor"]}

def flat(value, name=""):
    if isinstance(value, torch.Tensor):
        yield name, value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from flat(inner, f"{name}.{key}".lstrip("."))

tensors = dict(flat(state))
torch.save(state, "state.pt")
save_file({name: value for name, value in tensors.items() if not value.is_complex()}, "state.safetensors")
dcp.save(state, checkpoint_id="dcp", no_dist=True)
said = {}
for name, value in tensors.items():
    width = value.element_size() // (2 if value.is_complex() else 1)
    data = value.contiguous().flatten().view(torch.uint8) if value.dim() else value.reshape(1).view(torch.uint8)
    digest = hashlib.sha256(data.numpy().tobytes()).hexdigest()
    said[name] = [digest, width, value.is_floating_point() or value.is_complex(), data.numel()]
print(json.dumps(said))
"""
LARGE_BYTES = 32 << 10


@pytest.fixture(scope="module")
def written(torch_python: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, list[object]]]:
    """The folder, and per tensor: SHA-256 of its bytes, element width, whether floating, size in bytes."""
    folder = tmp_path_factory.mktemp("written")
    done = subprocess.run([torch_python, "-c", MAKE], check=True, capture_output=True, cwd=folder, timeout=120)
    tensors = json.loads(done.stdout)
    return folder, {name: said for name, said in tensors.items() if said[3] >= LARGE_BYTES}


@pytest.mark.parametrize("name", ["state.pt", "state.safetensors"])
def test_every_large_tensor_is_a_piece_of_its_own(written: tuple[Path, dict[str, list[object]]], name: str) -> None:
    folder, tensors = written
    if name.endswith(".safetensors"):
        tensors = {tensor: said for tensor, said in tensors.items() if "complex" not in tensor}
    found = dict(_large(folder / name))
    assert found == tensors
    assert len(tensors) > 10


def test_every_large_tensor_of_a_distributed_checkpoint_is_a_piece(
    written: tuple[Path, dict[str, list[object]]],
) -> None:
    """Its names are in .metadata, a pickle that only torch reads: the place in the file stands for them."""
    folder, tensors = written
    (path,) = (folder / "dcp").glob("*.distcp")
    assert sorted(str(said) for _, said in _large(path)) == sorted(map(str, tensors.values()))


def _large(path: Path) -> list[tuple[str, list[object]]]:
    """Per large piece of a tensor: the tensor's name, and what ``written`` says about it."""
    handle = os.open(path, os.O_RDONLY)
    try:
        return [
            (one.tensor, [_digest(handle, one), one.width, one.floating, one.size_bytes])
            for one in cutting.cut(handle, path.stat().st_size, 4 << 20)
            if one.tensor and one.size_bytes >= LARGE_BYTES
        ]
    finally:
        os.close(handle)


def _digest(handle: int, piece: cutting.Piece) -> str:
    return hashlib.sha256(os.pread(handle, piece.size_bytes, piece.offset)).hexdigest()
