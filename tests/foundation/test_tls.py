"""Mutual TLS as it is used: real sockets, a real gRPC server, certificates good and bad."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import grpc.aio
import pytest

from heliotrope.foundation import authority, identity, tls
from heliotrope.foundation.authority import Authority
from heliotrope.foundation.clock import Clock
from heliotrope.foundation.errors import Denied, InvalidInput
from heliotrope.foundation.identity import Identity, Name, Role

Member = Callable[[Authority, Role, str], Identity]
DEADLINE_S = 30


def _meet(server: ssl.SSLContext, client: ssl.SSLContext) -> tuple[Name | Exception, Name | Exception]:
    """One connection over loopback: whom each side met, or why it did not (server's view, client's view).

    The client reads a byte: in TLS 1.3 it has finished its handshake before the server judged its certificate.
    """

    def serve(listener: socket.socket) -> Name | Exception:
        try:
            plain, _ = listener.accept()
            plain.settimeout(DEADLINE_S)
            with server.wrap_socket(plain, server_side=True) as connection:
                connection.sendall(b"!")
                return tls.peer_name(connection)
        except (OSError, Denied) as error:
            return error

    def dial(port: int) -> Name | Exception:
        try:
            plain = socket.create_connection(("127.0.0.1", port), timeout=DEADLINE_S)
            with client.wrap_socket(plain) as connection:
                if connection.recv(1) != b"!":
                    raise ConnectionError("closed")
                return tls.peer_name(connection)
        except (OSError, Denied) as error:
            return error

    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor(1) as pool:
        listener.settimeout(DEADLINE_S)
        served = pool.submit(serve, listener)
        met = dial(listener.getsockname()[1])
        return served.result(), met


def test_two_agents_meet_by_name(lab: Authority, member: Member) -> None:
    one, two = member(lab, Role.AGENT, "n1"), member(lab, Role.AGENT, "n2")
    assert _meet(tls.server_context(one), tls.client_context(two)) == (two.name, one.name)


def test_only_tls_1_3_is_spoken(lab: Authority, member: Member) -> None:
    one = member(lab, Role.AGENT, "n1")
    old = tls.client_context(one)
    old.minimum_version = ssl.TLSVersion.TLSv1_2
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    served, met = _meet(tls.server_context(one), old)
    assert isinstance(served, ssl.SSLError) and isinstance(met, ssl.SSLError)
    for context in (tls.server_context(one), tls.client_context(one)):
        assert context.verify_mode is ssl.CERT_REQUIRED
        assert context.options & ssl.OP_NO_COMPRESSION


def test_no_session_can_be_resumed(lab: Authority, member: Member) -> None:
    """A resumed session would skip the certificate, and with it a revocation."""
    own = member(lab, Role.AGENT, "n1")
    left, right = socket.socketpair()
    left.settimeout(DEADLINE_S)
    right.settimeout(DEADLINE_S)
    with ThreadPoolExecutor(1) as pool:
        serving = pool.submit(tls.server_context(own).wrap_socket, left, server_side=True)
        with tls.client_context(own).wrap_socket(right) as client, serving.result() as server:
            server.sendall(b"!")
            assert client.recv(1) == b"!", "tickets come before the first byte"
            assert client.session is None or not client.session.has_ticket


def test_a_stranger_with_the_same_fleet_name_is_refused(lab: Authority, other_lab: Authority, member: Member) -> None:
    ours, theirs = member(lab, Role.AGENT, "n1"), member(other_lab, Role.AGENT, "n1")
    served, met = _meet(tls.server_context(ours), tls.client_context(theirs))
    assert isinstance(met, ssl.SSLError), "the client refuses the server"
    assert isinstance(served, ssl.SSLError)
    lenient = tls.client_context(theirs)
    lenient.verify_mode = ssl.CERT_NONE
    served, met = _meet(tls.server_context(ours), lenient)
    assert isinstance(served, ssl.SSLError) and "CERTIFICATE_VERIFY_FAILED" in str(served), "the server refuses it too"
    assert isinstance(met, OSError)


def test_a_client_without_a_certificate_is_refused(lab: Authority, member: Member) -> None:
    ours = member(lab, Role.AGENT, "n1")
    anonymous = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    anonymous.check_hostname = False
    anonymous.load_verify_locations(cadata=ours.ca_pem.decode())
    served, met = _meet(tls.server_context(ours), anonymous)
    assert isinstance(served, ssl.SSLError)
    assert isinstance(met, OSError)


@pytest.mark.parametrize("role", [Role.OPERATOR, Role.OBSERVER])
def test_people_are_clients_only(lab: Authority, member: Member, role: Role) -> None:
    person, node = member(lab, role, "ann"), member(lab, Role.AGENT, "n1")
    assert _meet(tls.server_context(node), tls.client_context(person)) == (person.name, node.name)
    served, met = _meet(tls.server_context(person), tls.client_context(node))
    assert isinstance(met, ssl.SSLError), "a person's certificate cannot answer as a node"
    assert isinstance(served, Exception)


def test_an_expired_certificate_is_refused_at_the_handshake(tmp_path: Path, clock_at: Callable[..., Clock]) -> None:
    then = clock_at(2024, 1, 1)
    made = authority.create(tmp_path / "ca", "lab", clock=then)
    made.issue(Role.AGENT, "old", days=10).save(tmp_path / "old")
    authority.open(tmp_path / "ca").issue(Role.AGENT, "new").save(tmp_path / "new")
    old, new = identity.load(tmp_path / "old", clock=then), identity.load(tmp_path / "new")
    served, met = _meet(tls.server_context(new), tls.client_context(old))
    assert "expired" in str(served)
    assert isinstance(met, OSError)
    served, met = _meet(tls.server_context(old), tls.client_context(new))
    assert "expired" in str(met)


def test_the_expected_peer_is_checked(lab: Authority, member: Member) -> None:
    ours = member(lab, Role.AGENT, "n1")
    left, right = socket.socketpair()
    left.settimeout(DEADLINE_S)
    right.settimeout(DEADLINE_S)
    with ThreadPoolExecutor(1) as pool:
        serving = pool.submit(tls.server_context(ours).wrap_socket, left, server_side=True)
        with tls.client_context(ours).wrap_socket(right) as client, serving.result() as server:
            assert tls.peer_name(client, expected=ours.name) == ours.name
            with pytest.raises(Denied, match=r"expected heliotrope://lab/node/n2, met heliotrope://lab/node/n1"):
                tls.peer_name(server, expected=Name("lab", Role.AGENT, "n2"))


def test_before_the_handshake_there_is_no_name(lab: Authority, member: Member) -> None:
    context = tls.client_context(member(lab, Role.AGENT, "n1"))
    unstarted = context.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO())
    with pytest.raises(Denied, match="handshake is not done"):
        tls.peer_name(unstarted)


def test_a_vanished_key_is_a_clear_error(lab: Authority, member: Member) -> None:
    ours = member(lab, Role.AGENT, "n1")
    ours.key_path.unlink()
    with pytest.raises(InvalidInput, match="cannot use the identity in"):
        tls.server_context(ours)


def _whoami(request: bytes, context: grpc.ServicerContext) -> bytes:
    return request + str(tls.peer_name_from_context(context)).encode()


def _handler(function: Callable[..., object]) -> grpc.GenericRpcHandler:
    methods: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {"WhoAmI": grpc.unary_unary_rpc_method_handler(function)}
    return grpc.method_handlers_generic_handler("test.Names", methods)


@pytest.fixture
def coordinator_address(lab: Authority, member: Member) -> Iterator[str]:
    yield from _serve(member(lab, Role.COORDINATOR, "main"))


def _serve(own: Identity) -> Iterator[str]:
    server = grpc.server(ThreadPoolExecutor(2), options=tls.SERVER_OPTIONS)
    server.add_generic_rpc_handlers([_handler(_whoami)])
    port = server.add_secure_port("127.0.0.1:0", tls.grpc_server_credentials(own))
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(None).wait(DEADLINE_S)


def _ask(address: str, own: Identity, options: tls.Options = ()) -> str:
    with tls.grpc_channel(address, own, options) as channel:
        call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary("/test.Names/WhoAmI")
        return call(b"you are ", timeout=DEADLINE_S).decode()


@pytest.mark.parametrize("role", list(Role))
def test_grpc_knows_its_caller(coordinator_address: str, lab: Authority, member: Member, role: Role) -> None:
    own = member(lab, role, "m1")
    assert _ask(coordinator_address, own) == f"you are {own.name}"


def test_grpc_aio_knows_its_caller(lab: Authority, member: Member) -> None:
    own, caller = member(lab, Role.COORDINATOR, "main"), member(lab, Role.AGENT, "n1")

    async def whoami(request: bytes, context: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
        return request + str(tls.peer_name_from_context(context)).encode()

    async def talk() -> bytes:
        server = grpc.aio.server(options=tls.SERVER_OPTIONS)
        server.add_generic_rpc_handlers([_handler(whoami)])
        port = server.add_secure_port("127.0.0.1:0", tls.grpc_server_credentials(own))
        await server.start()
        try:
            async with tls.grpc_aio_channel(f"127.0.0.1:{port}", caller) as channel:
                call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary("/test.Names/WhoAmI")
                return await call(b"you are ", timeout=DEADLINE_S)
        finally:
            await server.stop(None)

    assert asyncio.run(talk()).decode() == f"you are {caller.name}"


def test_grpc_refuses_a_stranger(coordinator_address: str, other_lab: Authority, member: Member) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        _ask(coordinator_address, member(other_lab, Role.AGENT, "n1"))
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


def test_grpc_refuses_a_caller_without_a_certificate(coordinator_address: str, lab: Authority) -> None:
    credentials = grpc.ssl_channel_credentials(root_certificates=lab.ca_pem)
    with (
        grpc.secure_channel(coordinator_address, credentials, list(tls.CHANNEL_OPTIONS)) as channel,
        pytest.raises(grpc.RpcError) as caught,
    ):
        call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary("/test.Names/WhoAmI")
        call(b"", timeout=DEADLINE_S)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


def test_an_agent_cannot_answer_as_coordinator(lab: Authority, member: Member) -> None:
    own = member(lab, Role.AGENT, "n1")
    serving = _serve(own)
    address = next(serving)
    with pytest.raises(grpc.RpcError) as caught:
        _ask(address, own)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    assert next(serving, None) is None


def test_a_port_is_not_shared_by_two_servers(coordinator_address: str, lab: Authority, member: Member) -> None:
    second = grpc.server(ThreadPoolExecutor(1), options=tls.SERVER_OPTIONS)
    with pytest.raises(RuntimeError):
        second.add_secure_port(coordinator_address, tls.grpc_server_credentials(member(lab, Role.COORDINATOR, "b")))


def test_options_of_the_caller_win(coordinator_address: str, lab: Authority, member: Member) -> None:
    own = member(lab, Role.AGENT, "n1")
    with pytest.raises(grpc.RpcError):
        _ask(coordinator_address, own, [("grpc.ssl_target_name_override", "elsewhere.example")])


class _Context:
    """The shape of a servicer's context, for names that no authority of ours would sign."""

    def __init__(self, *names: bytes) -> None:
        self._names = names

    def auth_context(self) -> dict[str, tuple[bytes, ...]]:
        return {"x509_subject_alternative_name": self._names} if self._names else {}


@pytest.mark.parametrize(
    "names",
    [
        (),
        (b"coordinator.heliotrope.internal",),
        (b"heliotrope://lab",),
        (b"heliotrope://lab/king/x",),
        (b"heliotrope://lab/node/\xff",),
        (b"heliotrope://lab/node/a", b"heliotrope://lab/operator/a"),
    ],
)
def test_odd_names_are_denied(names: tuple[bytes, ...]) -> None:
    with pytest.raises(Denied):
        tls.peer_name_from_context(_Context(*names))


def test_many_members_at_once_are_not_mixed_up(coordinator_address: str, lab: Authority, member: Member) -> None:
    members = [member(lab, Role.AGENT, f"n{number}") for number in range(4)]
    start = threading.Barrier(len(members))

    def ask(own: Identity) -> bool:
        start.wait(DEADLINE_S)
        return all(_ask(coordinator_address, own) == f"you are {own.name}" for _ in range(3))

    with ThreadPoolExecutor(len(members)) as pool:
        assert all(pool.map(ask, members))
