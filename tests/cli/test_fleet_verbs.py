"""Sites, nodes, migrations, decisions and reports of a real coordinator without nodes."""

from __future__ import annotations

import csv
import io
from typing import Any

import pytest

from heliotrope.cli import messages
from heliotrope.foundation import errors
from heliotrope.v1 import operator_pb2 as pb

from .conftest import Heliotrope

Job = dict[str, Any]


def test_sites_and_their_windows(ask: Heliotrope) -> None:
    sites = {one["name"]: one for one in ask("site", "list", "--json").value}
    assert set(sites) == {"valley", "mine", "desert"}
    assert all(tuple(one) == messages.names(pb.Site) for one in sites.values())
    assert sites["valley"]["window_remaining_s"] > 0 and sites["valley"]["intensity_g_per_kwh"] == 30.0
    assert sites["mine"]["window_remaining_s"] is None and sites["mine"]["renewable_ratio"] == 0.1
    # The sun rises every day at this latitude: a window is open, or one comes within a day.
    desert = sites["desert"]
    assert desert["window_remaining_s"] or 0 < desert["next_window_in_s"] <= 86_400
    lines = {line.split()[0]: line for line in ask("site", "list").out.splitlines()}
    assert "open for" in lines["valley"] and "closed" in lines["mine"]


def test_one_site_with_its_links(ask: Heliotrope) -> None:
    links = {one["destination_site"]: one for one in ask("site", "show", "valley", "--json").value["links"]}
    assert links["mine"]["bandwidth_bytes_per_s"] == 1e6 and links["mine"]["bandwidth_source"] == "declared"
    assert "1 MB/s" in ask("site", "show", "mine").out  # declared for both ways
    missing = ask("site", "show", "moon")
    assert missing.code == errors.NotFound.exit_code and "desert, mine, valley" in missing.err


def test_nodes(ask: Heliotrope) -> None:
    assert ask("node", "list", "--json").value == []
    assert ask("node", "list").out == "no node has connected yet\n"
    verbs = (
        ["show"],
        ["drain"],
        ["drain", "--off"],
        ["drain", "--monitor"],
        ["undrain"],
        ["forget", "--yes"],
        ["readmit"],
    )
    for verb in ([name, "n1", *options] for name, *options in verbs):
        done = ask("node", *verb)
        assert done.code == errors.NotFound.exit_code and "n1" in done.err
    unsure = ask("node", "forget", "n1")
    assert unsure.code == errors.InvalidInput.exit_code and "--yes" in unsure.err
    for contradiction in (["--off", "--message", "x"], ["--off", "--monitor"], ["--deadline", "1m", "--no-deadline"]):
        assert ask("node", "drain", "n1", *contradiction).code == errors.InvalidInput.exit_code
    wrong = ask("node", "drain", "n1", "--deadline", "soon")
    assert wrong.code == errors.InvalidInput.exit_code and "30m" in wrong.err


def test_migrations(ask: Heliotrope, submitted: Job) -> None:
    assert ask("migration", "list", "--job", submitted["job_id"], "--json").value == []
    assert ask("migration", "list").out == "no migrations yet\n"
    for follow in ([], ["--follow"]):
        done = ask("migration", "show", "m-none", *follow)
        assert done.code == errors.NotFound.exit_code and "m-none" in done.err


def test_why_a_job_waits(ask: Heliotrope, submitted: Job) -> None:
    job = ask("job", "show", submitted["job_id"], "--json").value
    assert job["waiting"]["binding"] == "capacity" and len(job["waiting"]["sites"]) == 3
    shown = ask("job", "show", submitted["job_id"]).out
    assert all(site in shown for site in ("valley", "mine", "desert")) and "no node there is free" in shown
    assert any("capacity" in line for line in ask("job", "list").out.splitlines() if submitted["job_id"] in line)
    explained = ask("decision", "explain", submitted["job_id"])
    assert explained.code == 0 and f"none {submitted['spec']['name']}" in explained.out
    assert all(site in explained.out for site in ("valley", "mine", "desert"))
    decision = ask("decision", "explain", submitted["job_id"], "--json").value
    assert set(decision) == {*messages.names(pb.Decision), "record"} - {"record_json"}
    assert (decision["action"], decision["job_id"]) == ("none", submitted["job_id"])
    assert decision["record"]["job_id"] == submitted["job_id"]
    assert decision["record"]["rejected"] and decision["repeat_count"] >= 1
    assert ask("decision", "explain", decision["decision_id"], "--json").value["text"] == decision["text"]
    listed = ask("decision", "list", "--job", submitted["job_id"], "--json").value
    assert [one["decision_id"] for one in listed] == [decision["decision_id"]]
    assert decision["decision_id"] in ask("decision", "list").out
    assert ask("decision", "explain", "nobody").code == errors.NotFound.exit_code


def test_a_decision_says_when(ask: Heliotrope, submitted: Job) -> None:
    decision = ask("decision", "explain", submitted["job_id"], "--json").value
    assert decision["utc"] >= submitted["submitted_utc"]


def test_a_report_of_a_job_that_never_ran(ask: Heliotrope, submitted: Job) -> None:
    report = ask("report", "--job", submitted["job_id"], "--json").value
    assert tuple(report) == messages.names(pb.Report)
    (row,) = report["rows"]
    assert tuple(row) == messages.names(pb.ReportRow)
    assert (row["kind"], row["name"], row["energy_j"], row["runtime_s"]) == ("job", submitted["job_id"], 0.0, 0.0)
    assert report["start_utc"] is None and report["end_utc"]
    table = ask("report", "--job", submitted["job_id"])
    assert submitted["spec"]["name"] in table.out and "unknown" in table.out


def test_a_report_as_csv(ask: Heliotrope, submitted: Job) -> None:
    rows = list(csv.DictReader(io.StringIO(ask("report", "--job", submitted["job_id"], "--csv").out)))
    assert set(rows[0]) == set(messages.names(pb.ReportRow))
    assert (rows[0]["kind"], rows[0]["estimated"], float(rows[0]["energy_j"])) == ("job", "false", 0.0)


def test_a_report_of_a_span(ask: Heliotrope) -> None:
    span = ("--since", "2026-01-01T00:00:00Z", "--until", "2026-01-01T02:00:00+01:00")
    report = ask("report", *span, "--json").value
    assert (report["start_utc"], report["end_utc"]) == ("2026-01-01T00:00:00Z", "2026-01-01T01:00:00Z")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--since", "yesterday"], "--from"),
        (["--until", "2026-01-01T00:00:00"], "no time zone"),
        (["--since", "2026-01-02T00:00:00Z", "--until", "2026-01-01T00:00:00Z"], "is not after"),
        (["--csv", "--json"], "excludes"),
    ],
)
def test_bad_report_arguments(ask: Heliotrope, arguments: list[str], text: str) -> None:
    done = ask("report", *arguments)
    assert done.code == errors.InvalidInput.exit_code and text in done.err
