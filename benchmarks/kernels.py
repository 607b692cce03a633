"""The plane coders by themselves: bits and speed of one thread over planes of rising entropy.

``python -m benchmarks.kernels [--json] [--runs N] [--plane-bytes N]``. Planes hold two-sided geometric values, which is
what the byte planes of weights and of their differences look like. ``coded_bits`` and ``entropy_bits`` are per byte;
GB/s are of plane bytes, counting and tables included. ``chosen`` is what a frame takes for the plane. The last rows
say what choosing takes: a chunk of noise is looked at and left alone, so that its time is the choice's.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt
import zstandard

from heliotrope import native
from heliotrope.native import Chunk, _core

from . import measure
from .measure import Row

ENTROPIES = (0.02, 0.05, 0.1, 0.3, 0.6, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 6.8, 7.5)
PLANE_BYTES = 1 << 18

Coder = tuple[Callable[[bytes], bytes | None], Callable[[bytes, bytearray], object]]


def main() -> None:
    parser = measure.options(__doc__)
    parser.add_argument("--plane-bytes", type=_plane_bytes, default=PLANE_BYTES, help=f"default {PLANE_BYTES}")
    arguments = parser.parse_args()
    rows = [row for bits in ENTROPIES for row in plane_rows(plane(bits, arguments.plane_bytes), arguments.runs)]
    measure.show([*rows, *choice_rows(arguments.plane_bytes, arguments.runs)], arguments.json)


def plane(entropy_bits: float, size: int) -> bytes:
    """``size`` values around 128 whose distribution has this entropy; fewer bits, a steeper one."""
    flat, steep = 1e-4, 20.0
    for _ in range(60):
        middle = (flat * steep) ** 0.5
        flat, steep = (middle, steep) if _entropy(_shares(middle)) > entropy_bits else (flat, middle)
    return np.random.default_rng(1).choice(256, size, p=_shares(flat)).astype(np.uint8).tobytes()


def plane_rows(data: bytes, runs: int) -> Iterator[Row]:
    """One row per coder that makes the plane smaller, measured in turns."""
    able = {name: (coder, coded) for name, coder in _coders().items() if (coded := coder[0](data)) is not None}
    output = bytearray(len(data))
    for name, (coder, coded) in able.items():
        coder[1](coded, output)
        assert output == data, name
    encode_s = measure.in_turns({name: _call(coder[0], data) for name, (coder, _) in able.items()}, runs)
    decode_s = measure.in_turns({name: _call(coder[1], coded, output) for name, (coder, coded) in able.items()}, runs)
    (chosen,) = native.inspect(native.encode([Chunk(data)])[0]).planes or ("stored",)
    for name, (_, coded) in able.items():
        row: Row = {"entropy_bits": round(_core.entropy(data), 4), "coder": name, "chosen": chosen}
        row["coded_bits"] = round(8 * len(coded) / len(data), 4)
        row |= measure.figures("encode_gb_per_s", [len(data) / duration_s / 1e9 for duration_s in encode_s[name]])
        row |= measure.figures("decode_gb_per_s", [len(data) / duration_s / 1e9 for duration_s in decode_s[name]])
        yield {**row, "plane_bytes": len(data), "runs": runs, "threads": 1}


def choice_rows(size: int, runs: int) -> Iterator[Row]:
    """How long the choice takes, alone and as a share of coding a plane of 3 bits."""
    source = np.random.default_rng(2)
    for width in (1, 2, 4):
        noise = [Chunk(source.bytes(size * width), width, True)]
        coded = [Chunk(_woven(plane(3.0, size), noise[0], width), width)]
        spent = measure.in_turns(
            {"choice": _call(native.encode_parts, noise), "coding": _call(native.encode, coded)}, runs
        )
        row: Row = {"choice_of": f"{size * width} bytes of width {width}"}
        row |= measure.figures("choice_s", spent["choice"])
        yield row | measure.figures("coding_s", spent["coding"]) | {"runs": runs}


def _woven(top: bytes, noise: Chunk, width: int) -> bytes:
    """Elements whose top byte is of ``top`` and whose other bytes are noise: what a float tensor looks like."""
    elements = np.frombuffer(bytearray(noise.data), np.uint8).reshape(-1, width)
    elements[:, width - 1] = np.frombuffer(top, np.uint8)
    return elements.tobytes()


def _coders() -> dict[str, Coder]:
    return {
        "huffman": (lambda data: _core.huffman_encode(data, "auto"), lambda c, o: _core.huffman_decode(c, o, "auto")),
        "ans": (lambda data: _core.ans_encode(data, "auto"), lambda c, o: _core.ans_decode(c, o, "auto")),
        "sparse": (lambda data: _core.sparse_encode(data, "auto"), lambda c, o: _core.sparse_decode(c, o, "auto")),
        "zstd -1": (zstandard.ZstdCompressor(level=1).compress, _inflate),
    }


def _inflate(coded: bytes, output: bytearray) -> None:
    output[:] = zstandard.ZstdDecompressor().decompress(coded)


def _call(work: Callable[..., object], *arguments: object) -> Callable[[], object]:
    return lambda: work(*arguments)


def _shares(steepness: float) -> npt.NDArray[np.float64]:
    weights = np.exp(-steepness * np.abs(np.arange(256) - 128.0))
    shares: npt.NDArray[np.float64] = weights / weights.sum()
    return shares


def _entropy(shares: npt.NDArray[np.float64]) -> float:
    present = shares[shares > 0]
    return float(-(present * np.log2(present)).sum())


def _plane_bytes(text: str) -> int:
    if not text.isdigit() or not 4096 <= int(text) <= 1 << 26:
        raise argparse.ArgumentTypeError(f"{text} is no plane's size; use 4096 to {1 << 26} bytes")
    return int(text)


if __name__ == "__main__":
    main()
