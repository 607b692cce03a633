"""The listening ports: free, or held by this very daemon; and whether what the agent advertises leads to it."""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import os
import socket
from collections.abc import Iterator

from heliotrope.foundation import identity
from heliotrope.foundation.errors import HeliotropeError
from heliotrope.foundation.identity import Identity, Role

from .finding import Figure, Finding, error, ok, skipped, warning
from .probe import meet
from .subject import Daemon, Subject, split_address

_DIAL_S = 3.0
_LISTEN = "Write HOST:PORT, such as 0.0.0.0:7443."


def findings(subject: Subject) -> Iterator[Finding]:
    if not subject.daemons:
        yield skipped("ports.listen", "no configuration was given")
    for daemon in subject.daemons:
        check = f"ports.{daemon.role}_listen"
        address = split_address(daemon.listen)
        if address is None:
            yield error(check, f"{daemon.listen!r} is no HOST:PORT", _LISTEN)
            continue
        try:
            own = identity.load(daemon.identity_dir, clock=subject.clock)
        except HeliotropeError:
            own = None  # certificates says why; a port can be examined without
        with contextlib.ExitStack() as stack:
            listener, finding = claim(check, daemon, address, own)
            if listener is not None:
                stack.enter_context(listener)
            yield finding
            if subject.agent is not None and daemon is subject.agent_daemon:
                texts = subject.agent.transfer.advertise or (f"{socket.gethostname()}:{address[1]}",)
                for text in texts:
                    yield advertised(text, address[1], is_listening=listener is not None or finding.status == "ok")


def claim(
    check: str, daemon: Daemon, address: tuple[str, int], own: Identity | None
) -> tuple[socket.socket | None, Finding]:
    """Listen there for the moment of the examination; if somebody does already, find out whether it is the daemon."""
    host, port = address
    figures: dict[str, Figure] = {"listen": daemon.listen}
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.create_server((host, port), family=family)
    except OSError as cause:
        if cause.errno != errno.EADDRINUSE:
            text = f"cannot listen on {daemon.listen}: {cause.strerror or cause}"
            return None, error(check, text, _unbindable(cause, port), **figures)
        return None, _occupied(check, daemon, address, own, figures)
    return listener, ok(check, f"{daemon.listen} is free: the {daemon.role} is not running", is_free=True, **figures)


def _unbindable(cause: OSError, port: int) -> str:
    if cause.errno == errno.EACCES:
        return f"Choose a port from 1024 on instead of {port}, or grant CAP_NET_BIND_SERVICE."
    return "Name an address of this machine, or 0.0.0.0 for all of them."


def _occupied(
    check: str, daemon: Daemon, address: tuple[str, int], own: Identity | None, figures: dict[str, Figure]
) -> Finding:
    remedy = "Stop what listens there, or choose another port."
    if own is None:
        return warning(check, f"{daemon.listen} is in use; by whom cannot be asked without an identity", remedy)
    met = meet(_local(address[0]), address[1], own, http2=daemon.role is Role.COORDINATOR)
    if met.name == own.name:
        return ok(check, f"{daemon.listen} is held by {own.name} itself", is_free=False, **figures)
    who = str(met.name) if met.name else f"something that is none of this fleet ({met.failed}: {met.cause})"
    return error(check, f"{daemon.listen} is in use by {who}", remedy, is_free=False, **figures)


def _local(host: str) -> str:
    """Where to dial what listens on ``host``."""
    with contextlib.suppress(ValueError):
        if ipaddress.ip_address(host).is_unspecified:
            return "::1" if ":" in host else "127.0.0.1"
    return host


def advertised(text: str, listen_port: int, *, is_listening: bool) -> Finding:
    """Other agents will dial this: it resolves, and something answers when it is dialled from here."""
    check = "ports.advertised"
    address = split_address(text)
    if address is None:
        return error(check, f"{text!r} is no HOST:PORT", "Correct transfer.advertise.", address=text)
    try:
        found = sorted({str(one[4][0]) for one in socket.getaddrinfo(*address, type=socket.SOCK_STREAM)})
    except OSError as cause:
        remedy = "Set transfer.advertise to an address that the other agents can dial."
        return error(check, f"{text} does not resolve: {cause}", remedy, address=text)
    figures: dict[str, Figure] = {"address": text, "resolved": found}
    if all(ipaddress.ip_address(one.partition("%")[0]).is_loopback for one in found):
        remedy = "Set transfer.advertise to an address that other machines can dial."
        return warning(check, f"{text} is this machine's loopback: no other node reaches it", remedy, **figures)
    if not is_listening:
        return skipped(check, f"{text} resolves to {', '.join(found)}; nothing of ours listens to be dialled")
    try:
        socket.create_connection(address, timeout=_DIAL_S).close()
    except OSError as cause:
        reason = cause.strerror or os.strerror(cause.errno) if cause.errno else str(cause)
        # A router that does not turn connections back (hairpin NAT) gives the same picture, so it is no error.
        remedy = f"Open port {address[1]} to the other sites, or forward it to {listen_port}; try it from another node."
        return warning(check, f"{text} cannot be dialled from here: {reason}", remedy, **figures)
    return ok(check, f"{text} resolves to {', '.join(found)} and answers", **figures)
