"""Who may ask, where the coordinator is found, and what is said when it is not."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import grpc
import pytest

from heliotrope.cli import client, connection
from heliotrope.cli.client import Operator
from heliotrope.cli.connection import Target
from heliotrope.foundation import errors, identity

from .conftest import Heliotrope, LiveFleet

Job = dict[str, Any]


def test_an_observer_reads_and_changes_nothing(ask: Heliotrope, submitted: Job, job_file: Path, tmp_path: Path) -> None:
    job_id = submitted["job_id"]
    assert job_id in ask("job", "list", who="olga").out
    assert ask("report", "--job", job_id, who="olga").code == 0
    assert ask("job", "logs", job_id, who="olga").code == 0
    for verb in (
        ["submit", job_file],
        ["move", job_id, "valley"],
        ["pause", job_id],
        ["resume", job_id],
        ["cancel", job_id],
        ["fetch", job_id, "--out", tmp_path / "out"],
    ):
        done = ask("job", *verb, who="olga")
        assert (done.code, done.out) == (errors.Denied.exit_code, "")
        assert "observer olga" in done.err
    assert ask("node", "drain", "n1", who="olga").code == errors.Denied.exit_code
    assert ask("job", "show", job_id, "--json").value["wanted"] == "run"


def test_the_coordinators_own_certificate_is_no_operators(ask: Heliotrope) -> None:
    assert ask("job", "list", who="main").code == errors.Denied.exit_code


def _process(address: str, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable,
        "-m",
        "heliotrope.cli",
        "job",
        "list",
        "--coordinator",
        address,
        "--identity",
        str(folder),
    ]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_another_fleets_identity(live_fleet: LiveFleet) -> None:
    """As a process of its own: gRPC's C core must not print beside our one line."""
    done = _process(live_fleet.address, live_fleet.identity("bob"))
    assert (done.returncode, done.stdout) == (errors.Denied.exit_code, "")
    assert "TLS handshake failed" in done.stderr and done.stderr.count("\n") == 1


@pytest.fixture
def plain() -> Iterator[str]:
    """The address of a web server: something that listens there and speaks no TLS."""
    with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_something_else_on_the_port(live_fleet: LiveFleet, plain: str) -> None:
    done = _process(plain, live_fleet.identity("alice"))
    assert (done.returncode, done.stdout) == (errors.Denied.exit_code, "")
    assert f"cannot trust the far end at {plain}" in done.stderr and done.stderr.count("\n") == 1


def test_no_coordinator(ask: Heliotrope) -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))  # bound but not listening: nobody else gets the port, and nobody answers
        address = f"127.0.0.1:{bound.getsockname()[1]}"
        done = ask("job", "list", coordinator=address)
    assert (done.code, done.out) == (errors.Unreachable.exit_code, "")
    assert f"cannot reach the coordinator at {address}" in done.err and done.err.count("\n") == 1


@pytest.fixture
def silent() -> Iterator[str]:
    """The address of a listener that takes connections and says nothing."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        yield f"127.0.0.1:{listening.getsockname()[1]}"


def test_a_coordinator_that_does_not_answer(live_fleet: LiveFleet, silent: str) -> None:
    own = identity.load(live_fleet.identity("alice"))
    with (
        Operator(Target(silent, own), call_timeout_s=0.2) as operator,
        pytest.raises(errors.DeadlineExceeded) as raised,
    ):
        operator.fleet()
    assert silent in str(raised.value)


def test_every_error_of_the_catalogue_comes_back_as_itself() -> None:
    class Failed:
        def __init__(self, kind: str) -> None:
            self.kind = kind

        def code(self) -> Any:
            return grpc.StatusCode.UNKNOWN

        def details(self) -> str:
            return "cannot do it"

        def trailing_metadata(self) -> tuple[tuple[str, str], ...]:
            return (("other", "x"), (client.ERROR_KIND, self.kind))

    for kind in errors.catalogue():
        translated = client.translate(Failed(kind.__name__), "host:1")
        assert type(translated) is kind and str(translated) == "cannot do it"
    assert type(client.translate(Failed("NewerThanThisVersion"), "host:1")) is errors.HeliotropeError


def test_the_environment_names_coordinator_and_identity(
    heliotrope: Heliotrope, live_fleet: LiveFleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(connection.COORDINATOR_VARIABLE, live_fleet.address)
    monkeypatch.setenv(connection.IDENTITY_VARIABLE, str(live_fleet.identity("olga")))
    assert heliotrope("site", "list").code == 0


def test_a_file_names_them_and_options_go_before_it(
    heliotrope: Heliotrope, live_fleet: LiveFleet, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    path = tmp_path / "heliotrope" / "operator.toml"
    path.parent.mkdir()
    (path.parent / "me").symlink_to(live_fleet.identity("alice"))
    path.write_text(f'coordinator = "{live_fleet.address}"\nidentity = "me"\n')
    assert heliotrope("site", "list").code == 0
    assert heliotrope("site", "list", "--coordinator", "nonsense").code == errors.InvalidInput.exit_code
    path.write_text(f'coordinator = "{live_fleet.address}"\nidentiy = "me"\n')
    done = heliotrope("site", "list")
    assert done.code == errors.InvalidInput.exit_code and "operator.toml: field identiy" in done.err


def test_nothing_names_them(heliotrope: Heliotrope) -> None:
    done = heliotrope("job", "list")
    assert done.code == errors.InvalidInput.exit_code and "--coordinator HOST:PORT" in done.err
    done = heliotrope("job", "list", "--coordinator", "127.0.0.1:1")
    assert done.code == errors.InvalidInput.exit_code and "--identity DIR" in done.err


@pytest.mark.parametrize(
    "address", ["host", "host:", ":7440", "host:0", "host:70000", "http://host:7440", "host:7440/"]
)
def test_addresses_that_are_none(live_fleet: LiveFleet, address: str) -> None:
    with pytest.raises(errors.InvalidInput, match="is not HOST:PORT"):
        connection.find(address, live_fleet.identity("alice"), {})


@pytest.mark.parametrize("address", ["host.example:7440", "10.0.0.5:1", "[::1]:7440"])
def test_addresses(live_fleet: LiveFleet, address: str) -> None:
    assert connection.find(address, live_fleet.identity("alice"), {}).address == address
