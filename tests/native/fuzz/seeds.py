"""Where the fuzzers begin: ``python tests/native/fuzz/seeds.py FOLDER`` writes a folder of seeds for each target."""

from __future__ import annotations

import io
import json
import pickle
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from heliotrope.agent.checkpoints import manifest as manifests
from heliotrope.agent.checkpoints.scan import build
from heliotrope.agent.transfer import wire
from heliotrope.native import _core

# By the number that fuzz_plane.c knows each by.
PLANE_CODERS = {0: _core.huffman_encode, 3: _core.ans_encode, 4: _core.sparse_encode}
GOLDEN = Path(__file__).parents[1] / "golden"


def write(folder: Path) -> None:
    """``folder``/TARGET/NAME for every target of the C fuzzers and of readers.py."""
    seeds = (*_vectors(), *_messages(), *_files())
    for target, name, data in seeds:
        (folder / target).mkdir(parents=True, exist_ok=True)
        (folder / target / name).write_bytes(data)
    (folder / "manifest").mkdir(exist_ok=True)
    (folder / "manifest" / "tree").write_bytes(manifests.encode(build(folder / "checkpoint_file")))


def _vectors() -> Iterator[tuple[str, str, bytes]]:
    """The golden vectors, as frames, chunks and coded planes."""
    for path in sorted(GOLDEN.glob("*.hex")):
        data, _, frame = (bytes.fromhex(line) for line in path.read_text().split("\n")[:3])
        yield "frame", path.stem, frame
        yield "python_frame", path.stem, frame
        for shape in (0, 2, 6, 34):
            yield "chunk", f"{path.stem}-{shape}", bytes([shape, 3]) + data[:4096]
        plane = data[::2][:4096]
        for target, encode in PLANE_CODERS.items():
            if len(plane) >= 2 and (coded := encode(plane, "scalar")):
                yield "plane", f"{path.stem}-{target}", bytes([target]) + (len(plane) - 1).to_bytes(2, "little") + coded


def _messages() -> Iterator[tuple[str, str, bytes]]:
    examples: tuple[wire.Message, ...] = (
        wire.Hello((1, 2), (1,), (1,), "receive", b"ticket"),
        wire.Welcome(1, 1),
        wire.ManifestRequest("newest", b"b" * 32, b"h" * 32),
        wire.ManifestReply(b"d" * 32, 4096, True),
        wire.Want(((0, -1), (7, 3))),
        wire.Renew(b"ticket"),
        wire.Progress(5, 9),
        wire.Wait(),
        wire.Bye(),
        wire.Failure("Corrupt", "cannot read"),
    )
    for example in examples:
        yield "message", type(example).__name__, wire.encode(example)[wire.HEADER.size :]


def _files() -> Iterator[tuple[str, str, bytes]]:
    values = np.arange(64, dtype=np.float32)
    one, several = io.BytesIO(), io.BytesIO()
    np.save(one, values)
    np.savez(several, weights=values, steps=np.int64(3))
    yield "checkpoint_file", "one.npy", one.getvalue()
    yield "checkpoint_file", "several.npz", several.getvalue()
    header = json.dumps({"w": {"dtype": "F32", "shape": [64], "data_offsets": [0, 256]}}).encode()
    yield "checkpoint_file", "one.safetensors", len(header).to_bytes(8, "little") + header + values.tobytes()
    yield "checkpoint_file", "one.pt", _torch_file(values.tobytes())


def _torch_file(data: bytes) -> bytes:
    """As torch.save lays it out: the storage is a persistent id in the pickle, and a stored member of its own."""

    class Pickler(pickle.Pickler):
        def persistent_id(self, value: Any) -> Any:
            return ("storage", float, "0", "cpu", 64) if value == "the storage" else None

    structure, archive = io.BytesIO(), io.BytesIO()
    Pickler(structure, protocol=2).dump({"layer": {"weight": "the storage"}})
    with zipfile.ZipFile(archive, "w") as made:
        made.writestr("archive/data.pkl", structure.getvalue())
        made.writestr("archive/data/0", data)
    return archive.getvalue()


if __name__ == "__main__":
    write(Path(sys.argv[1]))
