"""Who may scrape: certificates, roles, tokens; and what wrong settings are told."""

from __future__ import annotations

import socket
import ssl
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from fleet_scrapes import HTTPError, Watched

from heliotrope.agent.config import AgentConfig
from heliotrope.coordinator.config import CoordinatorConfig
from heliotrope.foundation import authority, config, identity
from heliotrope.foundation.errors import InvalidInput
from heliotrope.foundation.exposition import CONNECTIONS_LIMIT, MetricsPort
from heliotrope.foundation.identity import Role
from heliotrope.foundation.metricsconfig import MetricsConfig

AGENT: dict[str, Any] = {"coordinator": "x:1", "identity": "i", "state_dir": "s", "site": "north"}


def refused(watched: Watched, member: str, **options: Any) -> tuple[int, str]:
    with pytest.raises(HTTPError) as caught:
        watched.open(member, **options)
    return caught.value.code, caught.value.read().decode()


def test_mutual_tls_wants_an_observer(watched: Watched) -> None:
    assert "heliotrope_fleet_nodes" in watched.open("coordinator", who="operator", token="")
    code, text = refused(watched, "coordinator", who="other")
    assert code == 403 and "have an observer" in text and "node/other" in text
    with pytest.raises((ssl.SSLError, OSError)):
        watched.open("coordinator", who="")


def test_a_revoked_observer_is_out(watched: Watched) -> None:
    assert "heliotrope_fleet_nodes" in watched.open("coordinator", who="stolen")
    fleet = watched.fleet
    options = ["--coordinator", fleet.address, "--identity", str(fleet.folder / "identities" / "operator")]
    command = [
        sys.executable,
        "-m",
        "heliotrope.cli",
        "identity",
        "revoke",
        "observer/stolen",
        "--reason",
        "lost",
        "--yes",
        *options,
    ]
    subprocess.run(command, check=True, capture_output=True)
    code, text = refused(watched, "coordinator", who="stolen")
    assert code == 403 and "was revoked" in text


def test_a_token_is_wanted(watched: Watched) -> None:
    assert "heliotrope_device_power_watts" in watched.open("b", who="")
    assert refused(watched, "b", who="", token="")[0] == 401
    assert refused(watched, "b", who="", token="wrong-but-long-enough")[0] == 401


def test_there_is_one_page(watched: Watched) -> None:
    assert refused(watched, "a", path="/../../etc/passwd")[0] == 404
    assert "heliotrope_build_info" in watched.open("a", path="?x=1")


def test_silent_clients_do_not_keep_others_out(watched: Watched) -> None:
    """Half of the places taken by clients that never shake hands; the rest serve."""
    parts = urlsplit(watched.urls["coordinator"])
    silent = [socket.create_connection((parts.hostname, parts.port)) for _ in range(CONNECTIONS_LIMIT // 2)]
    try:
        assert "heliotrope_sessions" in watched.open("coordinator")
    finally:
        for one in silent:
            one.close()


def test_the_library_is_not_loaded_without_a_port() -> None:
    """Off unless somebody asks; and all that an agent imports does not import it."""
    assert not AgentConfig(**AGENT).metrics.listen
    program = "import sys, heliotrope.agent.daemon; sys.exit('prometheus_client' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"listen": "7444"}, "not HOST:PORT; write 127.0.0.1:7444"),
        ({"listen": "0.0.0.0:7444"}, 'reachable from other machines; set tls = "mutual"'),
        ({"listen": "[::]:7444"}, "reachable from other machines"),
        ({"listen": "127.0.0.1:99999"}, "not HOST:PORT"),
        ({"listen": "0.0.0.0:7444", "tls": "server"}, "token_file is missing"),
        ({"listen": "127.0.0.1:7444", "tls": "yes"}, "metrics.tls"),
        ({"listen": "127.0.0.1:7444", "port": 1}, "metrics.port: no such field"),
        ({"token_file": "t"}, "token_file is set, but listen is not"),
        ({"listen": "127.0.0.1:7444", "certificate": "c"}, "certificate and key belong together"),
        ({"listen": "127.0.0.1:7444", "tls": "mutual", "certificate": "c", "key": "k"}, "it is not used"),
    ],
)
@pytest.mark.parametrize("side", ["agent", "coordinator"])
def test_wrong_settings_are_named(table: dict[str, Any], words: str, side: str) -> None:
    kind = AgentConfig if side == "agent" else CoordinatorConfig
    fields = AGENT if side == "agent" else {"identity": "i", "state_dir": "s"}
    with pytest.raises(InvalidInput, match="field metrics") as caught:
        config.parse({**fields, "metrics": table}, kind, where="x.toml")
    assert words in str(caught.value)


@pytest.mark.parametrize("text", [None, "short", "two words that are long enough"])
def test_an_unusable_token_is_told_at_the_start(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "token").write_text(text)
        (tmp_path / "token").chmod(0o600)
    with pytest.raises(InvalidInput, match=r"metrics\.token_file"):
        port(tmp_path)


def test_a_token_that_others_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("0123456789abcdef")
    (tmp_path / "token").chmod(0o644)
    with pytest.raises(InvalidInput, match="chmod 600"):
        port(tmp_path)


def test_a_token_is_changed_without_a_restart(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("0123456789abcdef\n")
    (tmp_path / "token").chmod(0o600)
    made = port(tmp_path)
    assert made.authorised("Bearer 0123456789abcdef") and not made.authorised("Bearer fedcba9876543210")
    (tmp_path / "token").write_text("fedcba9876543210\n")
    assert made.authorised("Bearer fedcba9876543210") and not made.authorised(None)


def port(folder: Path) -> MetricsPort:
    authority.create(folder / "ca", "fleet").issue(Role.AGENT, "n1").save(folder / "identity")
    own = identity.load(folder / "identity")
    settings = MetricsConfig(listen="127.0.0.1:0", tls="server", token_file="token")
    return MetricsPort(settings, folder, identity=lambda: own, admit=lambda _: None, collect=list)
