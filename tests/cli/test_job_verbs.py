"""``heliotrope job`` against a real coordinator without nodes: submitted, listed, paused, resumed, cancelled."""

from __future__ import annotations

import tarfile
from pathlib import Path
from typing import Any

import pytest
from blake3 import blake3

from heliotrope.cli import messages
from heliotrope.foundation import errors
from heliotrope.v1 import operator_pb2 as pb

from .conftest import Heliotrope, LiveFleet

Job = dict[str, Any]


def test_submit_prints_the_job_with_every_key(submitted: Job) -> None:
    assert tuple(submitted) == messages.names(pb.Job)
    assert submitted["state"] == "PENDING" and submitted["wanted"] == "run"
    assert submitted["spec"]["command"] == ["python3", "train.py"]
    assert submitted["spec"]["policy"]["grace_s"] == 30.0
    assert submitted["exit_code"] is None and submitted["started_utc"] is None
    assert submitted["submitted_utc"].endswith("Z")


def test_the_coordinator_keeps_the_files_under_their_digest(submitted: Job, live_fleet: LiveFleet) -> None:
    for path in (live_fleet.state_dir / "bundles").glob("*.tar"):
        assert blake3(path.read_bytes()).hexdigest() == path.stem
        with tarfile.open(path) as tar:
            assert tar.getnames() == ["data", "data/deep", "data/deep/corpus.txt", "data/latest", "train.py"]


def test_submit_is_idempotent_by_request_id(ask: Heliotrope, job_file: Path) -> None:
    arguments = ("job", "submit", job_file, "--request-id", f"once-{job_file.parent.parent.name}", "--json")
    first, again = ask(*arguments).value, ask(*arguments).value
    other = ask("job", "submit", job_file, "--json").value
    assert again["job_id"] == first["job_id"] != other["job_id"]
    listed = [one["job_id"] for one in ask("job", "list", "--json").value]
    assert listed.count(first["job_id"]) == 1 and other["job_id"] in listed
    not_unique = ask("job", "show", first["spec"]["name"])
    assert not_unique.code == 2 and first["job_id"] in not_unique.err and other["job_id"] in not_unique.err
    for job in (first, other):
        ask("job", "cancel", job["job_id"])


def test_name_and_set_replace_what_the_file_says(ask: Heliotrope, job_file: Path) -> None:
    options = ("--name", "renamed", "--set", "policy.alpha=0.25", "--set", "environment.MODE=fast run")
    job = ask("job", "submit", job_file, *options, "--json").value
    ask("job", "cancel", job["job_id"])
    assert job["spec"]["name"] == "renamed"
    assert job["spec"]["policy"]["alpha"] == 0.25
    assert job["spec"]["environment"] == {"MODE": "fast run"}


def test_list_and_show_are_tables(ask: Heliotrope, submitted: Job) -> None:
    listed = ask("job", "list")
    head, *lines = listed.out.splitlines()
    assert listed.code == 0 and head.split()[:3] == ["JOB", "NAME", "STATE"]
    line = next(line for line in lines if submitted["job_id"] in line)
    assert submitted["spec"]["name"] in line and "PENDING" in line
    shown = ask("job", "show", submitted["spec"]["name"])
    assert submitted["job_id"] in shown.out and "nowhere" in shown.out


def test_people_read_one_line_for_a_submission(ask: Heliotrope, job_file: Path) -> None:
    done = ask("job", "submit", job_file)
    job_id = done.out.split()[0]
    ask("job", "cancel", job_id)
    assert done.code == 0 and done.out.count("\n") == 1
    assert "PENDING; files: 5 in 10.2 kB" in done.out


def test_a_job_without_runs_has_no_log_and_no_outputs(ask: Heliotrope, submitted: Job, tmp_path: Path) -> None:
    assert ask("job", "logs", submitted["job_id"], "--tail", "100").out == ""
    fetched = ask("job", "fetch", submitted["job_id"], "--out", tmp_path / "out")
    assert fetched.code == errors.Conflict.exit_code and "it has not run yet" in fetched.err
    assert not list((tmp_path / "out").iterdir())


def test_pause_resume_cancel(ask: Heliotrope, submitted: Job) -> None:
    job_id = submitted["job_id"]
    assert ask("job", "pause", job_id, "--wait", "--json").value["state"] == "PAUSED"
    assert ask("job", "pause", job_id, "--wait").code == 0
    assert "wanted: run" in ask("job", "resume", job_id).out
    cancelled = ask("job", "cancel", job_id, "--wait", "--json").value
    assert (cancelled["state"], cancelled["fault"]) == ("FAILED", "operator")
    assert cancelled["ended_utc"] is not None
    assert ask("job", "cancel", job_id).code == 0
    resumed = ask("job", "resume", job_id)
    assert resumed.code == errors.Conflict.exit_code and "it is FAILED" in resumed.err
    assert job_id not in ask("job", "list").out
    assert job_id in ask("job", "list", "--all").out
    assert ask("job", "logs", "-f", job_id).code == 0


