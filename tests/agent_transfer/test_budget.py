"""Buffers that are used again, and how much of them is kept."""

from __future__ import annotations

from heliotrope.agent.transfer.budget import Buffers

CHUNK_BYTES = 4 << 20


def test_a_buffer_serves_chunks_of_about_its_size() -> None:
    buffers = Buffers()
    buffer, view = buffers.take(CHUNK_BYTES)
    assert len(view) == CHUNK_BYTES
    view.release()
    buffers.give(buffer)
    for size_bytes in (CHUNK_BYTES - 1000, CHUNK_BYTES):
        again, view = buffers.take(size_bytes)
        assert again is buffer and len(view) == size_bytes
        buffers.give(again)
    other, _ = buffers.take(CHUNK_BYTES // 8)  # far too large for that
    assert other is not buffer


def test_no_more_is_kept_than_the_limit_says_and_nothing_after_clear() -> None:
    buffers = Buffers()
    taken = [buffers.take(300_000)[0] for _ in range(3 * Buffers.FREE_BYTES // 300_000)]
    for buffer in taken:
        buffers.give(buffer)
    assert buffers.free_bytes <= Buffers.FREE_BYTES
    assert buffers.free_bytes > Buffers.FREE_BYTES - 1_000_000
    buffers.clear()
    assert buffers.free_bytes == 0
    assert buffers.take(300_000)[0] not in taken
