"""Every kernel says the same as the scalar reference, and its inverse undoes it: all widths, odd sizes, alignments."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heliotrope.native import _core, errors

KERNELS = ("scalar", "auto")
WIDTHS = (1, 2, 4, 8)
NONE, XOR, DIFFERENCE = range(3)

shapes = st.tuples(st.sampled_from(WIDTHS), st.booleans(), st.sampled_from((NONE, XOR, DIFFERENCE)))


def noise(seed: int, length: int, offset: int = 0) -> memoryview:
    """Random bytes that begin at any alignment."""
    return memoryview(random.Random(seed).randbytes(offset + length))[offset:]


def skewed(seed: int, length: int, values: int) -> bytes:
    """Bytes of which the lower values are far more frequent, in a shuffled alphabet."""
    source = random.Random(seed)
    alphabet = source.sample(range(256), 256)
    return bytes(alphabet[min(int(source.expovariate(8 / values)), values - 1)] for _ in range(length))


@given(shapes, st.integers(0, 700), st.integers(0, 15), st.integers(0, 15), st.integers())
def test_split_and_merge_equal_the_reference(
    shape: tuple[int, bool, int], length: int, offset: int, base_offset: int, seed: int
) -> None:
    width, floating, delta = shape
    data, base = noise(seed, length, offset), noise(seed + 1, length, base_offset)
    planes = _core.split(data, width, floating, delta, base, "scalar")
    assert _core.split(data, width, floating, delta, base, "auto") == planes
    whole = length // width * width
    for kernel in KERNELS:
        output = bytearray(b"\xa5" * length)
        _core.merge(planes, floating, delta, base, output, kernel)
        assert output[:whole] == data[:whole]
        assert output[whole:] == b"\xa5" * (length - whole)


def bits_of(value: int, width: int) -> list[bytes]:
    return [bytes([byte]) for byte in value.to_bytes(width, "little")]


@pytest.mark.parametrize("kernel", KERNELS)
def test_the_top_plane_of_a_float_is_its_exponent(kernel: str) -> None:
    minus_one_and_a_half = (0xBFC00000).to_bytes(4, "little")
    planes = _core.split(minus_one_and_a_half * 33, 4, True, NONE, None, kernel)
    assert [set(plane) for plane in planes] == [{1}, {0}, {0x80}, {127}]


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize(
    ("width", "value", "base", "coded"),
    [
        (2, 0x3F80, 0x3F7F, 2),  # one step up is 1, with the sign below it
        (2, 0x3F7F, 0x3F80, 1),  # one step down is -1
        (4, 0x80000000, 0x00000000, 1),  # -0.0 is the neighbour of 0.0
        (4, 0x80000001, 0x00000001, 5),  # across zero: three steps down
        (8, 0x3FF0000000000001, 0x3FF0000000000000, 2),
    ],
)
def test_differences_count_steps_between_neighbouring_floats(
    kernel: str, width: int, value: int, base: int, coded: int
) -> None:
    data, against = value.to_bytes(width, "little") * 40, base.to_bytes(width, "little") * 40
    planes = _core.split(data, width, True, DIFFERENCE, against, kernel)
    assert [bytes(plane[:1]) for plane in planes] == bits_of(coded, width)


@given(st.integers(0, 3000), st.integers(1, 256), st.integers())
def test_histogram_counts(length: int, values: int, seed: int) -> None:
    data = skewed(seed, length, values)
    expected = Counter(data)
    for kernel in KERNELS:
        assert _core.histogram(data, kernel) == [expected[value] for value in range(256)]


@given(st.integers(0, 20_000), st.integers(1, 256), st.integers())
def test_huffman_kernels_agree_and_invert(length: int, values: int, seed: int) -> None:
    data = skewed(seed, length, values)
    coded = _core.huffman_encode(data, "scalar")
    assert _core.huffman_encode(data, "auto") == coded
    if coded is None:
        return
    assert len(coded) < length
    for kernel in KERNELS:
        output = bytearray(length)
        _core.huffman_decode(coded, output, kernel)
        assert output == data


@pytest.mark.parametrize("length", [1000, 8191, 8192, 8193, 32_767, 32_768, 65_536, 100_003])
@pytest.mark.parametrize("values", [2, 3, 17, 100, 256])
def test_huffman_is_as_close_to_the_entropy_as_theory_says(length: int, values: int) -> None:
    """Gallager, 1978: at most the commonest value's share plus 0.086 bits above the entropy."""
    data = skewed(length, length, values)
    commonest_ratio = Counter(data).most_common(1)[0][1] / length
    coded = _core.huffman_encode(data, "auto")
    assert coded is not None
    header_bytes = 2 + 128 + 28 + 8
    assert len(coded) <= length * (_core.entropy(data) + commonest_ratio + 0.086) / 8 + header_bytes
    for kernel in KERNELS:
        output = bytearray(length)
        _core.huffman_decode(coded, output, kernel)
        assert output == data


def test_huffman_limits_the_longest_code() -> None:
    """Counts like Fibonacci's would need codes of 20 bits; the limit still gives a complete code."""
    counts, data = [1, 1], b""
    while len(counts) < 20:
        counts.append(counts[-1] + counts[-2])
    data = b"".join(bytes([value]) * count for value, count in enumerate(counts))
    coded = _core.huffman_encode(data, "auto")
    assert coded is not None
    output = bytearray(len(data))
    _core.huffman_decode(coded, output, "auto")
    assert output == data


@given(st.integers(64, 12_000), st.integers(2, 256), st.integers(), st.data())
def test_a_damaged_huffman_block_is_refused_alike_or_decodes_alike(
    length: int, values: int, seed: int, data: st.DataObject
) -> None:
    coded = _core.huffman_encode(skewed(seed, length, values), "auto")
    if coded is None:
        return
    damaged = bytearray(coded)
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(coded) - 1))] = data.draw(st.integers(0, 255))
    del damaged[data.draw(st.integers(0, len(coded))) :]
    results = []
    for kernel in KERNELS:
        guarded = bytearray(b"\xa5" * (length + 64))
        try:
            _core.huffman_decode(damaged, memoryview(guarded)[32:-32], kernel)
            results.append(bytes(guarded))
        except errors.MalformedFrame as error:
            results.append(str(error).encode())
        assert guarded[:32] == guarded[-32:] == b"\xa5" * 32
    assert results[0] == results[1]


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("count", [*range(80), 100, 999, 4999, 5001, 9000, 100_000])
def test_a_block_decoded_to_another_length_is_refused(kernel: str, count: int) -> None:
    """Streams that are far longer or shorter than their segments: a segment may have no byte at all."""
    for values in (2, 40, 256):
        coded = _core.huffman_encode(skewed(7, 5000, values), "auto")
        assert coded is not None
        guarded = bytearray(b"\xa5" * (count + 128))
        with pytest.raises(errors.MalformedFrame, match="does not end where it should"):
            _core.huffman_decode(coded, memoryview(guarded)[64 : 64 + count], kernel)
        assert guarded[:64] == guarded[-64:] == b"\xa5" * 64


def test_entropy_of_known_distributions() -> None:
    assert _core.entropy(b"") == 0
    assert _core.entropy(b"\x07" * 1000) == 0
    assert _core.entropy(bytes(range(256)) * 9) == pytest.approx(8)
    assert _core.entropy(b"\x00\x00\x00\x01" * 500) == pytest.approx(0.8112781244591328, abs=1e-6)


def test_an_unknown_kernel_is_refused() -> None:
    with pytest.raises(LookupError, match="altivec"):
        _core.histogram(b"", "altivec")
