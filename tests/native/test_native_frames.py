"""Chunks to frames and back: everything round-trips, nothing grows, and the codec is the expected one."""

from __future__ import annotations

import os
import threading
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from heliotrope.native import (
    CODEC_VERSIONS,
    FRAME_VERSION,
    HEADER_BYTES,
    MAX_CHUNK_BYTES,
    Chunk,
    MissingBase,
    decode,
    encode,
    entropy_bits,
    inspect,
)

ELEMENTS = 40_000


def weights(seed: int = 0, count: int = ELEMENTS) -> npt.NDArray[np.float32]:
    return (np.random.default_rng(seed).standard_normal(count) * 0.02).astype(np.float32)


def bfloat16(values: npt.NDArray[np.float32]) -> bytes:
    return (values.view(np.uint32) >> 16).astype(np.uint16).tobytes()


def floats(values: npt.NDArray[Any], base: bytes | None = None) -> Chunk:
    return Chunk(values.data, values.itemsize, True, base)


def random_bytes(seed: int, length: int) -> bytes:
    return np.random.default_rng(seed).bytes(length)


def restore(frames: list[bytes], chunks: list[Chunk], threads: int = 1) -> list[bytes]:
    outputs = [bytearray(memoryview(chunk.data).nbytes) for chunk in chunks]
    decode(frames, outputs, [chunk.base for chunk in chunks], threads=threads)
    return [bytes(output) for output in outputs]


def check(chunk: Chunk, effort: int = 1) -> bytes:
    frame = encode([chunk], effort=effort)[0]
    raw = memoryview(chunk.data).tobytes()
    assert len(frame) <= len(raw) + HEADER_BYTES
    assert restore([frame], [chunk]) == [raw]
    return frame


@st.composite
def chunks(draw: st.DrawFn) -> Chunk:
    """Bytes of any length, of few or many values, in runs or not, perhaps close to a base."""
    length, seed, top = draw(st.integers(0, 5000)), draw(st.integers(0, 2**32)), draw(st.integers(1, 256))
    source = np.random.default_rng(seed)
    data = np.repeat(source.integers(0, top, length, dtype=np.uint16), draw(st.integers(1, 9)))[:length]
    data = data.astype(np.uint8)
    base = None
    if draw(st.booleans()):
        changed = source.random(length) < draw(st.floats(0, 1))
        base = np.where(changed, source.integers(0, 256, length), data).astype(np.uint8).tobytes()
    offset = draw(st.integers(0, 7))
    view = memoryview(bytes(offset) + data.tobytes())[offset:]
    return Chunk(view, draw(st.sampled_from((1, 2, 4, 8))), draw(st.booleans()), base)


@given(st.lists(chunks(), max_size=6), st.integers(0, 3), st.integers(1, 3))
def test_everything_round_trips_and_nothing_grows(batch: list[Chunk], effort: int, threads: int) -> None:
    frames = encode(batch, effort=effort, threads=threads)
    for frame, chunk in zip(frames, batch, strict=True):
        assert len(frame) <= memoryview(chunk.data).nbytes + HEADER_BYTES
        assert inspect(frame).raw_bytes == memoryview(chunk.data).nbytes
    assert restore(frames, batch, threads) == [memoryview(chunk.data).tobytes() for chunk in batch]


def test_float_planes_above_the_mantissa_are_coded_and_the_rest_is_left() -> None:
    info = inspect(check(floats(weights())))
    assert (info.delta, info.needs_base) == ("none", False)
    assert info.planes == ("raw", "raw", "raw", "huffman")
    assert info.frame_bytes < 0.85 * info.raw_bytes
    assert inspect(check(Chunk(bfloat16(weights()), 2, True))).planes == ("raw", "huffman")


def test_coding_is_within_one_percent_of_the_entropy() -> None:
    data = weights(count=1 << 18)
    bits = entropy_bits(data.data, 4, True)
    limit_bytes = sum(bits) / 8 * data.size
    assert len(check(floats(data))) <= 1.01 * limit_bytes


def test_floats_of_one_sign_lose_their_sign_bit() -> None:
    info = inspect(check(floats(weights() ** 2)))
    assert info.planes == ("septets", "raw", "raw", "huffman")
    assert info.plane_bytes[0] == 1 + ELEMENTS - ELEMENTS // 8
    assert inspect(check(floats(-(weights()[:-3] ** 2)))).planes[0] == "septets"


@pytest.mark.parametrize("tail", range(8))
def test_septets_of_any_count(tail: int) -> None:
    assert inspect(check(floats(weights()[: 8000 + tail] ** 2))).planes[0] == "septets"


