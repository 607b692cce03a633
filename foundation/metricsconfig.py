"""The ``[metrics]`` table of both daemons' configuration files."""

from __future__ import annotations

import ipaddress
from typing import Literal

from .jobspec import Strict

EXAMPLE = "127.0.0.1:7444"


class MetricsConfig(Strict):
    """Where Prometheus may scrape. Off unless ``listen`` is set: on a node the loopback address is open to every local
    account, jobs included, and the figures name other people's jobs.

    ``tls``: "server" shows ``certificate`` (default: the daemon's identity) and asks for the token; "mutual" also wants
    a fleet's certificate of an operator or observer, and then no token is needed.
    """

    listen: str = ""  # HOST:PORT
    tls: Literal["off", "server", "mutual"] = "off"
    token_file: str = ""  # a bearer token on one line, in a file that only the daemon's account reads
    certificate: str = ""  # PEM, with tls = "server": one that names this host, so that Prometheus can check it
    key: str = ""

    def __post_init__(self) -> None:
        if not self.listen:
            given = [name for name in ("token_file", "certificate", "key") if getattr(self, name)]
            if given or self.tls != "off":
                raise ValueError(
                    f'{(given or ["tls"])[0]} is set, but listen is not; write listen = "{EXAMPLE}" or remove it'
                )
            return
        host, _ = self.address
        if self.tls == "off" and not is_loopback(host):
            raise ValueError(
                f'listen: {self.listen!r} is reachable from other machines; set tls = "mutual", or tls = "server" '
                f"with a token_file, or listen on {EXAMPLE}"
            )
        if self.tls == "server" and not self.token_file:
            raise ValueError('token_file is missing: tls = "server" asks nobody for a certificate; name one')
        if bool(self.certificate) != bool(self.key):
            raise ValueError("certificate and key belong together; set both, or none for the daemon's identity")
        if self.certificate and self.tls != "server":
            raise ValueError(f'certificate: with tls = "{self.tls}" it is not used; set tls = "server" or remove it')

    @property
    def address(self) -> tuple[str, int]:
        """Host and port. Raises ValueError."""
        host, _, port = self.listen.rpartition(":")
        if not host or not port.isdigit() or int(port) > 65535:
            raise ValueError(f"listen: {self.listen!r} is not HOST:PORT; write {EXAMPLE}")
        return host.strip("[]"), int(port)


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches it."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
