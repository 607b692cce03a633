"""The verdict says what was recorded, and names what is missing."""

from __future__ import annotations

import msgspec
import pytest

from heliotrope.cli.demo.recording import Recording, Sample
from heliotrope.cli.demo.verdict import failure, judge, moves_of, site_steps
from heliotrope.foundation.errors import Corrupt, DeadlineExceeded, HeliotropeError, JobFailed

replace = msgspec.structs.replace


def test_the_recorded_run_passes(recording: Recording) -> None:
    verdict = judge(recording, "somewhere/report.html")
    assert verdict.failure == ""
    assert failure(verdict, recording) is None
    assert verdict.bit_exact
    assert verdict.parameters_digest == verdict.reference_digest
    assert verdict.report == "somewhere/report.html"
    assert verdict.killed is not None
    assert verdict.killed.member == "coordinator"


def test_moves_and_standstills_are_those_of_committed_moves(recording: Recording) -> None:
    verdict = judge(recording)
    assert verdict.moves == recording.job.move_count == 3
    assert len(verdict.standstill_s) == len(verdict.standstill_network_s) == verdict.moves
    assert all(
        0 < part < whole for part, whole in zip(verdict.standstill_network_s, verdict.standstill_s, strict=True) if part
    )
    first = moves_of(recording)[0]
    aborted = replace(first, step="ABORTED", message="the link was cut")
    fewer = replace(recording, migrations=[aborted if one is first else one for one in recording.migrations])
    assert judge(fewer).moves == 2
    assert judge(fewer).moves_not_committed == 1
    assert judge(fewer).wire_bytes == verdict.wire_bytes, "what was sent in vain was sent"


def test_the_books_close(recording: Recording) -> None:
    """The sites' energy and carbon are the totals; the job's part is not more than the whole."""
    verdict = judge(recording)
    assert sum(site.energy_j for site in verdict.sites) == pytest.approx(verdict.energy_j)
    assert sum(site.carbon_g for site in verdict.sites) == pytest.approx(verdict.carbon_g)
    assert sum(site.carbon_static_g for site in verdict.sites) == pytest.approx(verdict.carbon_static_g)
    assert sum(site.job_energy_j for site in verdict.sites) == pytest.approx(verdict.job_energy_j)
    assert 0 < verdict.job_energy_j < verdict.energy_j
    assert verdict.unknown_energy_j == 0
    assert verdict.energy_estimated
    # Only the job can be elsewhere: idle draw and agents stay where they are.
    saved_g = verdict.carbon_static_g - verdict.carbon_g
    assert saved_g == pytest.approx(verdict.job_carbon_static_g - verdict.job_carbon_g)


def test_steps_are_booked_where_they_were_done(recording: Recording) -> None:
    steps = site_steps(recording)
    assert set(steps) == set(recording.sites)
    assert min(steps.values()) > 0
    assert sum(steps.values()) <= recording.steps


def test_steps_done_twice_are_counted_twice(recording: Recording) -> None:
    def sample(at_s: float, site: str, step: int) -> Sample:
        return Sample(at_s=at_s, site=site, state="RUNNING", step=step, loss=1.0)

    west, _, east = recording.sites
    again = replace(
        recording, samples=[sample(0, west, 0), sample(1, west, 10), sample(2, east, 4), sample(3, east, 12)]
    )
    assert site_steps(again) == {west: 10, recording.sites[1]: 0, east: 8}


def test_another_digest_is_no_pass(recording: Recording) -> None:
    assert isinstance(_failure(replace(recording, parameters_digest="0" * 64)), Corrupt)
    assert isinstance(_failure(replace(recording, reference=None)), JobFailed)
    assert not judge(replace(recording, parameters_digest="", reference=None)).bit_exact


def test_one_move_is_not_enough(recording: Recording) -> None:
    first, second, third = moves_of(recording)
    ended = [
        replace(one, step="ABORTED", message="no room") if one is not first else one for one in (first, second, third)
    ]
    error = _failure(replace(recording, migrations=ended))
    assert isinstance(error, DeadlineExceeded)
    assert "the job made 1" in str(error)
    assert "no room" in str(error)


def test_a_failed_job_says_so(recording: Recording) -> None:
    job = replace(recording.job, state="FAILED", message="exit code 1")
    error = _failure(replace(recording, job=job, parameters_digest=""))
    assert isinstance(error, JobFailed)
    assert "exit code 1" in str(error)


def test_the_printed_object_keeps_its_promise(recording: Recording) -> None:
    """docs/demo.md and the issue name these keys; `null` only where something is unknown."""
    printed = msgspec.json.decode(msgspec.json.encode(judge(recording)))
    for key in ("moves", "bit_exact", "state_bytes", "wire_bytes", "energy_j", "carbon_g", "carbon_static_g"):
        assert printed[key] is not None, key
    assert isinstance(printed["standstill_s"], list)


def _failure(recording: Recording) -> HeliotropeError | None:
    verdict = judge(recording)
    error = failure(verdict, recording)
    assert verdict.failure == str(error)
    return error
