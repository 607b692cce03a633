"""Why a service's answer could not be used: one error, with a kind for programs and a sentence for people."""

from __future__ import annotations

from enum import StrEnum


class Kind(StrEnum):
    """What went wrong; ``denied`` needs a person, the others may pass by themselves."""

    DENIED = "denied"
    THROTTLED = "throttled"
    BUDGET = "budget"
    SERVER = "server"
    TIMEOUT = "timeout"
    UNREACHABLE = "unreachable"
    MALFORMED = "malformed"
    UNIT = "unit"
    TIME = "time"
    IMPLAUSIBLE = "implausible"
    EMPTY = "empty"


class Trouble(Exception):
    """An attempt that brought nothing. ``retry_after_s``: what the service asked for, None if it said nothing.

    The text never holds a secret: no header, and no query of an address.
    """

    def __init__(self, kind: Kind, text: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(text)
        self.kind = kind
        self.retry_after_s = retry_after_s
