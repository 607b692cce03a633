"""Every rpc of the table, tried by every role: the answer is a refusal exactly where the table says so."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc
import pytest

from heliotrope.coordinator.server.roles import ALLOWED
from heliotrope.foundation import authority, identity, jointoken, tls
from heliotrope.foundation.identity import Identity, Role

from .conftest import LiveFleet

Connect = Callable[[Role], AbstractContextManager[grpc.Channel]]
OURS = "/heliotrope.v1."
HOLDERS = {Role.COORDINATOR: "main", Role.OPERATOR: "alice", Role.OBSERVER: "olga", Role.AGENT: "node1"}


@pytest.fixture(scope="module")
def connect(live_fleet: LiveFleet) -> Connect:
    def made(role: Role) -> Identity:
        if role is Role.JOINER:
            ca = authority.open(live_fleet.folder / "ca")
            return jointoken.unpack(jointoken.pack(ca.issue_joiner("n9")), now_utc=datetime.now(UTC)).identity
        return identity.load(live_fleet.identity(HOLDERS[role]))

    return lambda role: tls.grpc_channel(live_fleet.address, made(role), (("grpc.enable_http_proxy", 0),))


def first_answer(channel: grpc.Channel, method: str) -> tuple[grpc.StatusCode, str]:
    """Status and text for an empty request, as a stream both ways, which serves the other shapes as well."""
    ask: Any = channel.stream_stream(method)
    call = ask(iter([b""]), timeout=10)
    try:
        next(call, None)
        call.cancel()
    except grpc.RpcError as error:
        failed: Any = error
        return failed.code(), str(failed.details())
    return grpc.StatusCode.OK, ""


@pytest.mark.parametrize("role", list(Role))
def test_the_table_is_what_the_coordinator_does(connect: Connect, role: Role) -> None:
    with connect(role) as channel:
        answers = {method: first_answer(channel, method) for method in ALLOWED}
        # What the installed gRPC does not have (a newer reflection) answers nobody.
        there = {
            method: (code, text)
            for method, (code, text) in answers.items()
            if method.startswith(OURS) or code is not grpc.StatusCode.UNIMPLEMENTED
        }
        refused = {method for method, (_, text) in there.items() if f"as {role.value} " in text and "the role" in text}
        assert refused == {method for method in there if role not in ALLOWED[method]}
        assert {there[method][0] for method in refused} <= {grpc.StatusCode.PERMISSION_DENIED}
        assert grpc.StatusCode.INTERNAL not in {code for code, _ in there.values()}
        assert first_answer(channel, "/heliotrope.v1.OperatorService/Unheard")[0] is grpc.StatusCode.UNIMPLEMENTED


def test_a_joiner_may_enrol_and_nothing_else() -> None:
    assert [method for method, roles in ALLOWED.items() if Role.JOINER in roles] == [
        "/heliotrope.v1.IdentityService/Enrol"
    ]


@pytest.fixture
def keys(live_fleet: LiveFleet) -> Iterator[list[Path]]:
    yield [path for path in live_fleet.folder.rglob("*.key") if path.is_file()]


def test_no_key_lies_open_and_none_is_in_the_log(live_fleet: LiveFleet, keys: list[Path]) -> None:
    log = (live_fleet.folder / "coordinator.log").read_text()
    assert keys
    for path in keys:
        assert path.stat().st_mode & 0o777 == 0o600, path
        assert path.read_text().splitlines()[1] not in log
