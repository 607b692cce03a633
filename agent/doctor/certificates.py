"""The daemons' identities: whole, signed by their fleet's authority, valid now and for a while, of the right role."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

from heliotrope.foundation import certificates, identity
from heliotrope.foundation.errors import HeliotropeError

from .finding import Figure, Finding, error, ok, told, warning
from .subject import Daemon, Subject

SOON = timedelta(days=14)
_REISSUE = "Have it issued again: heliotrope ca issue --role {role}."


def findings(subject: Subject) -> Iterator[Finding]:
    fleets: dict[str, Path] = {}
    for daemon in subject.daemons:
        try:
            own = identity.load(daemon.identity_dir, clock=subject.clock)
        except HeliotropeError as cause:
            # The first of: files there, key private, key fits, chain, times, fleet. Its text names which.
            yield told(f"certificates.{daemon.role}", cause, _REISSUE.format(role=daemon.role))
            continue
        fleets[own.name.fleet] = daemon.identity_dir
        yield role(daemon, own)
        yield expiry(subject, daemon, own)
    if len(fleets) > 1:
        text = f"the daemons of this machine belong to different fleets: {', '.join(sorted(fleets))}"
        yield error("certificates.fleet", text, "Give both an identity of one fleet.", fleets=sorted(fleets))


def role(daemon: Daemon, own: identity.Identity) -> Finding:
    check = f"certificates.{daemon.role}"
    if own.name.role is not daemon.role:
        text = f"{daemon.identity_dir} is {own.name}, no {daemon.role}'s"
        return error(check, text, _REISSUE.format(role=daemon.role), name=str(own.name))
    return ok(check, f"{own.name}, signed by its fleet's authority, with its own key", name=str(own.name))


def expiry(subject: Subject, daemon: Daemon, own: identity.Identity) -> Finding:
    """The identity ends with its certificate or its authority, whichever ends first."""
    check = f"certificates.{daemon.role}_expiry"
    left = own.expires_utc - subject.clock.utc()
    figures: dict[str, Figure] = {
        "expires_utc": own.expires_utc.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "left_s": left.total_seconds(),
    }
    authority = certificates.parse(own.ca_pem, str(own.ca_path))
    ends_first = "its authority" if authority.not_valid_after_utc == own.expires_utc else "it"
    text = f"{ends_first} expires at {figures['expires_utc']}, in {left.days} days"
    if left < SOON:
        return warning(check, text, _REISSUE.format(role=daemon.role), **figures)
    return ok(check, text, **figures)
