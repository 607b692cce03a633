"""Isolation: a check that throws, dies or hangs costs its own findings only."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from heliotrope.agent.doctor import catalogue, running
from heliotrope.agent.doctor.finding import Finding, Status, error, ok, told
from heliotrope.agent.doctor.subject import Subject, installed_utc, split_address
from heliotrope.foundation.errors import Denied, InvalidInput

SUBJECT = Subject(installed_utc=installed_utc())


@dataclass(frozen=True)
class Trial:
    """A check made of a function."""

    name: str
    act: Callable[[], object]
    limit_s: float = 60.0

    def findings(self, subject: Subject) -> Iterator[Finding]:
        yield ok(f"{self.name}.first", "here", size_bytes=1)
        self.act()
        yield ok(f"{self.name}.last", "here")


def fail() -> None:
    raise ZeroDivisionError("by zero")


def test_one_that_throws_leaves_the_others_and_what_it_had_found() -> None:
    found = list(running.run([Trial("bad", fail), Trial("good", lambda: None)], SUBJECT))
    assert [one.check for one in found] == ["bad.first", "bad.failure", "good.first", "good.last"]
    assert found[0].figures == {"size_bytes": 1}
    assert found[1].status is Status.ERROR and "ZeroDivisionError: by zero (fail," in found[1].found


def test_one_that_hangs_is_cut_off_with_its_children(tmp_path: Path) -> None:
    def hang() -> None:
        child = os.fork()
        if child == 0:
            signal.pause()
        (tmp_path / "child").write_text(str(child))
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        while True:
            signal.pause()

    found = list(running.run([Trial("slow", hang, limit_s=1.0), Trial("good", lambda: None)], SUBJECT))
    assert [one.check for one in found] == ["slow.first", "slow.hang", "good.first", "good.last"]
    assert "1 s" in found[1].found and found[1].figures == {"limit_s": 1.0}
    child = Path(f"/proc/{(tmp_path / 'child').read_text()}/stat")
    deadline_s = time.monotonic() + 20
    while child.exists() and child.read_text().rpartition(")")[2].split()[0] not in "ZX":
        assert time.monotonic() < deadline_s, "the hanging check's child lives on"
        time.sleep(0.02)


def test_one_that_crashes_is_named_with_its_signal() -> None:
    found = list(running.run([Trial("lib", lambda: os.kill(os.getpid(), signal.SIGKILL))], SUBJECT))
    assert [one.check for one in found] == ["lib.first", "lib.crash"]
    assert "SIGKILL" in found[1].found and found[1].remedy


def test_what_a_library_prints_does_not_reach_our_output(capfd: pytest.CaptureFixture[str]) -> None:
    list(running.run([Trial("loud", lambda: os.write(1, b"driver says hi\n"))], SUBJECT))
    assert capfd.readouterr() == ("", "")


def test_every_family_has_its_module_and_its_line_in_the_guide() -> None:
    guide = (Path(__file__).resolve().parents[2] / "docs" / "doctor.md").read_text()
    for family in catalogue.FAMILIES:
        assert f"| `{family.name}` |" in guide
        assert f"| {family.limit_s:g} s |" in next(line for line in guide.splitlines() if f"| `{family.name}`" in line)


def test_only_takes_families_and_things() -> None:
    assert [one.name for one in catalogue.choose(["clock.ntp", "disk"])] == ["clock", "disk"]
    assert len(catalogue.choose([])) == len(catalogue.FAMILIES)
    assert catalogue.selected(ok("clock.ntp", ""), ["clock.ntp"])
    assert not catalogue.selected(ok("clock.installed", ""), ["clock.ntp"])
    assert catalogue.selected(error("clock.hang", "", "x"), ["clock.ntp"])
    with pytest.raises(InvalidInput, match="field only: 'moon' is no check"):
        catalogue.choose(["moon.full"])


def test_our_own_errors_become_found_and_remedy() -> None:
    made = told("certificates.agent", Denied("cannot use x: others may; run: chmod 0600 x"), "Other.")
    assert (made.found, made.remedy) == ("cannot use x: others may", "Run: chmod 0600 x.")
    assert told("a.b", ValueError("just this"), "Do.").remedy == "Do."


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("10.0.0.1:7443", ("10.0.0.1", 7443)),
        ("[::1]:80", ("::1", 80)),
        ("host", None),
        (":80", None),
        ("host:99999", None),
        ("host:８０", None),
    ],
)
def test_addresses(text: str, address: tuple[str, int] | None) -> None:
    assert split_address(text) == address
