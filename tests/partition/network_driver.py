"""A fleet whose members each live in a network namespace of their own, and cuts between them, one-way ones too.

    coordinator --+
    a ------------+-- bridge -- this process (the operator)
    b ------------+

A cut drops packets where they arrive, so the sender notices nothing but silence: as with a broken route, not as with a
stopped process.
"""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fleet_driver import SAGA, SITES

from heliotrope.cli.demo.fleet import COORDINATOR, LocalFleet, Member

TOOLS = ("ip", "nft")
TABLE = "add table inet cut; add chain inet cut arriving { type filter hook input priority 0; policy accept; }"


def missing() -> str:
    """Why namespaces cannot be made here; empty if they can."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    absent = [tool for tool in TOOLS if shutil.which(tool) is None]
    if absent:
        return f"network namespaces need the commands {', '.join(absent)} (packages iproute2, nftables)"
    name = f"htp{secrets.token_hex(3)}"
    tried = subprocess.run(["ip", "netns", "add", name], check=False, capture_output=True, text=True)
    if tried.returncode:
        return f"no network namespace can be made here: {tried.stderr.strip()}"
    filtering = subprocess.run(["ip", "netns", "exec", name, "nft", TABLE], check=False, capture_output=True, text=True)
    _run("ip", "netns", "del", name)
    return f"packets cannot be filtered here: {filtering.stderr.strip()}" if filtering.returncode else ""


class Network:
    """One namespace per name, all on one bridge; everything is removed with it."""

    def __init__(self, names: tuple[str, ...]) -> None:
        tag = secrets.token_hex(2)
        self._bridge = f"htb{tag}"
        self._spaces = {name: f"ht{tag}-{name}" for name in names}
        subnet = f"10.{secrets.randbelow(100) + 100}.{secrets.randbelow(250)}"
        self.addresses = {name: f"{subnet}.{number}" for number, name in enumerate(names, start=1)}
        self._operator = f"{subnet}.254/24"
        self._tag = tag

    def __enter__(self) -> Network:
        _run("ip", "link", "add", self._bridge, "type", "bridge")
        _run("ip", "addr", "add", self._operator, "dev", self._bridge)
        _run("ip", "link", "set", self._bridge, "up")
        for number, (name, space) in enumerate(self._spaces.items()):
            outer = f"htv{self._tag}{number}"
            _run("ip", "netns", "add", space)
            _run("ip", "link", "add", outer, "type", "veth", "peer", "name", "eth0", "netns", space)
            _run("ip", "link", "set", outer, "master", self._bridge, "up")
            _run("ip", "-n", space, "addr", "add", f"{self.addresses[name]}/24", "dev", "eth0")
            _run("ip", "-n", space, "link", "set", "eth0", "up")
            _run("ip", "-n", space, "link", "set", "lo", "up")
            _run(*self.inside(name), "nft", TABLE)
        return self

    def __exit__(self, *_: object) -> None:
        for space in self._spaces.values():
            subprocess.run(["ip", "netns", "del", space], check=False, capture_output=True)
        subprocess.run(["ip", "link", "del", self._bridge], check=False, capture_output=True)

    def inside(self, name: str) -> list[str]:
        """The prefix of a command that is to run in that namespace."""
        return ["ip", "netns", "exec", self._spaces[name]]

    def cut(self, source: str, destination: str) -> None:
        """Nothing that ``source`` sends arrives at ``destination``; the other way stays open."""
        rule = f"add rule inet cut arriving ip saddr {self.addresses[source]} drop"
        _run(*self.inside(destination), "nft", rule)

    def isolate(self, name: str) -> None:
        """No packet between ``name`` and any other member, either way."""
        for other in self._spaces:
            if other != name:
                self.cut(name, other)
                self.cut(other, name)

    def heal(self) -> None:
        for name in self._spaces:
            _run(*self.inside(name), "nft", "flush chain inet cut arriving")


class NetworkFleet(LocalFleet):
    """The fleet of two nodes, each member in its namespace."""

    def __init__(self, folder: Path, network: Network, **agent: Any) -> None:
        super().__init__(
            folder,
            sites=SITES,
            nodes={"a": "west", "b": "east"},
            coordinator={
                "heartbeat_interval_s": 0.5,
                "planner": {"enabled": False, "placement_backoff_s": 1.0},
                "saga": {**SAGA, "lease_margin_s": 1.0, "settle_s": 3.0},
                "replication": {"retry_s": 1.0},
            },
            agent={"power": {"batch_s": 1.0, "model": {"idle_w": 1.0, "max_w": 10.0, "scope": "tree"}}, **agent},
        )
        self._network = network
        self.address = f"{network.addresses[COORDINATOR]}:7440"
        self.prepare()

    def command(self, member: Member) -> list[str]:
        return [*self._network.inside(member.name), *super().command(member)]

    def notify_socket(self, name: str) -> tuple[socket.socket, str]:
        """By path: names of the abstract kind end at a namespace's border."""
        path = self.folder / f"{name}.ready"
        path.unlink(missing_ok=True)
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        listening.bind(str(path))
        return listening, str(path)

    def _agent(self, node: str, site: str) -> dict[str, Any]:
        fields = super()._agent(node, site)
        address = f"{self._network.addresses[node]}:7443"
        return {**fields, "transfer": {**fields["transfer"], "listen": address, "advertise": [address]}}


@contextmanager
def network_fleet(folder: Path, **agent: Any) -> Iterator[tuple[NetworkFleet, Network]]:
    """Up and running, everything gone afterwards."""
    with Network((COORDINATOR, "a", "b")) as network:
        fleet = NetworkFleet(folder, network, **agent)
        with fleet:
            fleet.start_all()
            yield fleet, network


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, timeout=30)
