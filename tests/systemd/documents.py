"""The guides' commands, as a reader types them: fenced blocks that say at which machine.

A block ``sh on=HOST[,HOST...]`` is a script for these machines, one after the other; ``toml file=PATH on=HOST`` (any
language) is a file to write there; ``when=NAME`` keeps a block for later. Anything else in a guide is not for typing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_FENCE = re.compile(r"^```(?P<language>\w+)(?P<words>(?: \w+=\S+)*) *\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """What is typed, or with ``file`` written, at each of ``hosts``; ``place`` is for messages."""

    place: str
    hosts: tuple[str, ...]
    text: str
    file: str = ""
    when: str = ""


def blocks(path: Path) -> Iterator[Block]:
    """The blocks for typing, in order. Raises ValueError for commands that do not say where."""
    document = path.read_text(encoding="utf-8")
    for found in _FENCE.finditer(document):
        place = f"{path.name}:{document.count(chr(10), 0, found.start()) + 1}"
        words = dict(word.split("=", 1) for word in found["words"].split())
        if found["language"] == "sh" and "on" not in words:
            raise ValueError(f"{place}: shell commands that do not say at which machine; add on=HOST to the fence")
        if "on" in words:
            yield Block(
                place, tuple(words["on"].split(",")), found["text"], words.get("file", ""), words.get("when", "")
            )
