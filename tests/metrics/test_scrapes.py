"""What a real coordinator and real agents tell a scraper, and that every name of it is documented and well-formed."""

from __future__ import annotations

import re
import time

import psutil
import pytest
from fleet_scrapes import ROOT, Scrape, Watched, promtool

from heliotrope.agent.metrics import families as agent_families
from heliotrope.coordinator.metrics import families as coordinator_families
from heliotrope.foundation.metrics import Family, Kind

SIDES = {"coordinator": coordinator_families.FAMILIES, "a": agent_families.FAMILIES, "b": agent_families.FAMILIES}
# What this fleet need not have at the moment of the scrape: a fetch under way, energy that waits.
FLEETING = {family.name for family in agent_families.FAMILIES if family.name.startswith("heliotrope_job_transfer_")}
FLEETING |= {"heliotrope_spool_age_seconds"}
DOCUMENT = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("member", SIDES)
def test_promtool_accepts_the_scrape(scrapes: dict[str, Scrape], member: str) -> None:
    done = promtool("check", "metrics", stdin=scrapes[member].text)
    assert done.returncode == 0 and not done.stdout + done.stderr


def test_promtool_sees_a_bad_name() -> None:
    assert promtool("check", "metrics", stdin="# TYPE energy_kwh counter\nenergy_kwh 1\n").returncode


@pytest.mark.parametrize("member", SIDES)
def test_only_declared_families_are_shown(scrapes: dict[str, Scrape], member: str) -> None:
    declared = {family.name.removesuffix("_total"): family for family in SIDES[member]}
    for name, kind in scrapes[member].types.items():
        if not name.startswith("process_"):
            assert declared[name].kind.value == kind
    for name, found in scrapes[member].series.items():
        family = declared.get(re.sub(r"_(total|bucket|sum|count|created)$", "", name)) or declared.get(name)
        if family is not None:
            assert all(set(labels) - {"le"} == set(family.labels) for labels, _ in found)


def test_every_family_is_shown_somewhere(scrapes: dict[str, Scrape]) -> None:
    shown = {name for scrape in scrapes.values() for name in scrape.types}
    declared = {family.name.removesuffix("_total") for families in SIDES.values() for family in families}
    assert not declared - shown - FLEETING


def row(family: Family) -> str:
    name = f"`{family.name}`"
    labels = ", ".join(f"`{label}`" for label in family.labels)
    otel = f"`{family.otel}`" if family.otel else ""
    return f"| {name} | {family.kind.value} | {family.unit} | {labels} | {family.help} | {otel} |"


@pytest.mark.parametrize("side", ["agent", "coordinator"])
def test_the_document_lists_every_family(side: str) -> None:
    """Print ``row(family)`` for a new one."""
    section = DOCUMENT.split(f"## The {side}'s metrics")[1].split("\n## ")[0]
    families = agent_families.FAMILIES if side == "agent" else coordinator_families.FAMILIES
    assert [line for line in section.splitlines() if line.startswith("| `")] == [row(one) for one in families]


def test_names_follow_the_conventions() -> None:
    for family in {family for families in SIDES.values() for family in families}:
        assert family.name.endswith("_total") is (family.kind is Kind.COUNTER)
        assert "job" not in family.labels and "instance" not in family.labels  # Prometheus' own


def test_the_books_close_in_the_scrape(watched: Watched) -> None:
    """One scrape is one moment: jobs + idle + unattributed = the device, to the rounding of the sums."""
    scrape = watched.scrape("b")
    for labels, energy_j in scrape.series["heliotrope_device_energy_joules_total"]:
        device = labels["device"]
        parts = ("heliotrope_device_idle_energy_joules_total", "heliotrope_device_unattributed_energy_joules_total")
        booked_j = sum(scrape.value(part, device=device) for part in parts)
        booked_j += sum(scrape.values("heliotrope_job_energy_joules_total", device=device))
        assert booked_j == pytest.approx(energy_j, abs=1e-3)


