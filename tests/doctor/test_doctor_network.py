"""Ports and reachability with real sockets, real TLS, and the real transfer server as the far end."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc
import pytest

from heliotrope.agent.doctor import clock, ports, reach
from heliotrope.agent.doctor.finding import Status
from heliotrope.agent.doctor.probe import Met
from heliotrope.agent.transfer.server import TransferServer
from heliotrope.foundation import authority, identity, tls
from heliotrope.foundation.errors import Denied, NotFound
from heliotrope.foundation.identity import Name, Role
from heliotrope.foundation.tickets import Ticket

from .conftest import Node

Serve = Callable[..., int]


@pytest.fixture
def grpc_server(node: Node) -> Iterator[Serve]:
    """A gRPC server with the coordinator's credentials but no service: what the doctor meets needs none."""
    servers = []

    def start(folder: str = "coordinator", role: Role = Role.COORDINATOR) -> int:
        own = identity.load(node.issue(role, "main", folder=folder))
        server = grpc.server(futures.ThreadPoolExecutor(1), options=list(tls.SERVER_OPTIONS))
        port: int = server.add_secure_port("127.0.0.1:0", tls.grpc_server_credentials(own))
        server.start()
        servers.append(server)
        return port

    yield start
    for server in servers:
        server.stop(None)


@pytest.fixture
def transfers(node: Node) -> Iterator[Callable[[Path], int]]:
    """The real transfer server of an identity."""
    running = []

    def refuse(*_: object) -> Ticket:
        raise Denied("no tickets here")

    def start(folder: Path) -> int:
        own = identity.load(folder)

        def absent(_: Ticket, reference: str) -> Any:
            raise NotFound(reference)

        server = TransferServer(
            tls.server_context(own),
            ("127.0.0.1", 0),
            name=own.name,
            verify_ticket=refuse,
            open_source=absent,
            open_base=lambda *_: None,
        )
        server.start()
        running.append(server)
        return server.address[1]

    yield start
    for server in running:
        server.stop()


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


# -- reach


def test_a_coordinator_that_answers(node: Node, grpc_server: Serve, named: Any) -> None:
    node.issue()
    node.fields["coordinator"] = f"127.0.0.1:{grpc_server()}"
    found = named(reach.findings(node.subject()))["reach.coordinator"]
    assert found.status is Status.OK, found
    assert found.figures["name"] == "heliotrope://lab/coordinator/main"
    bounds = clock.coordinator(node.subject(), node.now_utc)
    assert bounds.status is Status.OK and "cannot be seen" in bounds.found


def test_nobody_there_no_such_host_and_no_address(node: Node, named: Any) -> None:
    node.issue()
    for text, step in ((f"127.0.0.1:{closed_port()}", "tcp"), ("no-such-host.invalid:1", "resolve")):
        node.fields["coordinator"] = text
        found = named(reach.findings(node.subject()))["reach.coordinator"]
        assert found.status is Status.ERROR and found.figures["failed_step"] == step and found.remedy
        assert clock.coordinator(node.subject(), node.now_utc).status is Status.SKIPPED
    node.fields["coordinator"] = "nonsense"
    assert "HOST:PORT" in named(reach.findings(node.subject()))["reach.coordinator"].remedy


def test_a_member_of_the_fleet_that_is_no_coordinator(node: Node, grpc_server: Serve, named: Any) -> None:
    node.issue()
    node.fields["coordinator"] = f"127.0.0.1:{grpc_server('other', Role.AGENT)}"
    found = named(reach.findings(node.subject()))["reach.coordinator"]
    assert found.status is Status.ERROR and "not a coordinator of fleet lab" in found.found


def test_two_fleets(node: Node, grpc_server: Serve, named: Any) -> None:
    """Ours does not trust theirs; and theirs does not accept ours, which TLS 1.3 says after the handshake only."""
    node.fields["coordinator"] = f"127.0.0.1:{grpc_server()}"
    stranger = authority.create(node.folder / "ca-2", "lab")
    stranger.issue(Role.AGENT, "a").save(node.folder / "identity")
    found = named(reach.findings(node.subject()))["reach.coordinator"]
    assert found.figures["failed_step"] == "tls" and found.status is Status.ERROR


def test_a_far_end_that_refuses_our_certificate(node: Node, named: Any) -> None:
    node.issue()
    server = identity.load(node.issue(Role.COORDINATOR, "main", folder="coordinator"))
    stranger = authority.create(node.folder / "ca-2", "lab")
    strict = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    strict.load_cert_chain(server.certificate_path, server.key_path)
    strict.load_verify_locations(cadata=stranger.ca_pem.decode())
    strict.verify_mode = ssl.CERT_REQUIRED
    strict.set_alpn_protocols(["h2"])
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=_shake_hands, args=(listener, strict), daemon=True)
        thread.start()
        node.fields["coordinator"] = f"127.0.0.1:{listener.getsockname()[1]}"
        found = named(reach.findings(node.subject()))["reach.coordinator"]
        thread.join(20)
    assert found.status is Status.ERROR and found.figures["failed_step"] == "accept", found


