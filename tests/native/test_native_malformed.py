"""Damaged frames: refused, or decoded without touching a byte outside the output. `make native-asan` runs these
under the address and undefined-behaviour sanitizers, which see every access that the guards here cannot."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from heliotrope.native import Chunk, MalformedFrame, MissingBase, decode, encode, inspect
from heliotrope.native.codec import CODECS

GUARD = b"\xa5" * 64


def gaussian(count: int) -> npt.NDArray[np.float32]:
    return (np.random.default_rng(count).standard_normal(count) * 0.02).astype(np.float32)


def samples() -> dict[str, Chunk]:
    """One small chunk for each codec, width and delta."""
    rare = (np.random.default_rng(1).random(700) < 0.03).astype(np.uint8)
    moved = gaussian(300) * np.float32(1 + 1e-6)
    narrow = np.minimum(np.random.default_rng(2).geometric(0.75, 4099) - 1, 30).astype(np.uint8)
    return {
        "folded": Chunk(narrow.data),
        "stored": Chunk(b"heliotrope", 4, True),
        "fp32": Chunk(gaussian(301).tobytes() + b"ab", 4, True),
        "fp64": Chunk(gaussian(150).astype(np.float64).data, 8, True),
        "bf16": Chunk((gaussian(400).view(np.uint32) >> 16).astype(np.uint16).data, 2, True),
        "septets": Chunk((gaussian(203) ** 2).data, 4, True),
        "zstd": Chunk(rare.data),
        "difference": Chunk(moved.data, 4, True, gaussian(300).data),
        "constant": Chunk(bytes(256), 4, True),
    }


SAMPLES = samples()
FRAMES = {name: encode([chunk])[0] for name, chunk in SAMPLES.items()}


def decode_guarded(frame: bytes, chunk: Chunk) -> bool:
    """Whether the frame was accepted; either way, nothing outside the output may change."""
    length = memoryview(chunk.data).nbytes
    memory = bytearray(GUARD + bytes(length) + GUARD)
    try:
        decode([frame], [memoryview(memory)[len(GUARD) : len(GUARD) + length]], [chunk.base])
        accepted = True
    except MalformedFrame as error:
        assert str(error).startswith("cannot decode ")
        accepted = False
    assert memory[: len(GUARD)] == memory[-len(GUARD) :] == GUARD
    return accepted


def test_the_samples_cover_every_codec_and_delta() -> None:
    found = {codec for frame in FRAMES.values() for codec in inspect(frame).planes}
    assert found == set(CODECS)
    assert inspect(FRAMES["difference"]).delta == "difference"


@pytest.mark.parametrize("name", SAMPLES)
def test_every_truncation_is_refused(name: str) -> None:
    for length in range(len(FRAMES[name])):
        assert not decode_guarded(FRAMES[name][:length], SAMPLES[name]), length


@pytest.mark.parametrize("name", SAMPLES)
def test_a_longer_frame_is_refused(name: str) -> None:
    assert not decode_guarded(FRAMES[name] + b"\x00", SAMPLES[name])


@pytest.mark.parametrize("name", SAMPLES)
def test_every_flipped_byte_is_refused_or_harmless(name: str) -> None:
    for position in range(len(FRAMES[name])):
        for flip in (0x01, 0x80, 0xFF):
            damaged = bytearray(FRAMES[name])
            damaged[position] ^= flip
            accepted = decode_guarded(bytes(damaged), SAMPLES[name])
            assert not (accepted and position in (0, 1, 2, 4, 5, 6, 7)), "mark, version and length are checked"


@given(st.sampled_from(sorted(SAMPLES)), st.data())
def test_frames_with_much_damage_are_refused_or_harmless(name: str, data: st.DataObject) -> None:
    damaged = bytearray(FRAMES[name])
    for _ in range(data.draw(st.integers(1, 12))):
        damaged[data.draw(st.integers(2, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    decode_guarded(bytes(damaged), SAMPLES[name])


@given(st.binary(max_size=400))
def test_arbitrary_bytes_behind_a_header_are_refused_or_harmless(payload: bytes) -> None:
    for shape in range(64):
        frame = b"H\xf1\x01" + bytes([shape]) + (128).to_bytes(4, "little") + payload
        decode_guarded(frame, Chunk(bytes(128), 1, False, bytes(128)))


def refused(frame: bytes, length: int, message: str) -> None:
    with pytest.raises(MalformedFrame, match=message):
        decode([frame], [bytearray(length)], [None])


def test_messages_name_what_is_wrong() -> None:
    frame, length = FRAMES["fp32"], memoryview(SAMPLES["fp32"].data).nbytes
    refused(b"", length, "frame 0: it is shorter than its header says")
    refused(b"XX" + frame[2:], length, "does not begin with the frame mark")
    refused(frame[:2] + b"\x09" + frame[3:], length, "version is not known")
    refused(frame[:3] + b"\xff" + frame[4:], length, "shape byte")
    refused(frame, length + 1, "another length")
    refused(frame[:11] + b"\xf0" + frame[12:], length, "plane 0: the codec or length of a plane")
    with pytest.raises(MalformedFrame, match="frame mark"):
        inspect(b"no frame")


def test_a_missing_base_is_its_own_error() -> None:
    chunk, frame = SAMPLES["difference"], FRAMES["difference"]
    for base in (None, b"short"):
        with pytest.raises(MissingBase, match="needs a base"):
            decode([frame], [bytearray(memoryview(chunk.data).nbytes)], [base])


def test_zstd_data_that_claims_gigabytes_takes_no_memory() -> None:
    frame = bytearray(FRAMES["zstd"])
    at = len(frame) - inspect(bytes(frame)).plane_bytes[0]
    assert frame[at : at + 4] == b"\x28\xb5\x2f\xfd"
    bomb = b"\x28\xb5\x2f\xfd\xe0" + (1 << 40).to_bytes(8, "little") + b"\x01\x00\x00"
    entry = (3 << 28 | len(bomb)).to_bytes(4, "little")
    refused(bytes(frame[:8]) + entry + bomb, 700, "its zstd data has another length")
