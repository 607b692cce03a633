"""The daemons' identities: whole, signed by their fleet's authority, valid now and for a while, of the right role."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

from heliotrope.foundation import certificates, identity
from heliotrope.foundation.errors import HeliotropeError
from heliotrope.foundation.identity import Role

from .finding import Figure, Finding, error, ok, told, warning
from .subject import Daemon, Subject

OVERDUE_RATIO, OVERDUE_LIMIT = 1 / 6, timedelta(days=60)  # renewal is due when a third of the life is left
_REISSUE = "Have it issued again: heliotrope ca issue --role {role}."
_RENEW = (
    "A running daemon renews it when a third of its life is left, where the coordinator holds the authority "
    "(enrolment.authority): see its log for why not. By hand: heliotrope ca issue --role {role}."
)
_REJOIN = "Join again: heliotrope ca join-token, then heliotrope agent join --replace; or have it issued again."


def findings(subject: Subject) -> Iterator[Finding]:
    fleets: dict[str, Path] = {}
    for daemon in subject.daemons:
        try:
            own = identity.load(daemon.identity_dir, clock=subject.clock)
        except HeliotropeError as cause:
            # The first of: files there, key private, key fits, chain, times, fleet. Its text names which.
            remedy = _REJOIN if daemon.role is Role.AGENT else _REISSUE.format(role=daemon.role)
            yield told(f"certificates.{daemon.role}", cause, remedy)
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
    figures["renewal_utc"] = own.renewal_utc.strftime("%Y-%m-%dT%H:%M:%SZ")
    if left < min((own.expires_utc - own.issued_utc) * OVERDUE_RATIO, OVERDUE_LIMIT):
        overdue = f"{text}; it was to be renewed from {figures['renewal_utc']} on"
        return warning(check, overdue, _RENEW.format(role=daemon.role), **figures)
    return ok(check, text, **figures)