def test_one_odd_sign_among_many_is_kept() -> None:
    data = weights() ** 2
    data[ELEMENTS // 2 + 1] *= -1
    check(floats(data))


def test_noise_is_stored_whole() -> None:
    info = inspect(check(Chunk(random_bytes(1, 30_001), 4, True)))
    assert (info.planes, info.frame_bytes) == ((), 30_001 + HEADER_BYTES)


@pytest.mark.parametrize("effort", [0, 1, 3])
def test_repetition_shrinks_to_a_header_at_every_effort(effort: int) -> None:
    assert len(check(Chunk(bytes(100_000), 4, True), effort)) <= 64
    assert len(check(floats(np.full(10_000, 1.7, np.float32)), effort)) <= 64


@pytest.mark.parametrize("effort", [0, 1])
def test_an_unchanged_base_shrinks_to_a_header(effort: int) -> None:
    data = weights().tobytes()
    frame = check(Chunk(data, 4, True, data), effort)
    assert len(frame) <= 64
    assert inspect(frame).needs_base


def test_a_small_change_is_coded_as_a_difference() -> None:
    before = weights()
    after = (before * np.float32(1 + 1e-6) + weights(1) * np.float32(1e-5)).astype(np.float32)
    info = inspect(check(floats(after, before.tobytes())))
    assert info.delta == "difference"
    assert info.frame_bytes < 0.75 * len(check(floats(after)))


def test_flipped_bits_are_coded_as_xor() -> None:
    before = np.random.default_rng(3).integers(0, 2**32, ELEMENTS, dtype=np.uint32)
    flips = np.where(np.random.default_rng(4).random(ELEMENTS) < 0.3, 0x00800000, 0).astype(np.uint32)
    assert inspect(check(Chunk((before ^ flips).data, 4, False, before.tobytes()))).delta == "xor"


def test_a_base_that_does_not_help_is_not_used() -> None:
    info = inspect(check(floats(weights(), random_bytes(5, 4 * ELEMENTS))))
    assert not info.needs_base


def narrow(seed: int, count: int, share: float) -> npt.NDArray[np.uint8]:
    """Mostly one value, its neighbours now and then, and rare ones far away, as in the top bytes of differences."""
    source = np.random.default_rng(seed)
    small = np.minimum(source.geometric(1 - share, count) - 1, 20)
    return np.where(source.random(count) < 0.01, 200 + small, 7 + small).astype(np.uint8)


@pytest.mark.parametrize("share", [0.2, 0.35])
@pytest.mark.parametrize("tail", [0, 1, 5, 11, 12, 13, 33])
def test_planes_that_whole_bits_are_too_coarse_for_go_through_ans(share: float, tail: int) -> None:
    data = narrow(tail, 60_000 + tail, share)
    info = inspect(check(Chunk(data.data)))
    assert info.planes == ("ans",)
    assert info.frame_bytes < 1.01 * sum(entropy_bits(data.data)) / 8 * data.size + 100


@pytest.mark.parametrize("share", [0.0001, 0.001, 0.01, 0.1])
@pytest.mark.parametrize("tail", [0, 1, 7])
def test_planes_of_nearly_one_value_list_the_others(share: float, tail: int) -> None:
    source = np.random.default_rng(tail)
    data = np.where(source.random(200_000 + tail) < share, source.integers(0, 9, 200_000 + tail), 77).astype(np.uint8)
    info = inspect(check(Chunk(data.data)))
    assert info.planes == ("sparse",)
    assert info.frame_bytes < 1.02 * sum(entropy_bits(data.data)) / 8 * data.size + 400


@pytest.mark.parametrize("places", [(0,), (1, 2, 9_998, 9_999), (255,), (254, 510), tuple(range(0, 10_000, 6))])
def test_others_in_every_place_are_kept(places: tuple[int, ...]) -> None:
    data = np.zeros(10_000, np.uint8)
    data[list(places)] = [1 + place % 250 for place in places]
    check(Chunk(data.data))


def test_others_that_the_sample_missed_are_kept() -> None:
    data = bytearray(1 << 20)
    data[12_345] = 1
    info = inspect(check(Chunk(bytes(data))))
    assert (info.planes, info.frame_bytes < 200) == (("sparse",), True)


def test_text_goes_through_zstd() -> None:
    lines = [f"step {step}: loss {4 / (1 + step / 50):.3f}, rate 0.001, node green-{step % 7}" for step in range(3000)]
    text = "\n".join(lines).encode()
    info = inspect(check(Chunk(text)))
    assert info.planes == ("zstd",)
    assert info.frame_bytes < len(text) / 4


def test_small_planes_of_few_bits_go_through_zstd() -> None:
    rare = (np.random.default_rng(6).random(3000) < 0.01).astype(np.uint8).tobytes()
    info = inspect(check(Chunk(rare)))
    assert info.planes == ("zstd",)
    assert info.frame_bytes < len(check(Chunk(rare), 0)) / 10
    assert len(check(Chunk(rare), 4)) <= info.frame_bytes


def test_a_sample_that_misleads_costs_nothing_but_time() -> None:
    """Everything between the sampled runs is noise: neither the frame's bound nor its content may suffer."""
    data = bytearray(random_bytes(7, 1 << 20))
    run, runs = 256, 16
    for index in range(runs):
        at = ((1 << 20) - run) // (runs - 1) * index
        data[at : at + run] = bytes([5]) * run
    check(Chunk(bytes(data)))
    check(Chunk(bytes(data)), 3)


def test_heterogeneous_chunks_round_trip() -> None:
    """Streams of very unequal length: each quarter of the plane has its own distribution."""
    quarters = [np.zeros(9000, np.float32), weights(1, 9000), weights(2, 9000) * 1e-8, np.ones(9000, np.float32)]
    check(floats(np.concatenate(quarters)))


def test_threads_give_the_same_frames() -> None:
    batch = [floats(weights(seed, 3000 + seed)) for seed in range(40)]
    frames = encode(batch)
    assert encode(batch, threads=3) == frames
    assert restore(frames, batch, 3) == [memoryview(chunk.data).tobytes() for chunk in batch]


def test_callers_from_many_threads_do_not_disturb_each_other() -> None:
    """zstd contexts and pools are shared state; frames made at the same time must equal those made alone."""
    batch = [Chunk((np.random.default_rng(seed).random(4000) < 0.05).astype(np.uint8).data) for seed in range(8)]
    assert inspect(encode(batch)[0]).planes == ("zstd",)
    expected = encode(batch)
    found: list[bool] = []

    def work() -> None:
        found.extend(encode(batch, threads=2) == expected for _ in range(4))

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert found == [True] * 16


def test_a_forked_child_makes_its_own_pool() -> None:
    batch = [floats(weights(seed, 2000)) for seed in range(6)]
    expected = encode(batch, threads=2)
    child = os.fork()
    if child == 0:
        os._exit(0 if encode(batch, threads=2) == expected else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_empty_batches_and_empty_chunks() -> None:
    assert encode([]) == []
    decode([], [], [])
    assert len(check(Chunk(b"", 8, True))) == HEADER_BYTES
    check(Chunk(b"", 4, True, b""))


def test_entropy_bits_needs_a_base_for_a_delta() -> None:
    data = weights()
    assert entropy_bits(data.data, 4, True, base=data.tobytes(), delta="xor") == [0, 0, 0, 0]
    with pytest.raises(MissingBase, match="needs a base"):
        entropy_bits(data.data, 4, True, delta="xor")
    with pytest.raises(ValueError, match="delta is 'minus'"):
        entropy_bits(data.data, 4, True, delta="minus")


@pytest.mark.parametrize(
    ("chunk", "message"),
    [
        (Chunk(b"abc", 3), "width is 3"),
        (Chunk(b"abcd", 4, True, b"abc"), "base has 3 bytes and data 4"),
    ],
)
def test_chunks_that_are_not_allowed_are_named(chunk: Chunk, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        encode([chunk])


def test_arguments_that_are_not_allowed_are_named() -> None:
    with pytest.raises(ValueError, match="effort is -1"):
        encode([], effort=-1)
    with pytest.raises(ValueError, match="threads is 0"):
        encode([], threads=0)
    with pytest.raises(ValueError, match="1 frames, 0 outputs, 0 bases"):
        decode([b""], [], [])
    with pytest.raises(BufferError):
        decode(encode([Chunk(b"abcd")]), [b"abcd"], [None])


def test_a_chunk_that_is_too_long_is_refused() -> None:
    zeros = np.zeros(MAX_CHUNK_BYTES + 1, np.uint8)  # never touched: no memory is used
    with pytest.raises(ValueError, match=f"at most {MAX_CHUNK_BYTES}"):
        encode([Chunk(zeros.data)])


def test_versions_are_told() -> None:
    assert FRAME_VERSION in CODEC_VERSIONS
    assert encode([Chunk(b"")])[0][2] == min(CODEC_VERSIONS)
    assert encode([Chunk(narrow(1, 9000, 0.3).data)])[0][2] == FRAME_VERSION
