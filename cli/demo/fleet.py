"""A whole fleet on this machine: real processes, real mutual TLS on loopback, throw-away keys.

The demonstration and the crash tests run on it. Nothing here is special to either: the processes are the ``heliotrope
coordinator`` and ``heliotrope agent`` commands with configuration files such as a person would write.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc

from heliotrope.agent.jobs.runs import Run
from heliotrope.foundation import authority, failpoints, identity, tls
from heliotrope.foundation.errors import DeadlineExceeded, HeliotropeError
from heliotrope.foundation.identity import Identity, Role
from heliotrope.v1 import operator_pb2_grpc

FLEET = "demo"
COORDINATOR = "coordinator"
START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 20.0


@dataclass
class Member:
    """One process of the fleet and what it needs to be started again."""

    name: str
    verb: str  # coordinator | agent
    config: Path
    process: subprocess.Popen[bytes] | None = None
    notify: socket.socket | None = field(default=None, repr=False)


class LocalFleet:
    """A coordinator and agents under ``folder``. Use as a context manager: everything it started ends with it."""

    def __init__(
        self,
        folder: Path,
        *,
        sites: list[dict[str, Any]],
        nodes: Mapping[str, str],
        coordinator: Mapping[str, Any] | None = None,
        agent: Mapping[str, Any] | None = None,
        program: Sequence[str] = (sys.executable, "-m", "heliotrope.cli"),
    ) -> None:
        """``nodes``: node id -> site name; ``coordinator`` and ``agent``: fields laid over the defaults.

        ``program``: the ``heliotrope`` command, another installation's to try that.
        """
        self.folder = folder.resolve()
        self.nodes = dict(nodes)
        self._program = tuple(program)
        self._sites = sites
        self._coordinator_fields = dict(coordinator or {})
        self._agent_fields = dict(agent or {})
        self.address = f"127.0.0.1:{free_port()}"
        self.members: dict[str, Member] = {}

    def __enter__(self) -> LocalFleet:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    # -- making it

    def prepare(self) -> None:
        """Keys and configuration files."""
        self.folder.mkdir(parents=True, exist_ok=True)
        ca = authority.create(self.folder / "ca", FLEET)
        ca.issue(Role.COORDINATOR, COORDINATOR).save(self._identity(COORDINATOR))
        ca.issue(Role.OPERATOR, "operator").save(self._identity("operator"))
        for node in self.nodes:
            ca.issue(Role.AGENT, node).save(self._identity(node))
        self.members[COORDINATOR] = Member(COORDINATOR, "coordinator", self._write(COORDINATOR, self._coordinator()))
        for node, site in self.nodes.items():
            self.members[node] = Member(node, "agent", self._write(node, self._agent(node, site)))

    def _coordinator(self) -> dict[str, Any]:
        fields = {
            "identity": f"identities/{COORDINATOR}",
            "state_dir": COORDINATOR,
            "listen": self.address,
            "heartbeat_interval_s": 1.0,
            "sites": self._sites,
        }
        return fields | self._coordinator_fields

    def _agent(self, node: str, site: str) -> dict[str, Any]:
        port = free_port()
        fields: dict[str, Any] = {
            "coordinator": self.address,
            "identity": f"identities/{node}",
            "state_dir": node,
            "site": site,
            "reconnect_s": 0.2,
            "transfer": {"listen": f"127.0.0.1:{port}", "advertise": [f"127.0.0.1:{port}"]},
            # A demonstration runs under the person's own account, jobs included.
            "jobs": {"allow_same_user": True, "poll_s": 0.2},
            "store": {"reserve_bytes": 0},
        }
        for name, value in self._agent_fields.items():
            fields[name] = {**fields[name], **value} if isinstance(fields.get(name), dict) else value
        return fields

    def _write(self, name: str, config: dict[str, Any]) -> Path:
        path = self.folder / f"{name}.json"
        path.write_text(json.dumps(config, indent=2), encoding="utf-8")
        return path

    def _identity(self, name: str) -> Path:
        return self.folder / "identities" / name

    @property
    def operator(self) -> Identity:
        return identity.load(self._identity("operator"))

    # -- running it

    def start(self, name: str, *, failpoint: str = "") -> None:
        """Start (again) a member and wait until it says that it is ready; ``failpoint`` as in foundation.failpoints."""
        self.launch(name, failpoint=failpoint)
        self.wait_ready(name)

    def launch(self, name: str, *, failpoint: str = "") -> None:
        """Start a member without waiting."""
        member = self.members[name]
        member.notify, address = self.notify_socket(name)
        environment = {**os.environ, "NOTIFY_SOCKET": address, failpoints.VARIABLE: failpoint}
        command = self.command(member)
        with self.log(name).open("ab") as log:
            member.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment, start_new_session=True
            )

    def command(self, member: Member) -> list[str]:
        """What starts a member."""
        return [*self._program, member.verb, "--config", str(member.config)]

    def notify_socket(self, _name: str) -> tuple[socket.socket, str]:
        """Where a member says that it is ready, and how it is told of it."""
        return _notify_socket()

    def wait_ready(self, name: str) -> None:
        """Raises DeadlineExceeded with the last lines of its log, also when it died."""
        member = self.members[name]
        assert member.notify is not None
        assert member.process is not None
        deadline_s = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline_s and member.process.poll() is None:
            member.notify.settimeout(0.1)
            with contextlib.suppress(TimeoutError):
                if b"READY=1" in member.notify.recv(4096):
                    return
        raise DeadlineExceeded(f"cannot start {name}: it did not become ready; its log ends:\n{self.tail(name)}")

    def start_all(self) -> None:
        """The coordinator first, then the agents side by side."""
        self.start(COORDINATOR)
        for node in self.nodes:
            self.launch(node)
        for node in self.nodes:
            self.wait_ready(node)

    def kill(self, name: str) -> None:
        """SIGKILL, as a power cut or the kernel would."""
        process = self.members[name].process
        if process is not None:
            process.kill()
            process.wait()

    def running(self, name: str) -> bool:
        process = self.members[name].process
        return process is not None and process.poll() is None

    def stop(self) -> None:
        """Agents leave jobs running when they stop, as they should; here the jobs end too."""
        for member in self.members.values():
            if member.process is not None and member.process.poll() is None:
                member.process.send_signal(signal.SIGTERM)
        for member in self.members.values():
            if member.process is not None:
                _wait_or_kill(member.process)
            if member.notify is not None:
                member.notify.close()
        asyncio.run(self._kill_jobs())

    async def _kill_jobs(self) -> None:
        for record in self.folder.glob("*/jobs/*/runs/*/run.json"):
            with contextlib.suppress(HeliotropeError):
                await Run.open(record.parent).kill()

    # -- talking to it

    def channel(self) -> grpc.Channel:
        return tls.grpc_channel(self.address, self.operator, (("grpc.enable_http_proxy", 0),))

    def stub(self) -> operator_pb2_grpc.OperatorServiceStub:
        return operator_pb2_grpc.OperatorServiceStub(self.channel())

    def log(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    def tail(self, name: str, lines: int = 15) -> str:
        path = self.log(name)
        text = path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
        return "\n".join(text.splitlines()[-lines:])


def free_port() -> int:
    """A TCP port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _notify_socket() -> tuple[socket.socket, str]:
    """A socket for sd_notify in the abstract namespace: paths in temporary folders are too long for one."""
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    name = f"heliotrope-demo-{os.getpid()}-{free_port()}-{time.monotonic_ns()}"
    listening.bind(f"\0{name}")
    return listening, f"@{name}"


def _wait_or_kill(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