def test_wait_ends_by_its_timeout_or_with_the_job(ask: Heliotrope, submitted: Job) -> None:
    job_id = submitted["job_id"]
    late = ask("job", "wait", job_id, "--timeout", "0.2")
    assert late.code == errors.DeadlineExceeded.exit_code and job_id in late.err
    ask("job", "cancel", job_id)
    failed = ask("job", "wait", job_id, "--json")
    assert (failed.code, failed.out) == (errors.JobFailed.exit_code, "")
    assert "cancelled by its owner" in failed.err


def test_wait_for_a_state_ends_with_it_or_with_the_job(ask: Heliotrope, submitted: Job) -> None:
    job_id = submitted["job_id"]
    late = ask("job", "wait", job_id, "--for", "running", "--timeout", "0.2")
    assert late.code == errors.DeadlineExceeded.exit_code and "to be RUNNING" in late.err
    ask("job", "pause", job_id)
    assert ask("job", "wait", job_id, "--for", "paused", "--json").value["state"] == "PAUSED"
    ask("job", "cancel", job_id)
    assert ask("job", "wait", job_id, "--for", "running").code == errors.Conflict.exit_code


def test_pausing_a_job_that_ends_meanwhile_does_not_wait_for_ever(ask: Heliotrope, submitted: Job) -> None:
    request = ("--request-id", f"pause-{submitted['job_id']}")
    ask("job", "pause", submitted["job_id"], *request)
    ask("job", "cancel", submitted["job_id"], "--wait")
    done = ask("job", "pause", submitted["job_id"], *request, "--wait")
    assert done.code == errors.Conflict.exit_code and "it ended FAILED" in done.err


@pytest.mark.parametrize(
    ("destination", "code", "text"),
    [
        ("valley", errors.Conflict.exit_code, "no other connected node"),
        ("nowhere", errors.NotFound.exit_code, "neither a node nor a site"),
    ],
)
def test_a_move_that_cannot_be(ask: Heliotrope, submitted: Job, destination: str, code: int, text: str) -> None:
    done = ask("job", "move", submitted["job_id"], destination, "--wait")
    assert done.code == code and text in done.err


@pytest.mark.parametrize("verb", ["show", "pause", "resume", "cancel", "logs", "wait"])
def test_a_job_that_is_not_there(ask: Heliotrope, verb: str) -> None:
    done = ask("job", verb, "no-such-job")
    assert (done.code, done.out) == (errors.NotFound.exit_code, "")
    assert "no-such-job" in done.err and done.err.count("\n") == 1


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ('name = "x"\ncommand = ["a"]\ncomand = 1\n', "field comand: no such field"),
        ('name = "x"\ncommand = "a"\n', "field command"),
        ('name = "x"\n', "field command: required but missing"),
        ('name = "Big Name"\ncommand = ["a"]\n', "field name"),
        ('name = "x"\ncommand = ["a"]\nfiles = ["missing.txt"]\n', "'missing.txt' matches nothing"),
        ('name = "x"\ncommand = ["a"]\nfiles = ["../job/train.py"]\n', "leaves the job's folder"),
        ('name = "x"\ncommand = ["a"]\nfiles = ["/etc/passwd"]\n', "leaves the job's folder"),
        ('name = "x"\ncommand = ["a"]\n[policy]\nsites_allowed = ["mars"]\n', "no site 'mars'; the fleet has desert"),
        ("name = \n", "cannot read"),
    ],
)
def test_bad_job_files(ask: Heliotrope, job_file: Path, text: str, field: str) -> None:
    job_file.write_text(text)
    done = ask("job", "submit", job_file)
    assert (done.code, done.out) == (errors.InvalidInput.exit_code, "")
    assert field in done.err and done.err.count("\n") == 1


@pytest.mark.parametrize("override", ["policy.alpha", "=1", "policy..alpha=1", "name.x=1", "policy.alfa=1"])
def test_bad_overrides(ask: Heliotrope, job_file: Path, override: str) -> None:
    done = ask("job", "submit", job_file, "--set", override)
    assert done.code == errors.InvalidInput.exit_code and "--set" in done.err


def test_a_missing_job_file(ask: Heliotrope, tmp_path: Path) -> None:
    done = ask("job", "submit", tmp_path / "none.toml")
    assert done.code == errors.InvalidInput.exit_code and "none.toml" in done.err
