"""Tensors are found in safetensors, PyTorch zip and numpy files, with their names and types."""

from __future__ import annotations

import json
import pickle
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from heliotrope.agent.checkpoints.manifest import Chunk
from heliotrope.agent.checkpoints.scan import build

RNG = np.random.default_rng(7)


def chunks_of(path: Path) -> list[Chunk]:
    return [chunk for _, chunk in build(path, chunk_bytes=64 << 10).places()]


def by_tensor(path: Path) -> dict[str, tuple[int, bool, int]]:
    """Tensor -> (width, floating, bytes)."""
    found: dict[str, tuple[int, bool, int]] = {}
    for chunk in chunks_of(path):
        before = found.get(chunk.tensor, (0, False, 0))[2]
        found[chunk.tensor] = (chunk.width, chunk.floating, before + chunk.size_bytes)
    return found


def write_safetensors(path: Path, tensors: dict[str, tuple[str, bytes]]) -> None:
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    start = 0
    for name, (dtype, data) in tensors.items():
        header[name] = {"dtype": dtype, "shape": [len(data)], "data_offsets": [start, start + len(data)]}
        start += len(data)
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(data for _, data in tensors.values()))


# The pure Python pickler: the C one cannot be taught to write by hand what torch.save writes.
_PurePickler: Any = vars(pickle)["_Pickler"]


class _StorageClass:
    """Stands in for torch.FloatStorage and its like when a file is made without torch."""

    def __init__(self, name: str) -> None:
        self.name = name


class _Tensor:
    def __init__(self, key: str, kind: str, count: int) -> None:
        self.storage = ("storage", _StorageClass(kind), key, "cpu", count)


class _Pickler(_PurePickler):  # type: ignore[misc]
    """Writes what torch.save writes: storages as persistent ids, tensors as calls of torch's rebuild function."""

    def persistent_id(self, thing: Any) -> Any:
        return thing if isinstance(thing, tuple) and thing and thing[0] == "storage" else None

    def save(self, thing: Any, save_persistent_id: bool = True) -> None:
        if isinstance(thing, tuple) and thing and thing[0] == "storage" and save_persistent_id:
            super().save(thing, save_persistent_id=False)
            self.write(pickle.BINPERSID)
        elif isinstance(thing, _StorageClass):
            self.write(pickle.GLOBAL + f"torch\n{thing.name}\n".encode())
        elif isinstance(thing, _Tensor):
            self.write(pickle.GLOBAL + b"torch._utils\n_rebuild_tensor_v2\n" + pickle.MARK)
            self.save(thing.storage)
            for part in (0, (10, 10), (10, 1), False):
                self.save(part)
            self.write(pickle.TUPLE + pickle.REDUCE)
        else:
            super().save(thing, save_persistent_id=save_persistent_id)


def write_torch(path: Path, state: Any, data: dict[str, bytes]) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        with archive.open("ck/data.pkl", "w") as file:
            _Pickler(file, 2).dump(state)
        for key, content in data.items():
            archive.writestr(f"ck/data/{key}", content)
        archive.writestr("ck/version", "3\n")


def test_safetensors_is_cut_by_tensor(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    write_safetensors(
        path, {"a": ("F32", bytes(200_000)), "b.c": ("BF16", bytes(100_002)), "ids": ("I64", bytes(80_000))}
    )
    found = by_tensor(path)
    assert found["a"] == (4, True, 200_000)
    assert found["b.c"] == (2, True, 100_002)
    assert found["ids"] == (8, False, 80_000)


@pytest.mark.parametrize("damage", ["cut", "overlap", "text", "huge"])
def test_damaged_safetensors_are_plain_bytes(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "model.safetensors"
    write_safetensors(path, {"a": ("F32", bytes(200_000)), "b": ("F32", bytes(100_000))})
    data = path.read_bytes()
    if damage == "cut":
        data = data[:150_000]
    elif damage == "overlap":
        data = data.replace(b"[200000, 300000]", b"[199000, 300000]")
    elif damage == "text":
        data = data.replace(b'"dtype"', b'"dtyqe"', 1)
    else:
        data = struct.pack("<Q", 1 << 62) + data[8:]
    path.write_bytes(data)
    chunks = chunks_of(path)
    assert {chunk.tensor for chunk in chunks} == {""}
    assert sum(chunk.size_bytes for chunk in chunks) == len(data)


def test_torch_zip_gives_names_and_types_without_running_the_pickle(tmp_path: Path) -> None:
    path = tmp_path / "state.pt"
    state = {
        "model": {
            "layer.weight": _Tensor("0", "FloatStorage", 50_000),
            "half": _Tensor("1", "BFloat16Storage", 50_000),
        },
        "optimizer": {
            "state": {0: {"step": _Tensor("2", "FloatStorage", 1), "exp_avg": _Tensor("3", "FloatStorage", 1)}}
        },
    }
    write_torch(path, state, {"0": bytes(200_000), "1": bytes(100_000), "2": bytes(4), "3": bytes(200_000)})
    found = by_tensor(path)
    assert found["model.layer.weight"] == (4, True, 200_000)
    assert found["model.half"] == (2, True, 100_000)
    assert found["optimizer.state.0.exp_avg"] == (4, True, 200_000)


def test_a_hostile_pickle_runs_nothing(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "exploded",))

    path = tmp_path / "state.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("ck/data.pkl", pickle.dumps({"x": Bomb()}))
        archive.writestr("ck/data/0", RNG.standard_normal(50_000).astype(np.float32).tobytes())
    found = by_tensor(path)
    assert not (tmp_path / "exploded").exists()
    assert found["data/0"][:2] == (4, True)  # the type is guessed from the bytes


def test_numpy_files_are_cut_by_array(tmp_path: Path) -> None:
    arrays: dict[str, Any] = {
        "w": RNG.standard_normal(50_000).astype(np.float32),
        "n": np.arange(20_000),
        "z": np.zeros(3, np.int8),
    }
    np.savez(tmp_path / "state.npz", **arrays)
    found = by_tensor(tmp_path / "state.npz")
    assert found["w"] == (4, True, 200_000) and found["n"] == (8, False, 160_000)
    np.save(tmp_path / "one.npy", arrays["w"].astype(np.float64))
    assert {chunk.width for chunk in chunks_of(tmp_path / "one.npy")[1:]} == {8}


def test_types_of_plain_bytes_are_guessed(tmp_path: Path) -> None:
    path = tmp_path / "raw"
    for data, expected in (
        (RNG.standard_normal(100_000).astype(np.float32).tobytes(), (4, True)),
        (
            (RNG.standard_normal(100_000).astype(np.float32).view(np.uint32) >> 16).astype(np.uint16).tobytes(),
            (2, True),
        ),
        (RNG.integers(0, 1000, 100_000, dtype=np.int32).tobytes(), (4, False)),
        (RNG.bytes(400_000), (1, False)),
        (Path(json.__file__).read_bytes() * 30, (1, False)),
    ):
        path.write_bytes(data)
        assert {(chunk.width, chunk.floating) for chunk in chunks_of(path)} == {expected}


def test_shifted_content_is_cut_alike(tmp_path: Path) -> None:
    data = RNG.bytes(3_000_000)
    (tmp_path / "a").write_bytes(data)
    (tmp_path / "b").write_bytes(b"a line in front\n" + data)
    first = {chunk.digest for chunk in chunks_of(tmp_path / "a")}
    second = {chunk.digest for chunk in chunks_of(tmp_path / "b")}
    assert len(first & second) >= len(first) - 2
