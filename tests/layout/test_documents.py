"""What the documents tell a reader to type exists: verbs and options of the command line, targets of the Makefile."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from heliotrope.cli.main import cli

from .tree import ROOT

DOCUMENTS = ("README.md", "CONTRIBUTING.md", "docs/*.md")
# In a fenced block of shell lines, or indented by four as the guides do.
FENCED = re.compile(r"^```(?:sh|bash|console)\b[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
INDENTED = re.compile(r"^ {4,}((?:heliotrope|make) [^\n]*(?:\\\n[^\n]*)*)", re.MULTILINE)
LINK = re.compile(r"\]\((?!https?:|#|mailto:)([^)#\s]+)")
ASSIGNMENT = re.compile(r"^[A-Z_]+=")


def documents() -> list[Path]:
    return [path for pattern in DOCUMENTS for path in sorted(ROOT.glob(pattern))]


def commands(text: str) -> Iterator[list[str]]:
    """The ``heliotrope`` and ``make`` commands of a document, as words, up to a pipe or redirection."""
    lines = [line for block in FENCED.findall(text) for line in block.replace("\\\n", " ").splitlines()]
    lines += [found.replace("\\\n", " ") for found in INDENTED.findall(text)]
    for line in lines:
        lexer = shlex.shlex(line.removeprefix("$ ").strip(), posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        command: list[str] = []
        for word in [*lexer, ";"]:
            if not set(word) <= set("();<>|&"):
                if command or not ASSIGNMENT.match(word):
                    command.append(word)
                continue
            if word.startswith((">", "<")) and command and command[-1].isdigit():
                command.pop()  # the number of a redirected descriptor
            if command and Path(command[0]).name in ("heliotrope", "make"):
                yield [Path(command[0]).name, *command[1:]]
            command = []


def found_commands(name: str) -> list[list[str]]:
    return [command for path in documents() for command in commands(path.read_text("utf-8")) if command[0] == name]


def parse(words: list[str]) -> None:
    """Parse without running. Raises click.UsageError when the command line would not take it."""
    command: click.Command = cli
    context = click.Context(cli, info_name="heliotrope")
    while isinstance(command, click.Group):
        taking = {option: each for each in command.params for option in each.opts}
        while words and words[0].startswith("-"):
            if words[0] not in {*taking, "--help", "-h"}:
                raise click.NoSuchOption(words[0], ctx=context)
            words = words[2 if takes_value(command, words[0]) else 1 :]
        if not words:
            return
        found = command.get_command(context, words[0])
        if found is None:
            raise click.UsageError(f"no verb {words[0]!r}", ctx=context)
        command, words = found, words[1:]
    try:
        command.make_context(command.name, list(words), parent=context).close()
    except click.MissingParameter:
        raise
    except click.BadParameter as error:
        if not isinstance(error.param and error.param.type, click.Path):  # the reader has that file, we need not
            raise


def takes_value(group: click.Group, option: str) -> bool:
    """`heliotrope agent --config FILE` is a group's own option, with its value after it."""
    return any(option in each.opts for each in group.params if isinstance(each, click.Option) and not each.is_flag)


def test_the_documents_commands_are_found() -> None:
    """The test's own eyes: the guide to the command line is full of them."""
    text = "```sh\n# a comment\nX=1 .venv/bin/heliotrope job list --json 2>log | head # why\n```\n\n    make test\n"
    assert list(commands(text)) == [["heliotrope", "job", "list", "--json"], ["make", "test"]]
    assert found_commands("heliotrope") and found_commands("make")


@pytest.mark.parametrize("words", found_commands("heliotrope"), ids=" ".join)
def test_a_documented_command_parses(words: list[str]) -> None:
    if "VERB" not in words:
        parse(words[1:])


@pytest.mark.parametrize("words", [["dance"], ["ca", "show"], ["ca", "show", "x", "y"], ["ca", "show", "x", "--loud"]])
def test_a_wrong_command_is_noticed(words: list[str]) -> None:
    with pytest.raises(click.UsageError):
        parse(words)


def test_documented_targets_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    for words in found_commands("make"):
        named = [word for word in words[1:] if "=" not in word and not word.startswith("-") and word != "..."]
        assert set(named) <= targets, words


@pytest.mark.parametrize("path", documents(), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(path: Path) -> None:
    dead = [link for link in LINK.findall(path.read_text("utf-8")) if not (path.parent / link).exists()]
    assert not dead
