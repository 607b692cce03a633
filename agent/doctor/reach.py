"""Whether the coordinator and given peers can be met from here, and are who they should be."""

from __future__ import annotations

from collections.abc import Iterator

from heliotrope.foundation import identity
from heliotrope.foundation.errors import HeliotropeError
from heliotrope.foundation.identity import Identity, Name, Role

from .finding import Figure, Finding, error, ok, skipped
from .probe import Met, meet
from .subject import Subject, split_address

_REMEDIES = {
    "resolve": "Correct the host name, or make it known to this machine's resolver.",
    "tcp": "Start what should listen there, and open the port in every firewall between.",
    "tls": "Use certificates of one fleet on both ends, and set both clocks.",
    "name": "Have the far end's certificate issued by `heliotrope ca issue`.",
    "accept": "Have this identity issued by the far end's own authority, with its right role.",
}


def findings(subject: Subject) -> Iterator[Finding]:
    daemon = subject.agent_daemon
    if daemon is None or subject.agent is None:
        yield skipped("reach.coordinator", "no agent's configuration was given")
        return
    try:
        own = identity.load(daemon.identity_dir, clock=subject.clock)
    except HeliotropeError as cause:
        yield skipped("reach.coordinator", f"this node's identity cannot be used: {cause}")
        return
    yield reached("reach.coordinator", subject.agent.coordinator, own, Role.COORDINATOR)
    for peer in subject.peers:
        yield reached("reach.peer", peer, own, Role.AGENT)


def reached(check: str, text: str, own: Identity, role: Role) -> Finding:
    """Meet ``text`` (HOST:PORT), which should be a member of our fleet with that role."""
    address = split_address(text)
    if address is None:
        return error(check, f"{text!r} is no HOST:PORT", "Write HOST:PORT, for IPv6 [ADDRESS]:PORT.", target=text)
    return judge(check, text, meet(*address, own, http2=role is Role.COORDINATOR), own.name, role)


def judge(check: str, target: str, met: Met, own: Name, role: Role) -> Finding:
    """What a meeting means. Pure."""
    figures: dict[str, Figure] = {"target": target, "address": met.address, "connect_s": round(met.connect_s, 6)}
    if met.failed:
        text = f"{target}: {met.failed} failed: {met.cause}"
        return error(check, text, _REMEDIES[met.failed], failed_step=met.failed, **figures)
    name = met.name
    if name is None or name.role is not role or name.fleet != own.fleet:
        text = f"{target} is {name}, not {_a(role)} of fleet {own.fleet}"
        return error(check, text, "Correct the address, or what listens there.", name=str(name), **figures)
    if name == own:
        return error(check, f"{target} is this very node", "Name another node's address.", name=str(name), **figures)
    return ok(check, f"{target} is {name}, TCP in {met.connect_s * 1e3:.1f} ms", name=str(name), **figures)


def _a(role: Role) -> str:
    return f"an {role}" if role is Role.AGENT else f"a {role}"
