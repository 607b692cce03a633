"""Damaged frames: refused, or decoded without touching a byte outside the output. `make native-asan` runs these
under the address and undefined-behaviour sanitizers, which see every access that the guards here cannot."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from heliotrope.native import CODEC_VERSIONS, Chunk, MalformedFrame, MissingBase, _core, decode, encode, inspect
from heliotrope.native.codec import CODECS

GUARD = b"\xa5" * 64


def gaussian(count: int) -> npt.NDArray[np.float32]:
    return (np.random.default_rng(count).standard_normal(count) * 0.02).astype(np.float32)


def samples() -> dict[str, Chunk]:
    """One small chunk for each codec that is still written, width and delta."""
    rare = (np.random.default_rng(1).random(700) < 0.03).astype(np.uint8)
    moved = gaussian(300) * np.float32(1 + 1e-6)
    narrow = np.minimum(np.random.default_rng(2).geometric(0.75, 4099) - 1, 30).astype(np.uint8)
    few = np.where(np.random.default_rng(3).random(4100) < 0.04, narrow[0] + 3, 9).astype(np.uint8)
    return {
        "ans": Chunk(narrow.data),
        "sparse": Chunk(few.data),
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
OLD = (Path(__file__).parent / "golden" / "folded_fours.hex").read_text().split("\n")
SAMPLES["folded"], FRAMES["folded"] = Chunk(bytes.fromhex(OLD[0])), bytes.fromhex(OLD[2])


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
            checked = position in (0, 1, 4, 5, 6, 7) or (position == 2 and damaged[2] not in CODEC_VERSIONS)
            assert not (accepted and checked), "mark, version and length are checked"


@given(st.sampled_from(sorted(SAMPLES)), st.data())
def test_frames_with_much_damage_are_refused_or_harmless(name: str, data: st.DataObject) -> None:
    damaged = bytearray(FRAMES[name])
    for _ in range(data.draw(st.integers(1, 12))):
        damaged[data.draw(st.integers(2, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    decode_guarded(bytes(damaged), SAMPLES[name])


@given(st.binary(max_size=400))
def test_arbitrary_bytes_behind_a_header_are_refused_or_harmless(payload: bytes) -> None:
    for shape in range(64):
        frame = b"H\xf1\x02" + bytes([shape]) + (128).to_bytes(4, "little") + payload
        decode_guarded(frame, Chunk(bytes(128), 1, False, bytes(128)))


def crafted(codec: str, payload: bytes, count: int) -> bytes:
    """A well-formed frame of one plane of `count` bytes whose payload is whatever is given."""
    entry = CODECS.index(codec) << 28 | len(payload)
    return b"H\xf1\x02\x00" + count.to_bytes(4, "little") + entry.to_bytes(4, "little") + payload


@pytest.mark.parametrize("count", [64, 100, 2000, 4999, 5001, 9000, 200_000])
def test_a_huffman_block_of_another_length_is_refused(count: int) -> None:
    """Too few values for its bits, or too many: the fast loops must stop by whichever ends first."""
    values = (np.random.default_rng(3).standard_normal(5000) * 40).astype(np.int8)
    for plane in (values, values // 16, np.minimum(values, 0)):
        block = _core.huffman_encode(plane.data, "auto")
        assert block is not None
        assert decode_guarded(crafted("huffman", block, 5000), Chunk(bytes(5000)))
        if len(block) <= count:
            assert not decode_guarded(crafted("huffman", block, count), Chunk(bytes(count)))


@pytest.mark.parametrize("codec", ["ans", "sparse"])
def test_frames_of_the_first_version_have_no_later_codecs(codec: str) -> None:
    frame = FRAMES[codec]
    assert frame[2] == 2
    assert not decode_guarded(frame[:2] + b"\x01" + frame[3:], SAMPLES[codec])


@pytest.mark.parametrize("count", [64, 100, 2000, 4999, 5001, 9000, 200_000])
@pytest.mark.parametrize("spread", [1, 16, 30])
def test_an_ans_block_of_another_length_is_refused(spread: int, count: int) -> None:
    values = (np.random.default_rng(3).standard_normal(5000) * spread).astype(np.int8)
    block = _core.ans_encode(values.data, "auto")
    assert block is not None
    assert decode_guarded(crafted("ans", block, 5000), Chunk(bytes(5000)))
    if len(block) <= count:
        assert not decode_guarded(crafted("ans", block, count), Chunk(bytes(count)))


def sparse_block(gaps: bytes, values: bytes, codecs: int = 0x11) -> bytes:
    sizes = (len(gaps), len(values), len(gaps))
    return bytes([0, codecs]) + b"".join(size.to_bytes(4, "little") for size in sizes) + gaps + values


@pytest.mark.parametrize(
    ("gaps", "values"),
    [
        (b"\x05\x05", b"\x01"),  # more gaps than values
        (b"\x05", b"\x01\x02"),  # and the other way round
        (b"\xff\xff\xff\xff\x00", b"\x01"),  # behind the plane's end
        (b"\x01" * 300, b"\x01" * 300),  # more than may be listed
    ],
)
def test_sparse_lists_that_do_not_fit_are_refused(gaps: bytes, values: bytes) -> None:
    assert decode_guarded(crafted("sparse", sparse_block(b"\x05\xff\x00", b"\x01\x02"), 1000), Chunk(bytes(1000)))
    assert not decode_guarded(crafted("sparse", sparse_block(gaps, values), 1000), Chunk(bytes(1000)))


@pytest.mark.parametrize("codecs", [0x13, 0x31, 0x14, 0x77, 0xF1])
def test_sparse_lists_of_other_codecs_are_refused(codecs: int) -> None:
    block = sparse_block(b"\x05\xff\x00", b"\x01\x02", codecs)
    assert not decode_guarded(crafted("sparse", block, 1000), Chunk(bytes(1000)))


@pytest.mark.parametrize("listed", [0, 1, 7])
@pytest.mark.parametrize("per_byte", [2, 4])
def test_more_escapes_than_are_listed_are_refused(per_byte: int, listed: int) -> None:
    count = 9000
    block = _core.huffman_encode(b"\xff" * (count // per_byte - 1) + b"\x00", "auto")
    assert block is not None
    payload = bytes([0, per_byte]) + listed.to_bytes(4, "little") + bytes(listed) + block
    assert not decode_guarded(crafted("folded", payload, count), Chunk(bytes(count)))


@pytest.mark.parametrize("change", [-1, 1])
@pytest.mark.parametrize(("codec", "coded_bytes"), [("raw", 400), ("septets", 351), ("constant", 1)])
def test_planes_of_a_wrong_length_are_refused(codec: str, coded_bytes: int, change: int) -> None:
    assert decode_guarded(crafted(codec, bytes(coded_bytes), 400), Chunk(bytes(400)))
    assert not decode_guarded(crafted(codec, bytes(coded_bytes + change), 400), Chunk(bytes(400)))


def test_incomplete_and_overfull_codes_are_refused() -> None:
    block = bytearray(_core.huffman_encode(b"abcdefgh" * 500, "auto") or b"")
    assert block[:6] == b"ah\x33\x33\x33\x33", "eight values of three bits each"
    assert decode_guarded(crafted("huffman", bytes(block), 4000), Chunk(bytes(4000)))
    for lengths in (b"\x33\x33\x33\x34", b"\x33\x33\x33\x32", b"\x33\x33\x33\x3c", b"\x00\x00\x00\x00"):
        block[2:6] = lengths
        assert not decode_guarded(crafted("huffman", bytes(block), 4000), Chunk(bytes(4000)))


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