def _hang_up(listener: socket.socket) -> None:
    listener.accept()[0].close()


def _shake_hands(listener: socket.socket, context: ssl.SSLContext) -> None:
    connection, _ = listener.accept()
    try:
        context.wrap_socket(connection, server_side=True).close()
    except OSError:
        connection.close()


def test_something_that_speaks_no_tls(node: Node, named: Any) -> None:
    node.issue()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        node.fields["coordinator"] = f"127.0.0.1:{listener.getsockname()[1]}"

        def answer() -> None:
            connection, _ = listener.accept()
            connection.sendall(b"HTTP/1.0 400 Bad Request\r\n\r\n")
            connection.close()

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        found = named(reach.findings(node.subject()))["reach.coordinator"]
        thread.join(20)
    assert found.figures["failed_step"] == "tls"


def test_peers(node: Node, transfers: Callable[[Path], int]) -> None:
    own = identity.load(node.issue())
    port = transfers(node.issue(name="b", folder="identity-b"))
    found = reach.reached("reach.peer", f"127.0.0.1:{port}", own, Role.AGENT)
    assert found.status is Status.OK and found.figures["name"] == "heliotrope://lab/node/b"
    itself = reach.judge("reach.peer", "x:1", Met(address="x", name=own.name), own.name, Role.AGENT)
    assert itself.status is Status.ERROR and "this very node" in itself.found
    foreign = Met(address="x", name=Name("mine", Role.AGENT, "b"))
    assert reach.judge("reach.peer", "x:1", foreign, own.name, Role.AGENT).status is Status.ERROR


def test_without_a_usable_identity_nobody_is_met(node: Node) -> None:
    assert [one.status for one in reach.findings(node.subject())] == [Status.SKIPPED]
    assert [one.status for one in reach.findings(node.subject(agent=None, daemons=()))] == [Status.SKIPPED]


# -- ports


def listen_on(node: Node, port: int, advertise: str = "") -> None:
    node.fields["transfer"] = {"listen": f"127.0.0.1:{port}", "advertise": [advertise or f"127.0.0.1:{port}"]}


def test_a_free_port_and_an_advertised_loopback(node: Node, named: Any) -> None:
    node.issue()
    listen_on(node, closed_port())
    found = named(ports.findings(node.subject()))
    assert found["ports.agent_listen"].figures["is_free"] is True
    assert found["ports.advertised"].status is Status.WARNING and "loopback" in found["ports.advertised"].found


def test_a_port_held_by_this_very_agent(node: Node, transfers: Callable[[Path], int], named: Any) -> None:
    listen_on(node, transfers(node.issue()))
    found = named(ports.findings(node.subject()))["ports.agent_listen"]
    assert found.status is Status.OK and "heliotrope://lab/node/a itself" in found.found


def test_a_port_held_by_another(node: Node, transfers: Callable[[Path], int], named: Any) -> None:
    node.issue()
    listen_on(node, transfers(node.issue(name="b", folder="identity-b")))
    found = named(ports.findings(node.subject()))["ports.agent_listen"]
    assert found.status is Status.ERROR and "node/b" in found.found
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        threading.Thread(target=_hang_up, args=(listener,), daemon=True).start()
        listen_on(node, port)
        found = named(ports.findings(node.subject()))["ports.agent_listen"]
    assert found.status is Status.ERROR and "none of this fleet" in found.found


def test_an_address_that_is_not_this_machines(node: Node, named: Any) -> None:
    node.issue()
    node.fields["transfer"] = {"listen": "192.0.2.1:7443", "advertise": ["no-such-host.invalid:7443"]}
    found = named(ports.findings(node.subject()))
    assert found["ports.agent_listen"].status is Status.ERROR and "0.0.0.0" in found["ports.agent_listen"].remedy
    assert "does not resolve" in found["ports.advertised"].found


def test_an_advertised_address_is_dialled() -> None:
    """An address of this machine that is no loopback, if it has one."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing; chooses the address that would be used
        except OSError:
            pytest.skip("this machine has no network but loopback")
        host = probe.getsockname()[0]
    with socket.create_server((host, 0)) as listener:
        port = listener.getsockname()[1]
        assert ports.advertised(f"{host}:{port}", port, is_listening=True).status is Status.OK
        assert ports.advertised(f"{host}:{port}", port, is_listening=False).status is Status.SKIPPED
    closed = ports.advertised(f"{host}:{port}", port, is_listening=True)
    assert closed.status is Status.WARNING and "cannot be dialled" in closed.found
