"""Named failpoints at every persist/apply boundary, for the crash tests.

``HELIOTROPE_FAILPOINTS="saga.staging.persisted=kill"`` makes the process kill itself with SIGKILL the first time it
passes that point; ``=error`` raises there instead, and ``=kill@2`` waits for the second time. Several are separated by
commas. A name that is not
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
_armed: dict[str, tuple[str, int]] = {}  # name -> (action, passes left until it strikes)


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
        name, _, rest = entry.partition("=")
        action, _, count = rest.partition("@")
        if name not in _registered:
            raise InvalidInput(f"cannot arm failpoint {name!r}: no such point; known: {', '.join(registered())}")
        if action not in ACTIONS:
            raise InvalidInput(f"cannot arm failpoint {name!r}: action {action!r} is not one of {', '.join(ACTIONS)}")
        if count and not (count.isdigit() and int(count) > 0):
            raise InvalidInput(f"cannot arm failpoint {name!r}: {count!r} is not a count from 1; write {action}@2")
        _armed[name] = (action, int(count or 1))


def hit(name: str) -> None:
    """Pass a point: nothing, or what it is armed with."""
    if name not in _armed:
        return
    action, left = _armed[name]
    if left > 1:
        _armed[name] = (action, left - 1)
    elif action == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    else:
        del _armed[name]
        raise FailpointError(f"failpoint {name} was armed")