def test_power_cap_and_held_gpu(scrapes: dict[str, Scrape]) -> None:
    scrape = scrapes["b"]
    assert scrape.value("heliotrope_power_cap_watts", device="GPU-0") == 300.0
    assert scrape.value("heliotrope_power_limit_watts", device="GPU-0") == 300.0
    assert 0 < scrape.value("heliotrope_power_cap_left_seconds", device="GPU-0") <= 1000
    assert scrape.value("heliotrope_device_power_watts", device="GPU-0") == pytest.approx(100, rel=0.2)
    (device,) = (labels for labels, _ in scrape.series["heliotrope_device_power_watts"] if labels["device"] == "GPU-0")
    assert (device["source"], device["scope"], device["estimated"]) == ("nvml", "gpu", "false")
    assert scrape.values("heliotrope_job_energy_joules_total", device="GPU-0", rule="holder")[0] > 0


def test_the_job_where_it_is(scrapes: dict[str, Scrape]) -> None:
    there, here = scrapes["a"], scrapes["b"]
    assert here.value("heliotrope_jobs", state="RUNNING") == 1 and not there.values("heliotrope_jobs", state="RUNNING")
    (info,) = (labels for labels, _ in here.series["heliotrope_job_info"])
    assert info["name"] == "tiny"
    assert 0 < here.value("heliotrope_job_lease_left_seconds", job_id=info["job_id"]) <= 60
    assert here.value("heliotrope_job_lease_seconds", job_id=info["job_id"]) == 60
    assert not there.values("heliotrope_job_lease_left_seconds")  # absent, not 0
    assert here.value("heliotrope_job_steps", job_id=info["job_id"]) >= 3


def test_the_move_is_counted_on_all_sides(scrapes: dict[str, Scrape]) -> None:
    hub, source, destination = scrapes["coordinator"], scrapes["a"], scrapes["b"]
    assert hub.value("heliotrope_migrations_total", kind="MOVE", result="COMMITTED") == 1
    assert hub.value("heliotrope_standstill_seconds_count") == 1 and hub.value("heliotrope_standstill_seconds_sum") > 0
    assert source.value("heliotrope_transfer_sent_bytes_total") > 0
    assert destination.value("heliotrope_transfer_received_wire_bytes_total") > 0
    assert destination.value("heliotrope_transfers_received_total", result="done") >= 1
    assert hub.value("heliotrope_command_round_trip_seconds_count", order="Quiesce", result="done") >= 1
    assert hub.value("heliotrope_decisions_total", action="place", binding="ok") == 1
    assert sum(hub.values("heliotrope_fleet_jobs_unplaced")) == 1


def test_the_coordinator_sees_its_fleet(scrapes: dict[str, Scrape]) -> None:
    hub = scrapes["coordinator"]
    assert hub.values("heliotrope_fleet_nodes", state="connected") == [1, 1]
    assert hub.value("heliotrope_sessions") == 2
    assert hub.value("heliotrope_site_carbon_intensity_grams_per_joule", site="west") == pytest.approx(300 / 3.6e6)
    assert hub.value("heliotrope_site_energy_joules_total", site="east") > 0
    left_s = hub.value("heliotrope_forecast_left_seconds", site="west", series="intensity")
    assert 70 * 3600 < left_s <= 72 * 3600
    assert not hub.values("heliotrope_forecast_left_seconds", site="east")  # a declared figure has no end
    assert hub.value("heliotrope_database_commit_seconds_count") > 0


@pytest.mark.parametrize("member", SIDES)
def test_it_knows_its_own_process(watched: Watched, member: str) -> None:
    process = watched.fleet.members[member].process
    assert process is not None
    scrape, own = watched.scrape(member), psutil.Process(process.pid)
    assert scrape.value("process_start_time_seconds") == pytest.approx(own.create_time(), abs=2)
    name = "coordinator" if member == "coordinator" else "agent"
    pss_bytes = own.memory_full_info().pss
    assert scrape.value("heliotrope_own_memory_pss_bytes", process=name) == pytest.approx(pss_bytes, rel=0.3)
    expires_s = scrape.value("heliotrope_certificate_not_after_timestamp_seconds", certificate="own")
    assert expires_s > time.time()
