"""What a check says: one finding per thing looked at, with figures for programs and a remedy for people."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Protocol

import msgspec

from .subject import Subject

Figure = str | bool | int | float | None | list[str]


class Status(StrEnum):
    """How it stands. ``skipped`` says why it could not be looked at; it is neither good nor bad."""

    OK = "ok"
    WARNING = "warning"
    ERROR = "error"
    SKIPPED = "skipped"


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was looked at. ``check``: FAMILY.THING; ``figures``: keys carry their unit.

    A warning or an error always has a ``remedy``, an imperative sentence; the others never have one.
    """

    check: str
    status: Status
    found: str
    remedy: str = ""
    figures: dict[str, Figure] = {}


class Check(Protocol):
    """A family of findings. ``limit_s``: after this long it is cut off."""

    @property
    def name(self) -> str: ...

    @property
    def limit_s(self) -> float: ...

    def findings(self, subject: Subject) -> Iterable[Finding]:
        """Look. What it raises becomes an error finding; what it gave before that is kept."""


def ok(check: str, found: str, **figures: Figure) -> Finding:
    return Finding(check=check, status=Status.OK, found=found, figures=figures)


def warning(check: str, found: str, remedy: str, **figures: Figure) -> Finding:
    return Finding(check=check, status=Status.WARNING, found=found, remedy=remedy, figures=figures)


def error(check: str, found: str, remedy: str, **figures: Figure) -> Finding:
    return Finding(check=check, status=Status.ERROR, found=found, remedy=remedy, figures=figures)


def skipped(check: str, found: str) -> Finding:
    return Finding(check=check, status=Status.SKIPPED, found=found)


def told(check: str, cause: Exception, remedy: str) -> Finding:
    """An error of ours as a finding: its text says "cannot VERB OBJECT: CAUSE; WHAT TO DO"."""
    found, _, advice = str(cause).rpartition("; ")
    if not found:
        return error(check, str(cause), remedy)
    return error(check, found, advice[:1].upper() + advice[1:].rstrip(".") + ".")
