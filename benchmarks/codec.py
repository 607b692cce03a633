"""The transfer core against general compressors and ZipNN: ratio, and speed of one thread.

``python -m benchmarks.codec [--json] [--runs N] [--file PATH [--base PATH]]``. Without a file it measures on
checkpoints that it trains itself. ``ratio`` is raw by coded bytes; ``entropy_ratio`` what no coder that looks at single
bytes can pass, from the order-0 entropy of each tensor's byte planes.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from heliotrope.agent.checkpoints import scan
from heliotrope.agent.checkpoints.pairing import pair
from heliotrope.agent.checkpoints.reader import CheckpointReader
from heliotrope.native import Chunk, entropy_bits

from . import measure
from .checkpoints import Sample, samples
from .coders import Coder, Unavailable, coders
from .measure import Row

LIMIT_BYTES = 1 << 30


def main() -> None:
    parser = measure.options(__doc__)
    parser.add_argument("--file", type=Path, help="a checkpoint (file or folder) to measure on instead")
    parser.add_argument("--base", type=Path, help="an older one of the same run, that a receiver holds")
    arguments = parser.parse_args()
    measure.show(
        [row for sample in _samples(parser, arguments) for row in rows(sample, arguments.runs)], arguments.json
    )


def _samples(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> list[Sample]:
    if arguments.file is None:
        if arguments.base is not None:
            parser.error("--base needs --file")
        return samples()
    for path in filter(None, (arguments.file, arguments.base)):
        if not path.exists():
            parser.error(f"{path} does not exist")
    alone = Sample(arguments.file.name, arguments.file)
    if arguments.base is None:
        return [alone]
    return [alone, Sample(arguments.file.name, arguments.file, arguments.base, arguments.base.name)]


def rows(sample: Sample, runs: int) -> list[Row]:
    """One row per coder, measured in turns; a peer that is not installed says so."""
    chunks = _read(sample)
    raw_bytes = sum(memoryview(chunk.data).nbytes for chunk in chunks)
    common: Row = {"dataset": sample.name, "base": sample.base_name, "raw_bytes": raw_bytes}
    found: list[Row] = []
    able: dict[str, Coder] = {}
    for coder in coders(with_base=sample.base is not None):
        try:
            coder.prepare(chunks)
        except Unavailable as error:
            found.append({**common, "tool": coder.name, "missing": str(error)})
            continue
        coder.check()
        able[coder.name] = coder
    encode_s = measure.in_turns({name: coder.encode for name, coder in able.items()}, runs)
    decode_s = measure.in_turns({name: coder.decode for name, coder in able.items()}, runs)
    limit = round(raw_bytes / max(_entropy_bytes(chunks), 1), 4)
    for name, coder in able.items():
        row = {**common, "tool": name, "ratio": round(raw_bytes / coder.coded_bytes, 4), "entropy_ratio": limit}
        row |= measure.figures("encode_gb_per_s", [raw_bytes / duration_s / 1e9 for duration_s in encode_s[name]])
        row |= measure.figures("decode_gb_per_s", [raw_bytes / duration_s / 1e9 for duration_s in decode_s[name]])
        found.append({**row, "runs": runs, "threads": 1})
    return found


def _read(sample: Sample) -> list[Chunk]:
    """The chunks as the agent cuts and pairs them, the first GiB of them, in memory."""
    target = CheckpointReader(sample.path, scan.build(sample.path))
    base = CheckpointReader(sample.base, scan.build(sample.base)) if sample.base is not None else None
    pairs = pair(target.manifest, base.manifest) if base is not None else {}
    chunks: list[Chunk] = []
    taken_bytes = 0
    for index, (_, place) in enumerate(target.places):
        if taken_bytes + place.size_bytes > LIMIT_BYTES:
            break
        taken_bytes += place.size_bytes
        older = _fetch(base, pairs[index]) if base is not None and index in pairs else None
        chunks.append(Chunk(_fetch(target, index), place.width, place.floating, older))
    return chunks


def _fetch(reader: CheckpointReader, index: int) -> bytearray:
    data = bytearray(reader.places[index][1].size_bytes)
    reader.read_into(index, memoryview(data))
    return data


def _entropy_bytes(chunks: Sequence[Chunk]) -> float:
    """The least bytes by order-0 entropy; with a base, of the cheapest of plain, XOR and difference, per chunk."""
    total = 0.0
    for data, width, floating, base in chunks:
        deltas = ("none",) if base is None else ("none", "xor", "difference")
        bits = [sum(entropy_bits(data, width, floating, base=base, delta=delta)) for delta in deltas]
        total += min(bits) * memoryview(data).nbytes / width / 8
    return total


if __name__ == "__main__":
    main()
