"""The ledger of a real coordinator that agents' sessions filled: exported, verified, reported by the real command."""

from __future__ import annotations

import csv
import io
import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import grpc
import pytest

from heliotrope.cli.ledger import CSV_COLUMNS
from heliotrope.foundation import authority, errors, identity, tls
from heliotrope.foundation.identity import Role
from heliotrope.v1 import fleet_pb2 as pb
from heliotrope.v1 import fleet_pb2_grpc

from .conftest import SITES, Done, Heliotrope, LiveFleet, _address

# Long ago, so that its intervals are over; in two hours, so that there is something to match by the hour.
BEGIN_UTC = (datetime.now(UTC) - timedelta(days=2)).replace(minute=50, second=0, microsecond=0)
BATCHES = 120
LEDGER = """
[ledger]
grace_s = 0.0

[[embodied]]
device = "GPU-*"
embodied_kg = 150.0
lifetime_years = 4.0
source = "made up for the test"
"""


@pytest.fixture(scope="module")
def booked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveFleet]:
    folder = tmp_path_factory.mktemp("booked")
    ca = authority.create(folder / "ca", "lab")
    for role, name in (
        (Role.COORDINATOR, "main"),
        (Role.OBSERVER, "olga"),
        (Role.AGENT, "node1"),
        (Role.AGENT, "node2"),
    ):
        ca.issue(role, name).save(folder / f"identity-{name}")
    config = folder / "coordinator.toml"
    head = 'identity = "identity-main"\nstate_dir = "state"\nlisten = "127.0.0.1:0"\n'
    config.write_text(head + SITES + LEDGER)
    log = folder / "coordinator.log"
    command = [sys.executable, "-m", "heliotrope.cli", "coordinator", "--config", str(config)]
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        try:
            fleet = LiveFleet(folder, _address(process, log))
            for node, site in (("node1", "valley"), ("node2", "desert")):  # at night a desert's grid is unknown
                send(fleet, node, site)
            yield fleet
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                assert process.wait(20) == 0, log.read_text()
            finally:
                process.kill()


def send(fleet: LiveFleet, node: str, site: str) -> None:
    """An agent's session: hello, two hours of energy, until all of it is acknowledged."""
    own = identity.load(fleet.identity(node))
    with tls.grpc_channel(fleet.address, own, (("grpc.enable_http_proxy", 0),)) as channel:
        messages = [pb.AgentMessage(hello=pb.Hello(site=site, spool_id="spool", instance_id=node))]
        messages[0].hello.versions.protocol.append(1)
        messages += [pb.AgentMessage(energy_batch=batch(number)) for number in range(BATCHES)]
        for answer in fleet_pb2_grpc.FleetServiceStub(channel).Session(_held(messages)):
            if answer.acknowledgement.spool_sequence == BATCHES:
                return


def _held(messages: list[pb.AgentMessage]) -> Iterator[pb.AgentMessage]:
    """A stream that stays open: the answers are what is waited for."""
    yield from messages
    while True:
        time.sleep(0.2)
        yield pb.AgentMessage(heartbeat=pb.Heartbeat())


def batch(number: int) -> pb.EnergyBatch:
    made = pb.EnergyBatch(spool_id="spool", sequence=number + 1)
    made.start.FromDatetime(BEGIN_UTC + timedelta(minutes=number))
    made.end.FromDatetime(BEGIN_UTC + timedelta(minutes=number + 1))
    made.devices.add(device="GPU-1", source="nvml", scope="gpu", energy_j=20_000.0, coverage_ratio=1.0)
    made.shares.add(device="GPU-1", job_id="j-<b>&", energy_j=15_000.0, rule="sm")
    made.shares.add(device="GPU-1", job_id="", energy_j=5_000.0, rule="idle")
    return made


@pytest.fixture
def look(booked: LiveFleet, heliotrope: Heliotrope) -> Heliotrope:
    def run(*arguments: str | Path) -> Done:
        return heliotrope(*arguments, "--coordinator", booked.address, "--identity", booked.identity("olga"))

    return run


@pytest.fixture
def exported(look: Heliotrope, tmp_path: Path) -> Path:
    """Once all intervals are closed."""
    path = tmp_path / "books.jsonl"
    deadline_s = time.monotonic() + 60
    while time.monotonic() < deadline_s:
        done = look("ledger", "export", "-o", path, "--force")
        assert done.code == 0, done.err
        energy_uj = sum(
            line["entry"]["energy_uj"] for line in map(json.loads, path.read_text().splitlines()) if "entry" in line
        )
        if energy_uj == 2 * BATCHES * 20_000 * 10**6:
            return path
    raise AssertionError(f"the intervals were not closed: {energy_uj}")


def test_the_chains_are_verified_with_the_coordinator_and_without(
    look: Heliotrope, heliotrope: Heliotrope, exported: Path, booked: LiveFleet
) -> None:
    result = look("ledger", "verify", "--json").value
    assert (result["problem"], result["trusted"], result["fleet"]) == ("", True, "lab")
    assert [chain["node_id"] for chain in result["chains"]] == ["node1", "node2"]
    assert all(chain["signed_sequence"] == chain["entry_count"] > 0 for chain in result["chains"])
    offline = heliotrope("ledger", "verify", "--export", exported, "--ca", booked.folder / "ca" / "ca.crt")
    assert offline.code == 0 and "are unbroken" in offline.out and "unchecked" not in offline.out
    assert "unchecked origin" in heliotrope("ledger", "verify", "--export", exported).out
    assert look("ledger", "verify", "--against", exported).code == 0
    one = heliotrope("ledger", "verify", "--export", exported, "--node", "node2", "--json").value
    assert [chain["node_id"] for chain in one["chains"]] == ["node2"]
    table = look("ledger", "verify", "--node", "node1").out
    assert "node1" in table and "node2" not in table


