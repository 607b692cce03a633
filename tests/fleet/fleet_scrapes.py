"""A fleet that is scraped, and what the scrapes hold."""

from __future__ import annotations

import json
import re
import shutil
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from heliotrope.cli.demo.fleet import LocalFleet
from heliotrope.foundation import identity
from heliotrope.foundation.authority import COORDINATOR_HOST

ROOT = Path(__file__).resolve().parents[2]
MONITORING = ROOT / "examples" / "monitoring"
TOKEN = "0123456789abcdef-a-token"
WAIT_S = 60.0

Labels = dict[str, str]


@dataclass
class Scrape:
    """One answer, parsed by the library's parser. ``series``: name -> its (labels, value)."""

    text: str
    series: dict[str, list[tuple[Labels, float]]] = field(default_factory=dict)
    types: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for family in text_string_to_metric_families(self.text):
            self.types[family.name] = family.type
            for sample in family.samples:
                self.series.setdefault(sample.name, []).append((dict(sample.labels), sample.value))

    def values(self, name: str, **labels: str) -> list[float]:
        """Of all series of that name with these labels among theirs."""
        return [value for found, value in self.series.get(name, []) if labels.items() <= found.items()]

    def value(self, name: str, **labels: str) -> float:
        (found,) = self.values(name, **labels)
        return found


@dataclass
class Watched:
    """The fleet and how each of its members is scraped."""

    fleet: LocalFleet
    urls: dict[str, str]

    def open(self, member: str, *, who: str = "prometheus", token: str = TOKEN, path: str = "") -> str:
        """The raw answer of a scrape. Raises urllib.error.HTTPError, OSError."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        request = urllib.request.Request(self.urls[member] + path, headers=headers)
        with urllib.request.urlopen(request, timeout=20, context=self.context(who)) as answer:
            return str(answer.read().decode())

    def context(self, who: str) -> ssl.SSLContext:
        """A client's, with a member's certificate ("" for none)."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        folder = self.fleet.folder / "identities" / (who or "operator")
        context.load_verify_locations(folder / identity.CA_FILE)
        if who:
            context.load_cert_chain(folder / identity.CERTIFICATE_FILE, folder / identity.KEY_FILE)
        return context

    def scrape(self, member: str) -> Scrape:
        return Scrape(self.open(member))

    def until(self, member: str, suits: Callable[[Scrape], bool], what: str) -> Scrape:
        """The first scrape that suits."""
        deadline_s = time.monotonic() + WAIT_S
        while not suits(scrape := self.scrape(member)):
            assert time.monotonic() < deadline_s, f"no {what} of {member} in {WAIT_S} s:\n{scrape.text}"
            time.sleep(0.2)
        return scrape


def tool(name: str) -> str:
    """A program of Prometheus', or the test is skipped."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed (Debian, Ubuntu: apt install prometheus)")
    return found


def promtool(*arguments: str | Path, stdin: str = "", cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [tool("promtool"), *map(str, arguments)]
    return subprocess.run(command, input=stdin, capture_output=True, text=True, check=False, cwd=cwd)


def dashboard() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((MONITORING / "dashboard.json").read_text(encoding="utf-8"))
    return found


def dashboard_expressions() -> list[str]:
    """With Grafana's variables filled in, as it would before asking."""
    texts = [target["expr"] for panel in dashboard()["panels"] for target in panel.get("targets", ())]
    return [text.replace("$__rate_interval", "1m").replace("$instance", ".*") for text in texts]


def rule_expressions() -> dict[str, str]:
    """Alert -> expression, both forms of YAML that the file uses."""
    text = (MONITORING / "rules.yml").read_text(encoding="utf-8")
    found = re.findall(r"- alert: (\w+)\n(?:\s+#[^\n]*\n)?\s+expr: (.*?)\n\s+(?:for|labels):", text, re.DOTALL)
    return {alert: " ".join(expression.removeprefix(">-").split()) for alert, expression in found}


def recipes() -> list[str]:
    """The queries of docs/metrics.md."""
    text = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
    section = text.split("| question | query |")[1].split("\n\n")[0]
    return re.findall(r"\| `(.+)` \|$", section, re.MULTILINE)


def metrics_in(expression: str) -> set[str]:
    return set(re.findall(r"\bheliotrope_\w+|\bprocess_\w+", expression))


HTTPError = urllib.error.HTTPError
COORDINATOR_NAME = COORDINATOR_HOST
