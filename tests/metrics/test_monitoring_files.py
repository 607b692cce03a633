"""The files of examples/monitoring by Prometheus' own judgement, and that what they ask for exists."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fleet_scrapes import (
    COORDINATOR_NAME,
    MONITORING,
    WAIT_S,
    Scrape,
    Watched,
    dashboard,
    dashboard_expressions,
    metrics_in,
    promtool,
    recipes,
    rule_expressions,
    tool,
)

from heliotrope.cli.demo.fleet import free_port

RESERVED = {"heliotrope_ledger_chain_broken"}  # the rule waits for it


@pytest.fixture(scope="session")
def settings(watched: Watched, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example's folder with a real observer's identity and this fleet's addresses."""
    folder = tmp_path_factory.mktemp("monitoring")
    for name in ("prometheus.yml", "rules.yml", "rules_test.yml"):
        shutil.copy(MONITORING / name, folder)
    shutil.copytree(watched.fleet.folder / "identities" / "prometheus", folder / "observer")
    targets = {name: urllib.parse.urlsplit(url).netloc for name, url in watched.urls.items()}
    text = (folder / "prometheus.yml").read_text()
    text = text.replace("coordinator.example.com:7441", targets["coordinator"]).replace("15s", "1s")
    text = text.replace('"node-a.example.com:7444", "node-b.example.com:7444"', f'"{targets["b"]}"')
    # Node b wants a token besides TLS: an agent with tls = "mutual" needs the file as it is.
    token = f"    authorization:\n      credentials_file: {watched.fleet.folder / 'token'}\n"
    text = text.replace("  - job_name: heliotrope-agent\n", f"  - job_name: heliotrope-agent\n{token}")
    (folder / "prometheus.yml").write_text(text)
    return folder


def test_the_configuration_is_one(settings: Path) -> None:
    assert COORDINATOR_NAME in (MONITORING / "prometheus.yml").read_text()
    done = promtool("check", "config", "prometheus.yml", cwd=settings)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_fires_when_it_should() -> None:
    done = promtool("test", "rules", "rules_test.yml", cwd=MONITORING)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_changed_threshold_is_noticed(tmp_path: Path) -> None:
    """The unit tests hold the rules: one that never fires fails them."""
    shutil.copy(MONITORING / "rules_test.yml", tmp_path)
    text = (MONITORING / "rules.yml").read_text()
    (tmp_path / "rules.yml").write_text(text.replace("_seconds > 120", "_seconds > 100000"))
    done = promtool("test", "rules", "rules_test.yml", cwd=tmp_path)
    assert done.returncode and "HeliotropeAgentSilent" in done.stdout + done.stderr


def test_every_alert_has_a_test_that_fires_and_one_that_does_not() -> None:
    text = (MONITORING / "rules_test.yml").read_text()
    silent = set(re.findall(r"alertname: (\w+), exp_alerts: \[\]", text))
    firing = set(re.findall(r"alertname: (\w+)\n\s+exp_alerts:\n", text))
    assert set(rule_expressions()) == silent == firing and len(firing) > 15


def test_every_metric_asked_for_exists(scrapes: dict[str, Scrape]) -> None:
    expressions = [*rule_expressions().values(), *dashboard_expressions(), *recipes()]
    asked = {name for expression in expressions for name in metrics_in(expression)}
    shown = {name for scrape in scrapes.values() for name in scrape.series}
    assert len(asked) > 40 and asked - shown == RESERVED


def test_the_dashboard_is_whole() -> None:
    found = dashboard()
    numbers = [panel["id"] for panel in found["panels"]]
    assert len(set(numbers)) == len(numbers) and found["uid"] == "heliotrope"
    places = [panel["gridPos"] for panel in found["panels"]]
    assert all(place["x"] + place["w"] <= 24 for place in places)
    cells = [(x, y) for p in places for x in range(p["x"], p["x"] + p["w"]) for y in range(p["y"], p["y"] + p["h"])]
    assert len(set(cells)) == len(cells)  # no panel lies upon another
    variables = {variable["name"] for variable in found["templating"]["list"]}
    used = set(re.findall(r"\$\{?(\w+)", json.dumps(found["panels"]))) - {"__rate_interval"}
    assert used <= variables


class Server:
    """A real Prometheus that scrapes the fleet."""

    def __init__(self, folder: Path) -> None:
        self.address = f"127.0.0.1:{free_port()}"
        flags = ["--config.file=prometheus.yml", f"--storage.tsdb.path={folder / 'data'}"]
        with (folder / "log").open("wb") as log:
            self.process = subprocess.Popen(
                [tool("prometheus"), *flags, f"--web.listen-address={self.address}"], cwd=folder, stdout=log, stderr=log
            )

    def get(self, path: str, **query: str) -> Any:
        url = f"http://{self.address}/api/v1/{path}?{urllib.parse.urlencode(query)}"
        with urllib.request.urlopen(url, timeout=10) as answer:
            return json.load(answer)["data"]

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Raises urllib.error.HTTPError for an expression that it does not understand."""
        result: list[dict[str, Any]] = self.get("query", query=expression)["result"]
        return result


@pytest.fixture(scope="session")
def server(settings: Path) -> Iterator[Server]:
    """Once it has scraped the coordinator by mutual TLS and node b by TLS and token."""
    made = Server(settings)
    try:
        deadline_s = time.monotonic() + WAIT_S
        while True:
            try:
                if len(made.query('up{job=~"heliotrope-.*"} == 1')) == 2:
                    break
            except OSError:
                assert made.process.poll() is None, (settings / "log").read_text()
            assert time.monotonic() < deadline_s, (settings / "log").read_text()
            time.sleep(0.2)
        yield made
    finally:
        made.process.terminate()
        made.process.wait(20)


def test_prometheus_understands_every_expression(server: Server) -> None:
    assert len(recipes()) > 5
    for expression in [*dashboard_expressions(), *rule_expressions().values(), *recipes()]:
        server.query(expression)
    with pytest.raises(urllib.error.HTTPError):
        server.query("sum by (")


def test_prometheus_gets_figures(server: Server) -> None:
    """Gauges of both scrapes, and the alerts as it holds them: none is broken."""
    assert server.query("sum(heliotrope_fleet_nodes{state='connected'})")[0]["value"][1] == "2"
    assert server.query('heliotrope_device_power_watts{device="GPU-0"}')
    groups = server.get("rules")["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    assert {rule["name"] for rule in rules} == set(rule_expressions())
    assert not [rule["lastError"] for rule in rules if rule.get("lastError")]
