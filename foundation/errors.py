"""The one error catalogue: class -> message, exit code, gRPC status.

Every error a person can meet derives from :class:`HeliotropeError`. A message reads "cannot <verb> <object>:
<cause>; <what to do>". Raise or log, never both: whoever catches decides which. Exit codes are documented in
docs/cli.md and a test walks this catalogue.
"""

from __future__ import annotations


class HeliotropeError(Exception):
    """Base of every error that is meant to be read by a person. ``exit_code`` and ``status`` are per class."""

    exit_code = 1
    status: str = "INTERNAL"  # the name of a grpc.StatusCode: this module must stay light


class InvalidInput(HeliotropeError):
    """A configuration, job file, argument or message is wrong; the text names the field and the remedy."""

    exit_code = 2
    status = "INVALID_ARGUMENT"


class NotFound(HeliotropeError):
    """The named object does not exist."""

    exit_code = 3
    status = "NOT_FOUND"


class Conflict(HeliotropeError):
    """The object is in a state that forbids the request (a finished job cannot be moved)."""

    exit_code = 4
    status = "FAILED_PRECONDITION"


class Unreachable(HeliotropeError):
    """The other side does not answer; the request may be repeated."""

    exit_code = 5
    status = "UNAVAILABLE"


class Denied(HeliotropeError):
    """The certificate's role or name does not allow the request."""

    exit_code = 6
    status = "PERMISSION_DENIED"


class OutOfSpace(HeliotropeError):
    """A disk, quota or memory limit is reached; nothing half-done stays."""

    exit_code = 7
    status = "RESOURCE_EXHAUSTED"


class Corrupt(HeliotropeError):
    """Stored or received bytes do not match their digest, or a frame is malformed."""

    exit_code = 8
    status = "DATA_LOSS"


class DeadlineExceeded(HeliotropeError):
    """Something did not happen within its deadline; the text says what was waited for and how long."""

    exit_code = 9
    status = "DEADLINE_EXCEEDED"


class JobFailed(HeliotropeError):
    """The job's own process failed; the text says how and whose fault it is."""

    exit_code = 10
    status = "ABORTED"


class Incompatible(HeliotropeError):
    """The two sides share no protocol, frame or codec version, or the platform lacks a demanded feature."""

    exit_code = 11
    status = "UNIMPLEMENTED"


def catalogue() -> list[type[HeliotropeError]]:
    """Every error class, base first."""
    found: list[type[HeliotropeError]] = []
    queue: list[type[HeliotropeError]] = [HeliotropeError]
    while queue:
        kind = queue.pop(0)
        found.append(kind)
        queue.extend(kind.__subclasses__())
    return found


def by_name(name: str) -> type[HeliotropeError]:
    """The class of that name; HeliotropeError for a name this version does not know."""
    return next((kind for kind in catalogue() if kind.__name__ == name), HeliotropeError)
