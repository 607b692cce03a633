"""Folder trees for the property tests: what a checkpoint may hold, odd names and holes included."""

from __future__ import annotations

import os
from pathlib import Path

from hypothesis import strategies as st

_NAME = (
    st.binary(min_size=1, max_size=12)
    .filter(lambda name: b"/" not in name and b"\0" not in name)
    .filter(lambda name: name not in (b".", b".."))
)
_CONTENT = st.one_of(
    st.just(b""),
    st.binary(max_size=300),
    st.tuples(st.integers(0, 255), st.integers(1, 300_000)).map(lambda pair: bytes([pair[0]]) * pair[1]),
)
Tree = dict[bytes, "bytes | Tree"]
TREES: st.SearchStrategy[Tree] = st.recursive(
    st.dictionaries(_NAME, _CONTENT, max_size=4),
    lambda inner: st.dictionaries(_NAME, st.one_of(_CONTENT, inner), max_size=4),
    max_leaves=6,
)


def plant(root: Path, tree: Tree) -> None:
    """Make the tree as the folder ``root``; every third file gets a hole in front, modes vary."""
    root.mkdir()
    for count, (name, content) in enumerate(sorted(tree.items())):
        path = root / os.fsdecode(name)
        if isinstance(content, dict):
            plant(path, content)
        else:
            with open(path, "wb") as file:
                if count % 3 == 2:
                    file.seek(1 << 20)
                file.write(content)
            path.chmod(0o400 | (count * 0o111) % 0o377)
            os.utime(path, ns=(count * 1_000_003, count * 7_000_009))
