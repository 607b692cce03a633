"""The manifest's data: canonical, versioned, and safe to take from a stranger."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from heliotrope.agent.checkpoints import manifest as manifests
from heliotrope.agent.checkpoints.manifest import Chunk, Entry, Manifest
from heliotrope.agent.checkpoints.names import check_links, check_path, escape, unescape
from heliotrope.foundation.errors import Corrupt, HeliotropeError, Incompatible, InvalidInput

ROOT = Entry("", "dir", 0o755, 0)
CHUNK = Chunk(0, 10, b"d" * 32, 4, True, "w")


@given(st.binary(max_size=60))
def test_every_name_comes_back(name: bytes) -> None:
    assert unescape(escape(name)) == name
    escape(name).encode()  # text that any encoder takes


@given(st.text(max_size=30))
def test_only_one_spelling_is_accepted(text: str) -> None:
    try:
        name = unescape(text)
    except InvalidInput:
        return
    assert escape(name) == text


@pytest.mark.parametrize("path", ["/etc/passwd", "../x", "a/../b", "a//b", "a/./b", "a/", "a\0b", "%2e%2e", "x" * 300])
def test_paths_that_could_leave_are_refused(path: str) -> None:
    with pytest.raises(InvalidInput, match="path"):
        check_path(path)


@pytest.mark.parametrize(
    "links",
    [
        {"a": "/etc"},
        {"a": ".."},
        {"d/a": "../.."},
        {"a/b/c": "../..", "a/b/e": "c/../x"},  # inside by its letters, outside when c is followed
        {"": "x"},
    ],
)
def test_links_that_lead_outside_are_refused(links: dict[str, str]) -> None:
    with pytest.raises(InvalidInput, match="symlink"):
        check_links(links)


@pytest.mark.parametrize("links", [{"a": "b"}, {"d/a": "../b"}, {"a": "a"}, {"latest": "step-1/x"}, {"a": "."}])
def test_links_that_stay_are_accepted(links: dict[str, str]) -> None:
    check_links(links)


def test_encoding_comes_back_and_the_digest_sees_every_field() -> None:
    entry = Entry("f", "file", 0o644, 5, 10, chunks=(CHUNK,))
    manifest = Manifest((ROOT, entry))
    assert manifests.decode(manifests.encode(manifest)) == manifest
    changed = [
        msgspec.structs.replace(entry, mtime_ns=6),
        msgspec.structs.replace(entry, mode=0o600),
        msgspec.structs.replace(entry, path="g"),
        msgspec.structs.replace(entry, size_bytes=11),
        msgspec.structs.replace(entry, chunks=(msgspec.structs.replace(CHUNK, digest=b"e" * 32),)),
    ]
    digests = {manifests.digest(Manifest((ROOT, other))) for other in [entry, *changed]}
    assert len(digests) == 6


@pytest.mark.parametrize(
    "entries",
    [
        (),
        (Entry("a", "file", 0, 0),),
        (ROOT, Entry("b", "file", 0, 0), Entry("a", "file", 0, 0)),
        (ROOT, Entry("a", "file", 0, 0), Entry("a", "file", 0, 0)),
        (ROOT, Entry("a/b", "file", 0, 0)),
        (ROOT, Entry("a", "symlink", 0o777, 0, target="b"), Entry("a/b", "file", 0, 0)),
        (ROOT, Entry("a", "symlink", 0o777, 0)),
        (ROOT, Entry("a", "symlink", 0o777, 0, target="../b")),
        (ROOT, Entry("a", "file", 0o4755, 0)),
        (ROOT, Entry("a", "dir", 0o755, 0, 10)),
        (ROOT, Entry("a", "file", 0, 0, 9, chunks=(CHUNK,))),
        (ROOT, Entry("a", "file", 0, 0, 30, chunks=(CHUNK, msgspec.structs.replace(CHUNK, offset=9)))),
        (ROOT, Entry("a", "file", 0, 0, 10, chunks=(msgspec.structs.replace(CHUNK, width=3),))),
    ],
)
def test_unsafe_manifests_are_refused(entries: tuple[Entry, ...]) -> None:
    with pytest.raises(InvalidInput):
        manifests.decode(manifests.encode(Manifest(entries)))


def test_another_version_is_named() -> None:
    with pytest.raises(Incompatible, match="version 9"):
        manifests.decode(b"\x09abc")


@given(st.binary(max_size=200))
def test_garbage_is_an_error_of_the_catalogue(data: bytes) -> None:
    with pytest.raises(HeliotropeError):
        manifests.decode(bytes([manifests.MANIFEST_VERSION]) + data + b"\xc1")


def test_wrong_types_are_corrupt() -> None:
    with pytest.raises(Corrupt):
        manifests.decode(bytes([manifests.MANIFEST_VERSION]) + msgspec.msgpack.encode([[["", "dir", "x", 0]]]))
