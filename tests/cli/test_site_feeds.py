"""`heliotrope replay` in a process of its own, a coordinator that is fed by it, and what `site show` says of that."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from heliotrope.foundation import authority, errors
from heliotrope.foundation.identity import Role

from .conftest import START_TIMEOUT_S, Heliotrope

CONFIG = """
identity = "hub"
state_dir = "state"
listen = "127.0.0.1:0"

[[sites]]
name = "north"
latitude = 52.0
longitude = 13.0
scope = "life-cycle"
window = {{ rule = "intensity_below", threshold = 350.0 }}
feeds.intensity = {{ provider = "electricitymaps", zone = "DE", key_file = "key", url = "{base}/electricitymaps/v3" }}
feeds.renewable = {{ provider = "uk_carbon_intensity", url = "{base}/uk" }}

[sites.demand_response]
vtn_url = "{base}/openadr3"
client_id = "me"
secret_file = "key"
"""


@contextmanager
def running(log: Path, ready: str, *arguments: str) -> Iterator[str]:
    """A verb in a process of its own; yields what ``ready`` finds in its output."""
    command = [sys.executable, "-u", "-m", "heliotrope.cli", *arguments]
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        try:
            yield wait_for(process, log, ready)
            process.send_signal(signal.SIGTERM)
            process.wait(30)
        finally:
            process.kill()
            process.wait()


def wait_for(process: subprocess.Popen[bytes], log: Path, ready: str) -> str:
    deadline_s = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline_s and process.poll() is None:
        found = re.search(ready, log.read_text())
        if found is not None:
            return found[1]
        time.sleep(0.02)
    raise AssertionError(log.read_text())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Traces of three days around 2023-06-02, events of today, a key, identities."""
    lines = ["datetime_utc,DE,GB"]
    for hour in range(72):
        stamp = (datetime(2023, 6, 1) + timedelta(hours=hour)).isoformat(sep=" ")
        lines.append(f"{stamp},{300 + hour},{20 + hour / 10}")
    (tmp_path / "trace.csv").write_text("\n".join(lines) + "\n")
    shares = [line.split(",") for line in lines]
    (tmp_path / "shares.csv").write_text("".join(f"{line[0]},{line[2]}\n" for line in shares))
    start = datetime.now(UTC) - timedelta(minutes=1)
    event = {
        "programID": "p",
        "eventName": "evening peak",
        "intervalPeriod": {"start": start.isoformat(), "duration": "PT2H"},
        "intervals": [{"id": 0, "payloads": [{"type": "IMPORT_CAPACITY_LIMIT", "values": [12.5]}]}],
    }
    (tmp_path / "events.json").write_text(json.dumps([event]))
    (tmp_path / "key").write_text("replay\n")
    (tmp_path / "key").chmod(0o600)
    ca = authority.create(tmp_path / "ca", "lab")
    ca.issue(Role.COORDINATOR, "hub").save(tmp_path / "hub")
    ca.issue(Role.OPERATOR, "me").save(tmp_path / "me")
    return tmp_path


def test_a_coordinator_is_fed_and_says_what_it_knows(heliotrope: Heliotrope, folder: Path) -> None:
    trace = str(folder / "trace.csv")
    serve = [
        "replay",
        "--intensity",
        trace,
        "--renewable",
        f"{folder}/shares.csv:percent",
        "--as-of",
        "2023-06-02T06:00Z",
    ]
    serve += ["--events", str(folder / "events.json"), "--listen", "127.0.0.1:0"]
    with running(folder / "replay.log", r"replaying on (http://\S+);", *serve) as base:
        config = folder / "coordinator.toml"
        config.write_text(CONFIG.format(base=base))
        assert heliotrope("coordinator", "--config", config, "--check").code == 0
        with running(folder / "hub.log", r"ready on (\S+)", "coordinator", "--config", str(config)) as address:
            target = ("--coordinator", address, "--identity", folder / "me")
            site = fed(heliotrope, target)
            by_field = {feed["field"]: feed for feed in site["feeds"]}
            assert by_field["intensity"]["source"] == "electricitymaps:DE"
            assert (by_field["intensity"]["kind"], by_field["intensity"]["scope"]) == ("average", "life-cycle")
            assert by_field["renewable"]["unit"] == "ratio" and not by_field["renewable"]["stale"]
            assert site["intensity_g_per_kwh"] in (330.0, 331.0)  # the hour may end while the test runs
            assert site["power_limit_w"] == 12_500.0 and site["window_remaining_s"] > 3600
            text = heliotrope("site", "show", "north", *target).out
            assert "electricitymaps:DE" in text and "12.5 kW" in text and "evening peak" in text
            shown = "".join(path.read_text() for path in folder.glob("*.log"))
            assert "Traceback" not in shown
        # Started again while the service fails: what the cache holds is still fresh.
        httpx.post(f"{base}/replay/faults", json=["500"], trust_env=False).raise_for_status()
        with running(folder / "hub2.log", r"ready on (\S+)", "coordinator", "--config", str(config)) as address:
            again = fed(heliotrope, ("--coordinator", address, "--identity", folder / "me"))
            assert again["intensity_g_per_kwh"] == pytest.approx(site["intensity_g_per_kwh"], abs=1)
            assert again["power_limit_w"] == 12_500.0


