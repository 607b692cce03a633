"""Golden vectors: frames written once, decoded by every later version, and encoded to the same bytes by every kernel.

tests/native/golden/NAME.hex holds the chunk, its base (or nothing) and its frame, one per line. zstd planes are only
decoded: another zstd release may compress otherwise. So are ONLY_DECODED, frames of version 1 whose planes are coded
otherwise since version 2. A change here is a change of the format and needs a new version.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from heliotrope.native import CODEC_VERSIONS, Chunk, boundaries, decode, encode, inspect

GOLDEN = Path(__file__).parent / "golden"
ONLY_DECODED = {"folded_fours", "folded_pairs", "huffman_even_segments"}
NAMES = sorted(path.stem for path in GOLDEN.glob("*.hex"))


def read(name: str) -> tuple[bytes, bytes | None, bytes]:
    data, base, frame = (bytes.fromhex(line) for line in (GOLDEN / f"{name}.hex").read_text().split("\n")[:3])
    return data, base or None, frame


def test_the_vectors_cover_the_format() -> None:
    infos = [inspect(read(name)[2]) for name in NAMES]
    assert {info.width for info in infos} == {1, 2, 4, 8}
    assert {info.delta for info in infos} == {"none", "xor", "difference"}
    assert {codec for info in infos for codec in info.planes} == {
        "constant",
        "raw",
        "huffman",
        "zstd",
        "septets",
        "folded",
        "ans",
        "sparse",
    }
    assert {read(name)[2][2] for name in NAMES} == set(CODEC_VERSIONS)
    assert any(not info.planes for info in infos)


@pytest.mark.parametrize("name", NAMES)
def test_old_frames_still_decode(name: str) -> None:
    data, base, frame = read(name)
    output = bytearray(len(data))
    decode([frame], [output], [base])
    assert output == data


@pytest.mark.parametrize("name", NAMES)
def test_the_encoder_still_writes_the_same_frames(name: str) -> None:
    data, base, frame = read(name)
    info = inspect(frame)
    coded = encode([Chunk(data, info.width, info.floating, base)])[0]
    if name in ONLY_DECODED:
        assert coded != frame
        assert len(coded) <= len(frame)
    elif "zstd" in info.planes:
        assert (inspect(coded).planes, inspect(coded).delta) == (info.planes, info.delta)
    else:
        assert coded == frame


def test_boundaries_never_move() -> None:
    """Two nodes must cut alike: a pseudo-random text of 64 KiB, made without any library's generator."""
    state, text = 1, bytearray()
    while len(text) < 65_536:
        state = (state * 1_103_515_245 + 12_345) % 2**31
        text.append(state >> 16 & 255)
    ends = [int(end) for end in (GOLDEN / "boundaries.txt").read_text().split()]
    assert boundaries(bytes(text), minimum_bytes=1024, average_bytes=4096, maximum_bytes=16384) == ends
