"""The error catalogue is complete, unambiguous and equal to what docs/cli.md promises."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from heliotrope.foundation import errors
from heliotrope.foundation.errors import HeliotropeError, InvalidInput

DOCUMENT = Path(__file__).parents[2] / "docs" / "cli.md"

# Rooms may add classes below these, with their parent's exit code; tests add some of their own.
OWN = [kind for kind in errors.catalogue() if kind.__module__ == errors.__name__]


def _documented() -> dict[str, int]:
    rows = re.findall(r"^\| (\d+) \| (\w+) \| [^|]+ \|$", DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE)
    assert rows, "docs/cli.md has no table of exit codes"
    return {name: int(code) for code, name in rows}


def test_the_document_lists_exactly_the_catalogue() -> None:
    assert _documented() == {kind.__name__: kind.exit_code for kind in OWN}


def test_exit_codes_are_distinct_and_out_of_the_shells_way() -> None:
    codes = [kind.exit_code for kind in OWN]
    assert len(set(codes)) == len(codes)
    assert all(0 < code < 64 for code in codes), "64 and above belong to sysexits, 126 and above to the shell"


def test_every_class_has_a_parents_code_or_its_own_and_says_what_it_is() -> None:
    for kind in (kind for kind in errors.catalogue() if kind.__module__.startswith("heliotrope.")):
        assert kind.exit_code in set(_documented().values())
        assert kind.status is not None
        assert kind.__doc__


def test_statuses_of_the_catalogue_are_distinct() -> None:
    """The far end turns a status back into a class: two classes with one status would be mixed up."""
    statuses = [kind.status for kind in OWN]
    assert len(set(statuses)) == len(statuses)


def test_names_lead_back_to_classes() -> None:
    for kind in OWN:
        assert errors.by_name(kind.__name__) is kind
    assert errors.by_name("FromTheFuture") is HeliotropeError


def test_a_new_class_joins_the_catalogue() -> None:
    class Sunburnt(InvalidInput):
        """Only for this test."""

    assert Sunburnt in errors.catalogue()
    assert errors.by_name("Sunburnt") is Sunburnt
    assert Sunburnt.exit_code == InvalidInput.exit_code


@pytest.mark.parametrize("kind", OWN)
def test_the_text_is_kept(kind: type[HeliotropeError]) -> None:
    assert str(kind("cannot move x: y; do z")) == "cannot move x: y; do z"