def fed(heliotrope: Heliotrope, target: tuple[str | Path, ...]) -> dict[str, Any]:
    """The site once all its feeds and its VTN were asked."""
    deadline_s = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline_s:
        found: dict[str, Any] = heliotrope("site", "show", "north", "--json", *target).value
        feeds = found["feeds"]
        if found["power_limits"] and len(feeds) == 2 and all(feed["issued_utc"] for feed in feeds):
            return found
        time.sleep(0.1)
    raise AssertionError(found)


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        (('key_file = "key"', 'key_file = "none"'), errors.NotFound, "site north: cannot read .*none"),
        (('zone = "DE", ', ""), errors.InvalidInput, r"field sites\[0\].feeds.intensity.zone: required but"),
        (('"electricitymaps"', '"elmaps"'), errors.InvalidInput, "feeds.intensity.provider"),
        (('"life-cycle"', '"direct"\nkind = "marginal"'), errors.InvalidInput, 'field kind: .* set kind = "average"'),
        (
            ("feeds.renewable =", "feeds.price ="),
            errors.InvalidInput,
            "field feeds.price.provider: uk_carbon_intensity gives intensity, renewable, not price",
        ),
        (("latitude", "grid_intensity_g_per_kwh = 3.0\nlatitude"), errors.InvalidInput, "feeds.intensity: .* keep one"),
        (('url = "http://127', 'url = "http://example'), errors.InvalidInput, "secret over http in the clear"),
        (('client_id = "me"', ""), errors.InvalidInput, "field demand_response.client_id"),
        (
            ("[[sites]]", '[trace]\nstart = "2023-06-01T00:00Z"\n[[sites]]'),
            errors.InvalidInput,
            "field trace: site north",
        ),
    ],
)
def test_a_wrong_configuration_names_site_and_field(
    heliotrope: Heliotrope, folder: Path, change: tuple[str, str], error: type[errors.HeliotropeError], words: str
) -> None:
    config = folder / "coordinator.toml"
    text = CONFIG.format(base="http://127.0.0.1:1").replace(*change)
    assert text != CONFIG.format(base="http://127.0.0.1:1")
    config.write_text(text)
    done = heliotrope("coordinator", "--config", config, "--check")
    assert done.code == error.exit_code
    with pytest.raises(AssertionError, match=words):
        raise AssertionError(done.err)


def test_a_secret_that_others_can_read_is_refused(heliotrope: Heliotrope, folder: Path) -> None:
    (folder / "key").chmod(0o644)
    config = folder / "coordinator.toml"
    config.write_text(CONFIG.format(base="http://127.0.0.1:1"))
    done = heliotrope("coordinator", "--config", config, "--check")
    assert done.code == errors.Denied.exit_code and "chmod 0600" in done.err


def test_a_secret_from_systemd(heliotrope: Heliotrope, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = folder / "coordinator.toml"
    named = CONFIG.format(base="http://127.0.0.1:1").replace('key_file = "key"', 'key_file = "credential:em"')
    config.write_text(named)
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    done = heliotrope("coordinator", "--config", config, "--check")
    assert done.code == errors.NotFound.exit_code and "LoadCredential=em:FILE" in done.err
    (folder / "credentials").mkdir()
    (folder / "credentials" / "em").write_text("abc\n")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(folder / "credentials"))
    assert heliotrope("coordinator", "--config", config, "--check").code == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--fault", "dance"], "field fault: 'dance'"),
        (["--intensity", "trace.csv:furlong"], "field --intensity: 'furlong' is no unit"),
        (["--intensity", "none.csv"], "none.csv"),
        (["--zone", "DE"], "field --zone"),
        (["--as-of", "yesterday"], "field --as-of"),
        (["--events", "none.json"], "field --events"),
        (["--listen", "here"], "field --listen"),
    ],
)
def test_a_replay_that_cannot_be(
    heliotrope: Heliotrope, folder: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], words: str
) -> None:
    monkeypatch.chdir(folder)
    done = heliotrope("replay", *arguments)
    assert done.code in (errors.InvalidInput.exit_code, errors.NotFound.exit_code) and words in done.err
