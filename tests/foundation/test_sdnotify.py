"""The notify protocol against a real datagram socket, as systemd holds it."""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heliotrope.foundation.errors import InvalidInput
from heliotrope.foundation.sdnotify import Notifier


def _manager(address: str) -> socket.socket:
    manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    manager.settimeout(30)
    manager.bind("\0" + address[1:] if address.startswith("@") else address)
    return manager


@pytest.fixture(params=["path", "abstract"])
def heard(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, socket.socket]]:
    address = str(tmp_path / "notify") if request.param == "path" else f"@heliotrope-test-{secrets.token_hex(8)}"
    with closing(_manager(address)) as manager:
        yield address, manager


def test_states_arrive(heard: tuple[str, socket.socket]) -> None:
    address, manager = heard
    notifier = Notifier.from_environment({"NOTIFY_SOCKET": address})
    for sent, expected in (
        (notifier.ready(), b"READY=1"),
        (notifier.ready("serving 3 nodes"), b"READY=1\nSTATUS=serving 3 nodes"),
        (notifier.status("50 %"), b"STATUS=50 %"),
        (notifier.watchdog(), b"WATCHDOG=1"),
        (notifier.stopping(), b"STOPPING=1"),
        (notifier.stopping("bye"), b"STOPPING=1\nSTATUS=bye"),
    ):
        assert sent
        assert manager.recv(4096) == expected


@given(st.text(max_size=200))
def test_a_status_cannot_smuggle_a_state(text: str) -> None:
    sent: list[str] = []

    class Recorder(Notifier):
        def _send(self, *assignments: str) -> bool:
            sent.extend(assignments)
            return True

    Recorder("@x").status(f"a\nREADY=1{text}")
    assert len(sent) == 1 and "\n" not in sent[0] and sent[0].startswith("STATUS=a READY=1")


def test_without_a_manager_nothing_happens() -> None:
    notifier = Notifier.from_environment({})
    assert not notifier.ready()
    assert not notifier.watchdog()
    assert notifier.watchdog_interval_s is None


def test_a_vanished_or_full_manager_does_not_hurt(tmp_path: Path) -> None:
    notifier = Notifier(str(tmp_path / "gone"))
    assert not notifier.ready()
    address = str(tmp_path / "deaf")
    with closing(_manager(address)) as manager:
        manager.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        deaf = Notifier(address)
        results = [deaf.watchdog() for _ in range(10_000)]
    assert results[0] and not results[-1], "a full queue is skipped, it does not block"


def test_jobs_do_not_inherit_the_socket() -> None:
    environment = {"NOTIFY_SOCKET": "/run/x", "WATCHDOG_USEC": "5", "WATCHDOG_PID": "1", "PATH": "/bin"}
    Notifier.from_environment(environment)
    assert environment == {"PATH": "/bin"}


@pytest.mark.parametrize(
    ("environment", "expected_s"),
    [
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "1500000", "WATCHDOG_PID": "77"}, 1.5),
        ({"WATCHDOG_USEC": "1500000", "WATCHDOG_PID": "78"}, None),
        ({"WATCHDOG_PID": "77"}, None),
    ],
)
def test_the_watchdog_interval(environment: dict[str, str], expected_s: float | None) -> None:
    assert Notifier.from_environment(environment, pid=77).watchdog_interval_s == expected_s


def test_the_own_pid_is_the_default() -> None:
    environment = {"WATCHDOG_USEC": "2000000", "WATCHDOG_PID": str(os.getpid())}
    assert Notifier.from_environment(environment).watchdog_interval_s == 2.0


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("NOTIFY_SOCKET", "relative"),
        ("NOTIFY_SOCKET", "vsock:2:1"),
        ("WATCHDOG_USEC", "soon"),
        ("WATCHDOG_USEC", "0"),
        ("WATCHDOG_USEC", "-5"),
        ("WATCHDOG_USEC", "٣"),
        ("WATCHDOG_PID", "me"),
    ],
)
def test_odd_variables_are_named(variable: str, value: str) -> None:
    environment = {"WATCHDOG_USEC": "1000000", variable: value}
    with pytest.raises(InvalidInput, match=f"field {variable}"):
        Notifier.from_environment(environment)
