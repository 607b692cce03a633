"""Which chunk of an older checkpoint a new one is best coded against: the same place of the same tensor."""

from __future__ import annotations

from collections.abc import Iterator

from .manifest import Manifest


def pair(target: Manifest, base: Manifest) -> dict[int, int]:
    """Chunk index in ``target`` -> chunk index in ``base`` of the same tensor, place and size; a hint, never trusted.

    The file's path must agree too, unless the tensor has a name: frameworks put the step into file names.
    """
    exact: dict[tuple[str, str, int, int], int] = {}
    named: dict[tuple[str, int, int], int] = {}
    for index, path, tensor, start, size_bytes in _spots(base):
        exact.setdefault((path, tensor, start, size_bytes), index)
        if tensor:
            named.setdefault((tensor, start, size_bytes), index)
    pairs: dict[int, int] = {}
    for index, path, tensor, start, size_bytes in _spots(target):
        found = exact.get((path, tensor, start, size_bytes))
        if found is None and tensor:
            found = named.get((tensor, start, size_bytes))
        if found is not None:
            pairs[index] = found
    return pairs


def _spots(manifest: Manifest) -> Iterator[tuple[int, str, str, int, int]]:
    """(index, path, tensor, offset inside the tensor or, without a name, inside the file, size in bytes)."""
    index = 0
    for entry in manifest.entries:
        tensor, tensor_offset = "", 0
        for chunk in entry.chunks:
            if chunk.tensor != tensor:
                tensor, tensor_offset = chunk.tensor, chunk.offset
            start = chunk.offset - tensor_offset if tensor else chunk.offset
            yield index, entry.path, tensor, start, chunk.size_bytes
            index += 1
