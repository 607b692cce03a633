"""The guides themselves, without any machine: every command says where it is typed, and none is left out."""

from __future__ import annotations

from pathlib import Path

import pytest

from .documents import blocks
from .nested import ROOT

GUIDES = ("install.md", "first-site.md", "first-job.md", "upgrade.md", "drain.md", "node-lost.md")


@pytest.mark.parametrize("guide", GUIDES)
def test_every_command_says_at_which_machine(guide: str) -> None:
    found = list(blocks(ROOT / "docs" / guide))
    assert found and all(block.text.strip() for block in found)


def test_a_command_without_a_machine_is_refused(tmp_path: Path) -> None:
    guide = tmp_path / "guide.md"
    guide.write_text("Text.\n\n```sh\nheliotrope node list\n```\n")
    with pytest.raises(ValueError, match=r"guide\.md:3"):
        list(blocks(guide))


def test_a_file_and_a_script(tmp_path: Path) -> None:
    guide = tmp_path / "guide.md"
    guide.write_text(
        "```toml file=/etc/a.toml on=a\nx = 1\n```\n\n```sh on=a,b when=last\nls\n```\n\n```text\nno\n```\n"
    )
    written, typed = blocks(guide)
    assert (written.file, written.text, written.hosts) == ("/etc/a.toml", "x = 1\n", ("a",))
    assert (typed.hosts, typed.when, typed.text) == (("a", "b"), "last", "ls\n")
