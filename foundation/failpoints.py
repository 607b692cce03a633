"""Named failpoints at every persist/apply boundary, for the crash tests.

``HELIOTROPE_FAILPOINTS="saga.staging.persisted=kill"`` makes the process kill itself with SIGKILL the first time it
passes that point; ``=error`` raises there instead. Several are separated by commas. A name that is not
registered is refused at start-up, so a test cannot pass by misspelling one. Without the variable a point costs one
dictionary look-up.
"""

from __future__ import annotations

import os
import signal

from .errors import HeliotropeError, InvalidInput

VARIABLE = "HELIOTROPE_FAILPOINTS"
ACTIONS = ("kill", "error")

_registered: set[str] = set()
_armed: dict[str, str] = {}


class FailpointError(HeliotropeError):
    """Raised by a point armed with ``error``."""


def register(*names: str) -> None:
    """Make names known; done at import by the module that contains the points."""
    _registered.update(names)


def registered() -> list[str]:
    """All known names, sorted: the table that the crash tests walk."""
    return sorted(_registered)


def arm(setting: str | None = None) -> None:
    """Read the setting (default: the environment variable). Raises InvalidInput for an unknown point or action."""
    _armed.clear()
    text = os.environ.get(VARIABLE, "") if setting is None else setting
    for entry in filter(None, (part.strip() for part in text.split(","))):
        name, _, action = entry.partition("=")
        if name not in _registered:
            raise InvalidInput(f"cannot arm failpoint {name!r}: no such point; known: {', '.join(registered())}")
        if action not in ACTIONS:
            raise InvalidInput(f"cannot arm failpoint {name!r}: action {action!r} is not one of {', '.join(ACTIONS)}")
        _armed[name] = action


def hit(name: str) -> None:
    """Pass a point: nothing, or what it is armed with."""
    action = _armed.get(name)
    if action == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif action == "error":
        del _armed[name]
        raise FailpointError(f"failpoint {name} was armed")