def test_the_first_broken_entry_is_named(heliotrope: Heliotrope, exported: Path) -> None:
    lines = exported.read_text().splitlines()
    place = next(n for n, line in enumerate(lines) if '"node_id":"node2","' in line and '"sequence":5,' in line)
    lines[place] = lines[place].replace('"job_id":""', '"job_id":"x"')
    exported.write_text("\n".join(lines) + "\n")
    done = heliotrope("ledger", "verify", "--export", exported)
    assert done.code == errors.Corrupt.exit_code and "entry 5 of node node2" in done.err
    result = heliotrope("ledger", "verify", "--export", exported, "--json")
    found = json.loads(result.out)
    assert (result.code, found["broken_node"], found["broken_sequence"]) == (8, "node2", 5)


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        (["ledger", "verify", "--node", "nobody"], errors.NotFound, "nobody"),
        (["ledger", "verify", "--export", "missing.jsonl"], errors.NotFound, "missing.jsonl"),
        (["ledger", "export", "-o", "/"], errors.InvalidInput, "--out"),
        (["report", "-o", "x.txt"], errors.InvalidInput, "--format"),
        (["report", "--format", "html", "--json"], errors.InvalidInput, "excludes"),
    ],
)
def test_wrong_requests(look: Heliotrope, arguments: list[str], error: type[errors.HeliotropeError], text: str) -> None:
    done = look(*arguments)
    assert done.code == error.exit_code and text in done.err


def test_the_ledger_as_csv(look: Heliotrope, exported: Path) -> None:
    rows = list(csv.DictReader(io.StringIO(look("ledger", "export", "--node", "node1", "--format", "csv").out)))
    assert tuple(rows[0]) == CSV_COLUMNS
    assert sum(int(row["energy_uj"]) for row in rows) == BATCHES * 20_000 * 10**6
    assert {row["kind"] for row in rows} == {"late"} and {row["corrects"] for row in rows} == {""}


def test_the_readme_of_the_format_is_enough_to_check_it(exported: Path, tmp_path: Path) -> None:
    """docs/ledger.md's few lines of Python, as they stand there."""
    document = (Path(__file__).parents[2] / "docs" / "ledger.md").read_text(encoding="utf-8")
    (program,) = re.findall(r"```python\n(.*?)```", document, re.DOTALL)
    run = [sys.executable, "-c", program]
    assert subprocess.run(run, cwd=exported.parent, check=False).returncode == 0
    text = exported.read_text()
    exported.write_text(text.replace('"energy_uj":75000000000', '"energy_uj":75000000001', 1))
    assert text != exported.read_text()
    assert subprocess.run(run, cwd=exported.parent, check=False, stderr=subprocess.DEVNULL).returncode == 1


def test_the_report_of_what_was_booked(look: Heliotrope, exported: Path) -> None:
    report = look("report", "--json").value
    rows = {(row["kind"], row["name"]): row for row in report["rows"]}
    valley = rows["site", "valley"]
    assert (valley["energy_j"], valley["renewable_ratio"], valley["open_energy_j"]) == (BATCHES * 20_000.0, 0.9, 0.0)
    assert valley["reserved_s"] == BATCHES * 60 and valley["embodied_g"] > 0
    assert rows["fleet", "lab"]["energy_j"] == 2 * valley["energy_j"]
    assert len([row for row in report["rows"] if row["kind"] == "day"]) in (1, 2)
    assert sum(point["energy_j"] for point in report["points"]) == 2 * valley["energy_j"]
    assert {row["kind"] for row in look("report", "--by", "node", "--by", "day", "--json").value["rows"]} == {
        "node",
        "day",
    }
    end = (BEGIN_UTC + timedelta(minutes=10)).isoformat()
    first = look("report", "--by", "node", "--to", end, "--json").value["rows"]
    assert [row["energy_j"] for row in first] == [200_000.0, 200_000.0]


class Page(HTMLParser):
    """What is in a page: its elements, and whether each that was opened is closed."""

    VOID = ("meta", "br", "img", "link", "input", "rect", "line", "circle")

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in self.VOID[:5]:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_needs_nothing_else_and_shows_unknown(look: Heliotrope, exported: Path, tmp_path: Path) -> None:
    out = tmp_path / "report.html"
    assert look("report", "--format", "html", "-o", out).code == 0
    text = out.read_text(encoding="utf-8")
    page = Page()
    page.feed(text)
    assert page.open == []
    assert not re.search(r"<script|src=|href=|url\(|@import|javascript:", text), "nothing is fetched or run"
    assert text.count("http://") == text.count('xmlns="http://www.w3.org/2000/svg"') == 3
    svgs = [attributes for tag, attributes in page.seen if tag == "svg"]
    assert all(one["role"] == "img" and one["aria-label"] for one in svgs)
    assert ("html", {"lang": "en"}) in page.seen and "prefers-color-scheme: dark" in text
    assert all(attributes.get("scope") in ("row", "col") for tag, attributes in page.seen if tag == "th")
    assert "unknown" in page.text and "valley" in page.text


def test_a_stream_is_refused_to_who_may_not_read(booked: LiveFleet) -> None:
    own = identity.load(booked.identity("node1"))
    with tls.grpc_channel(booked.address, own, (("grpc.enable_http_proxy", 0),)) as channel:
        ask: Any = channel.unary_stream("/heliotrope.v1.OperatorService/ExportLedger")
        with pytest.raises(grpc.RpcError) as refused:
            list(ask(b""))
    assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED
