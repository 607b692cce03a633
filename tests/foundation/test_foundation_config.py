"""Configuration files: read strictly, and every error names the file and the field."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from heliotrope.foundation import config
from heliotrope.foundation.errors import InvalidInput


class Link(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    to: str
    rate_bytes_per_s: float


class Site(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    links: tuple[Link, ...] = ()
    ports: dict[str, int] = {}


GOOD = 'name = "oslo"\n[[links]]\nto = "cape-town"\nrate_bytes_per_s = 1e6\n'


def test_toml_and_json_give_the_same(tmp_path: Path) -> None:
    (tmp_path / "site.toml").write_text(GOOD)
    (tmp_path / "site.json").write_text('{"name": "oslo", "links": [{"to": "cape-town", "rate_bytes_per_s": 1e6}]}')
    expected = Site("oslo", (Link("cape-town", 1e6),))
    assert config.load(tmp_path / "site.toml", Site) == expected
    assert config.load(tmp_path / "site.json", Site) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('name = "x"\nnmae = 1', "field nmae: no such field"),
        ("", "field name: required but missing"),
        ("name = 3", "field name: expected `str`, got `int`"),
        (GOOD.replace("1e6", '"fast"'), "field links[0].rate_bytes_per_s: expected `float`"),
        (GOOD.replace("to =", "two ="), "field links[0]"),
        ('name = "x"\n[ports]\na = "b"', "field ports[...]: expected `int`"),
        ("name = \nlinks = []", "line 1"),
    ],
)
def test_errors_name_file_and_field(tmp_path: Path, text: str, expected: str) -> None:
    path = tmp_path / "site.toml"
    path.write_text(text)
    with pytest.raises(InvalidInput) as caught:
        config.load(path, Site)
    assert str(path) in str(caught.value)
    assert expected in str(caught.value)


def test_unreadable_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="No such file or directory; check the path"):
        config.load(tmp_path / "none.toml", Site)
    with pytest.raises(InvalidInput, match="Is a directory"):
        config.load(tmp_path, Site)
    (tmp_path / "latin.toml").write_bytes(b'name = "caf\xe9"')
    with pytest.raises(InvalidInput, match="not UTF-8 at byte 11"):
        config.load(tmp_path / "latin.toml", Site)
    (tmp_path / "list.json").write_text("[1, 2]")
    with pytest.raises(InvalidInput, match="the top level is not a table"):
        config.load(tmp_path / "list.json", Site)
    (tmp_path / "cut.json").write_text('{"name": ')
    with pytest.raises(InvalidInput, match="line 1 column 10"):
        config.load(tmp_path / "cut.json", Site)
