"""Checkpoints as large as one asks for, made in a given folder: what a pull costs by the byte needs many bytes."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path

import numpy as np

from .checkpoints import TRAINED, Sample, read_tensors, samples

_BLOCK_BYTES = 16_000_000
_WIDTHS = {"U8": 1, "BF16": 2, "F32": 4}


def compressed(folder: Path, size_mb: int) -> Sample:
    """Random bytes: what a file that is compressed already looks like. No known format, so it is cut by content."""
    path = folder / "compressed.bin"
    _keep(path, _noise(1, _blocks(size_mb * 1_000_000)))
    return Sample("already compressed", path)


def compressed_tensors(folder: Path, size_mb: int) -> Sample:
    """Random bytes in the tensors of a safetensors file, so that it is cut into chunks of 4 MiB as checkpoints are."""
    path = folder / "compressed.safetensors"
    sizes = _blocks(size_mb * 1_000_000)
    entries = [(f"block{index}", "U8", size_bytes) for index, size_bytes in enumerate(sizes)]
    _write(path, entries, _noise(2, sizes))
    return Sample("already compressed tensors", path)


def fp32_state(folder: Path, size_mb: int) -> Sample:
    """The trained fp32 AdamW state, tiled: each repetition rotates every tensor by another odd number of elements.

    So the values, and how well they code, are the trained ones, and no two chunks are equal.
    """
    tensors = read_tensors(samples()[0].path)
    tile_bytes = sum(data.nbytes for data in tensors.values())
    count = -(-size_mb * 1_000_000 // tile_bytes)
    path = folder / "state.safetensors"
    tiles = [(tile, name, one) for tile in range(count) for name, one in tensors.items()]
    entries = [(f"{tile}.{name}", "F32", one.nbytes) for tile, name, one in tiles]
    turned = (np.roll(one, 2 * tile + 1).tobytes() for tile, _, one in tiles)
    _write(path, entries, turned)
    return Sample("fp32 AdamW state, tiled", path)


def frozen(folder: Path, size_mb: int) -> Sample:
    """As in LoRA training: trained bf16 weights, tiled, that stand still, and an adapter's fp32 weights and moments,
    which are those of the small sample, in one file. The base is the state of a step before.
    """
    newest = samples()[1]  # the fp32 state, with that of the step before
    assert newest.base is not None
    weights = read_tensors(next(one.path for one in samples() if one.name == "bf16 weights"))
    tile_bytes = sum(data.nbytes for data in weights.values())
    tiles = [
        (tile, name, data) for tile in range(-(-size_mb * 1_000_000 // tile_bytes)) for name, data in weights.items()
    ]
    paths = folder / "frozen.safetensors", folder / "frozen-base.safetensors"
    for path, state in zip(paths, (newest.path, newest.base), strict=True):
        trained = {name: data for name, data in read_tensors(state).items() if name.partition(".")[2] in TRAINED}
        entries = [(f"{tile}.{name}", "BF16", data.nbytes) for tile, name, data in tiles]
        entries += [(name, "F32", data.nbytes) for name, data in trained.items()]
        turned = (np.roll(data, 2 * tile + 1).tobytes() for tile, _, data in tiles)
        _write(path, entries, chain(turned, (data.tobytes() for data in trained.values())))
    return Sample("frozen bf16 weights, tiled, and an adapter", paths[0], paths[1], "1 step before")


def _write(path: Path, entries: list[tuple[str, str, int]], pieces: Iterable[bytes]) -> None:
    """``entries``: (name, type, bytes), in the order of ``pieces``."""
    header, end = {}, 0
    for name, dtype, size_bytes in entries:
        start, end = end, end + size_bytes
        header[name] = {"dtype": dtype, "shape": [size_bytes // _WIDTHS[dtype]], "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    text += b" " * (-(8 + len(text)) % 64)
    _keep(path, chain([len(text).to_bytes(8, "little") + text], pieces))


def _keep(path: Path, pieces: Iterable[bytes]) -> None:
    with open(path, "wb") as file:
        file.writelines(pieces)
        file.flush()
        os.fsync(file.fileno())  # else its writing out is measured with the pull


def _noise(seed: int, sizes: Iterable[int]) -> Iterator[bytes]:
    dice = np.random.default_rng(seed)
    return (dice.bytes(size_bytes) for size_bytes in sizes)


def _blocks(size_bytes: int) -> list[int]:
    return [min(_BLOCK_BYTES, size_bytes - start) for start in range(0, size_bytes, _BLOCK_BYTES)]
