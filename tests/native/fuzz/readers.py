"""Coverage-guided fuzzing of the readers written in Python: whatever comes over the wire or lies in a checkpoint.

    python -m tests.native.fuzz.readers TARGET [libFuzzer's options and corpus folders]

Needs ``atheris``. A target fails on any exception that its caller does not expect, and on a result that points
outside of the input.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

import atheris  # type: ignore[import-not-found,import-untyped,unused-ignore]

with atheris.instrument_imports(include=["heliotrope"]):
    from heliotrope.agent.checkpoints import manifest as manifests
    from heliotrope.agent.checkpoints import numpyfiles, safetensors, torchzip
    from heliotrope.agent.checkpoints.segments import cover
    from heliotrope.agent.transfer import wire
    from heliotrope.foundation.errors import HeliotropeError
    from heliotrope.native import MalformedFrame, decode, inspect

import msgspec

_RAW_BYTES_LIMIT = 1 << 20


def manifest(data: bytes) -> None:
    try:
        found = manifests.decode(data)
    except HeliotropeError:
        return
    assert manifests.decode(manifests.encode(found)) == found


def message(data: bytes) -> None:
    try:
        found = wire.decode(data)
    except msgspec.DecodeError:
        return
    assert wire.decode(wire.encode(found)[wire.HEADER.size :]) == found


def python_frame(data: bytes) -> None:
    """With the planes that Python hands to zstd."""
    try:
        info = inspect(data)
        if info.raw_bytes <= _RAW_BYTES_LIMIT:
            decode([data], [bytearray(info.raw_bytes)], [bytes(info.raw_bytes) if info.needs_base else None])
    except MalformedFrame:
        pass


def checkpoint_file(data: bytes) -> None:
    """Every format that tensors are looked for in."""
    handle = os.memfd_create("fuzz")
    try:
        os.write(handle, data)
        for find in (safetensors.find, torchzip.find, numpyfiles.find_npy, numpyfiles.find_npz):
            for segment in cover(find(handle, len(data)) or (), len(data)) or ():
                assert 0 <= segment.offset <= segment.end <= len(data), (find, segment)
    finally:
        os.close(handle)


TARGETS: dict[str, Callable[[bytes], None]] = {
    each.__name__: each for each in (manifest, message, python_frame, checkpoint_file)
}

if __name__ == "__main__":
    target = TARGETS[sys.argv.pop(1)]
    atheris.Setup(sys.argv, target)
    atheris.Fuzz()
