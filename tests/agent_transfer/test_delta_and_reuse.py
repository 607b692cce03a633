"""What the destination has already does not travel: frozen weights, older steps, the store's chunks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from heliotrope.agent.checkpoints.pins import Pins
from heliotrope.agent.checkpoints.reader import CheckpointReader
from heliotrope.agent.checkpoints.scan import build
from heliotrope.agent.checkpoints.store import ChunkStore

from .conftest import Site

RNG = np.random.default_rng(11)


def write_state(path: Path, arrays: dict[str, Any]) -> Path:
    path.mkdir()
    np.savez(path / "state.npz", **arrays)
    return path


def lora(path: Path, frozen: np.ndarray, adapter: np.ndarray) -> Path:
    return write_state(path, {"base": frozen, "adapter": adapter})


def test_a_frozen_base_moves_once(site: Site, tmp_path: Path) -> None:
    frozen = (RNG.standard_normal(5_000_000) * 0.02).astype(np.float32)
    adapter = RNG.standard_normal(50_000).astype(np.float32)
    site.offer(lora(tmp_path / "step-1", frozen, adapter), "1")
    first = site.pull(tmp_path / "there-1", "1")
    assert first.wire_bytes > 15_000_000

    store = ChunkStore(tmp_path / "store", quota_bytes=1 << 30)
    pin = Pins(tmp_path / "pins").pin("step-1", tmp_path / "there-1")
    store.add_reference("step-1", first.manifest, pin.root)
    site.offer(lora(tmp_path / "step-2", frozen, adapter + np.float32(0.01)), "2")
    second = site.pull(tmp_path / "there-2", "2", store=store)
    assert second.reused_bytes >= frozen.nbytes
    assert second.wire_bytes <= 0.02 * second.state_bytes


def test_a_delta_is_smaller_and_exact(site: Site, tmp_path: Path) -> None:
    old = (RNG.standard_normal(2_000_000) * 0.02).astype(np.float32)
    new = old * np.float32(1 + 2**-18)
    one, two = (write_state(tmp_path / f"s{n}", {"w": values}) for n, values in ((1, old), (2, new)))
    source = site.offer(one, "1")
    site.offer(two, "2")
    site.bases[source.digest] = source
    first = site.pull(tmp_path / "there-1", "1")
    base = CheckpointReader(tmp_path / "there-1", first.manifest)
    with_base = site.pull(tmp_path / "there-2", "2", base=base)
    without = site.pull(tmp_path / "there-3", "2")
    assert with_base.delta_bytes > 0.9 * new.nbytes and without.delta_bytes == 0
    assert with_base.wire_bytes < 0.7 * without.wire_bytes
    assert (tmp_path / "there-2/state.npz").read_bytes() == (two / "state.npz").read_bytes()


def test_a_base_the_source_lost_costs_only_the_delta(site: Site, tmp_path: Path) -> None:
    old = (RNG.standard_normal(1_000_000)).astype(np.float32)
    one, two = (write_state(tmp_path / f"s{n}", {"w": old + np.float32(n)}) for n in (1, 2))
    base = CheckpointReader(one, build(one))
    source = site.offer(two)
    result = site.pull(tmp_path / "there", base=base)
    assert result.manifest_digest == source.digest and result.delta_bytes == 0


def test_a_damaged_base_here_is_asked_around(site: Site, tmp_path: Path) -> None:
    old = (RNG.standard_normal(1_000_000) * 0.02).astype(np.float32)
    new = old * np.float32(1 + 2**-18)
    one, two = (write_state(tmp_path / f"s{n}", {"w": values}) for n, values in ((1, old), (2, new)))
    source = site.offer(one, "1")
    newest = site.offer(two, "2")
    site.bases[source.digest] = source
    first = site.pull(tmp_path / "there-1", "1")
    path = tmp_path / "there-1" / "state.npz"
    with open(path, "r+b") as file:
        file.seek(1_000_000)
        file.write(b"rot")
    base = CheckpointReader(tmp_path / "there-1", first.manifest)
    result = site.pull(tmp_path / "there-2", "2", base=base)
    assert result.manifest_digest == newest.digest


def test_a_damaged_store_chunk_is_fetched(site: Site, tmp_path: Path) -> None:
    path = tmp_path / "ck"
    path.write_bytes(RNG.bytes(500_000))
    source = site.offer(path)
    store = ChunkStore(tmp_path / "store", quota_bytes=1 << 30)
    store.add_reference("all", source.manifest)
    data = path.read_bytes()
    for _, chunk in source.places:
        store.put(data[chunk.offset : chunk.offset + chunk.size_bytes])
    spoiled = next((tmp_path / "store" / "chunks").glob("??/*"))
    spoiled.write_bytes(bytes(spoiled.stat().st_size))
    result = site.pull(tmp_path / "there", store=store)
    assert result.fetched_bytes > 0 and result.reused_bytes > 0
    assert (tmp_path / "there").read_bytes() == data
