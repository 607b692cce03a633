"""The ANS coder and the sparse lists by themselves: every kernel says what the reference says, and all comes back."""

from __future__ import annotations

import math
import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heliotrope.native import _core, errors

KERNELS = ("scalar", "auto")
CODERS = {
    "ans": (_core.ans_encode, _core.ans_decode),
    "sparse": (_core.sparse_encode, _core.sparse_decode),
}


def skewed(seed: int, length: int, values: int, offset: int = 0) -> memoryview:
    """Bytes of any alignment of which the lower values are far more frequent, in a shuffled alphabet."""
    source = random.Random(seed)
    alphabet = source.sample(range(256), 256)
    places = (min(int(source.expovariate(8 / values)), values - 1) for _ in range(length))
    return memoryview(bytes(offset) + bytes(alphabet[place] for place in places))[offset:]


@given(st.sampled_from(sorted(CODERS)), st.integers(0, 20_000), st.integers(1, 256), st.integers(0, 9), st.integers())
def test_kernels_agree_and_invert(coder: str, length: int, values: int, offset: int, seed: int) -> None:
    encode, decode = CODERS[coder]
    data = skewed(seed, length, values, offset)
    coded = encode(data, "scalar")
    assert encode(data, "auto") == coded
    if coded is None:
        return
    assert len(coded) < length
    for kernel in KERNELS:
        output = bytearray(length + offset)
        decode(coded, memoryview(output)[offset:], kernel)
        assert output[offset:] == data


@pytest.mark.parametrize("length", [4096, 8191, 8192, 32_767, 32_768, 100_003])
@pytest.mark.parametrize("values", [2, 3, 17, 100, 256])
def test_ans_is_within_a_percent_of_the_entropy(length: int, values: int) -> None:
    data = skewed(length, length, values)
    coded = _core.ans_encode(data, "auto")
    assert coded is not None
    header_bytes = 3 + sum(2 * math.log2(count + 1) + 1 for count in _states(data)) / 8 + 8 + 3 * 4
    assert len(coded) <= 1.01 * length * _core.entropy(data) / 8 + header_bytes


def _states(data: memoryview) -> list[int]:
    """About how many states each value of the alphabet's span gets: what the header spends its bits on."""
    counts = Counter(data)
    return [math.ceil(4096 * counts[value] / len(data)) for value in range(min(counts), max(counts) + 1)]


@given(st.sampled_from(sorted(CODERS)), st.integers(256, 12_000), st.integers(2, 256), st.integers(), st.data())
def test_a_damaged_block_is_refused_alike_or_decodes_alike(
    coder: str, length: int, values: int, seed: int, data: st.DataObject
) -> None:
    encode, decode = CODERS[coder]
    coded = encode(skewed(seed, length, values), "auto")
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
            decode(damaged, memoryview(guarded)[32:-32], kernel)
            results.append(bytes(guarded))
        except errors.MalformedFrame as error:
            results.append(str(error).encode())
        assert guarded[:32] == guarded[-32:] == b"\xa5" * 32
    assert results[0] == results[1]


@pytest.mark.parametrize("coder", CODERS)
def test_every_truncation_of_a_block_is_refused(coder: str) -> None:
    encode, decode = CODERS[coder]
    data = skewed(3, 3000, 12 if coder == "ans" else 4)
    coded = encode(data, "auto")
    assert coded is not None
    for kernel in KERNELS:
        for length in range(len(coded)):
            with pytest.raises(errors.MalformedFrame):
                decode(coded[:length], bytearray(3000), kernel)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("values", [2, 40, 256])
def test_an_ans_block_decoded_to_another_length_is_refused(kernel: str, values: int) -> None:
    coded = _core.ans_encode(skewed(7, 5000, values), "auto")
    assert coded is not None
    for count in [*range(80), 999, 4999, 5001, 9000, 100_000]:
        guarded = bytearray(b"\xa5" * (count + 128))
        with pytest.raises(errors.MalformedFrame, match="does not end where it should"):
            _core.ans_decode(coded, memoryview(guarded)[64 : 64 + count], kernel)
        assert guarded[:64] == guarded[-64:] == b"\xa5" * 64


def test_ans_streams_of_very_unequal_length_come_back() -> None:
    """Every third value is noise: one stream is long, two are nearly empty, whatever else the counts say."""
    source = random.Random(5)
    data = bytes(source.randrange(256) if place % 3 == 0 else 7 for place in range(30_000))
    for kernel in KERNELS:
        coded = _core.ans_encode(data, kernel)
        assert coded is not None
        output = bytearray(len(data))
        _core.ans_decode(coded, output, kernel)
        assert output == data
