"""The verdict: what the demonstration claims, computed from what was recorded and from nothing else."""

from __future__ import annotations

import msgspec

from heliotrope.foundation.errors import Corrupt, DeadlineExceeded, HeliotropeError, JobFailed

from .recording import Frozen, MigrationSeen, Recording, ReportRow, StrikeSeen

MOVES_NEEDED = 2


class SiteVerdict(Frozen):
    """Energy of a site's IT equipment and its carbon; ``steps`` done there."""

    site: str
    energy_j: float
    job_energy_j: float
    carbon_g: float
    carbon_static_g: float
    steps: int


class Verdict(Frozen):
    """What ``heliotrope demo --json`` prints (docs/demo.md). Energy is of all three sites' agents and their jobs."""

    moves: int
    bit_exact: bool
    state_bytes: int
    wire_bytes: int
    standstill_s: list[float]
    standstill_network_s: list[float | None]
    energy_j: float
    carbon_g: float
    carbon_static_g: float
    energy_estimated: bool
    job_energy_j: float
    job_carbon_g: float
    job_carbon_static_g: float
    unknown_energy_j: float
    steps: int
    final_loss: float | None
    seconds: float
    training_s: float
    reference_s: float | None
    parameters_digest: str
    reference_digest: str
    moves_not_committed: int
    restarts: int
    sites: list[SiteVerdict]
    killed: StrikeSeen | None
    machine: dict[str, str]
    failure: str = ""
    report: str = ""


def judge(recording: Recording, report: str = "") -> Verdict:
    """The verdict of a recording; ``report`` is where its page was written. ``failure`` is empty if all held."""
    moves = [one for one in recording.migrations if one.is_move and one.committed]
    rows = [row for row in recording.report if row.kind == "site"]
    own = next((row for row in recording.report if row.kind == "job"), ReportRow(kind="job", name=""))
    reference = recording.reference
    verdict = Verdict(
        moves=len(moves),
        bit_exact=bool(recording.parameters_digest)
        and reference is not None
        and recording.parameters_digest == reference.parameters_digest,
        state_bytes=max((one.state_bytes for one in moves), default=0),
        wire_bytes=sum(one.wire_bytes for one in recording.migrations if one.is_move),
        standstill_s=[round(one.standstill_s or 0.0, 3) for one in moves],
        standstill_network_s=[_rounded(one.standstill_network_s) for one in moves],
        energy_j=sum(row.energy_j for row in rows),
        carbon_g=sum(row.carbon_g for row in rows),
        carbon_static_g=sum(row.carbon_static_g for row in rows),
        energy_estimated=any(row.estimated for row in rows),
        job_energy_j=own.energy_j,
        job_carbon_g=own.carbon_g,
        job_carbon_static_g=own.carbon_static_g,
        unknown_energy_j=sum(row.unknown_energy_j for row in rows),
        steps=recording.steps,
        final_loss=recording.final_loss,
        seconds=round(recording.total_s, 1),
        training_s=round(recording.duration_s, 1),
        reference_s=None if reference is None else round(reference.duration_s, 1),
        parameters_digest=recording.parameters_digest,
        reference_digest=reference.parameters_digest if reference else "",
        moves_not_committed=sum(one.is_move and not one.committed for one in recording.migrations),
        restarts=recording.job.restart_count,
        sites=[_site(recording, name) for name in recording.sites],
        killed=recording.strike,
        machine=recording.machine,
        report=report,
    )
    error = failure(verdict, recording)
    return msgspec.structs.replace(verdict, failure=str(error) if error else "")


def failure(verdict: Verdict, recording: Recording) -> HeliotropeError | None:
    """What kept the demonstration from showing what it promises, as an error of the catalogue."""
    job = recording.job
    if job.state != "FINISHED":
        return JobFailed(f"cannot finish the demonstration: its job is {job.state}: {job.message or 'no message'}")
    if recording.reference is None:
        return JobFailed("cannot prove the result: the uninterrupted run gave no digest to compare with")
    if not verdict.bit_exact:
        return Corrupt(
            "cannot confirm the result: the moved job's parameters have another digest "
            f"({verdict.parameters_digest[:12]}) than the uninterrupted run's ({verdict.reference_digest[:12]})"
        )
    if verdict.moves < MOVES_NEEDED:
        ended = [one for one in recording.migrations if one.is_move and not one.committed]
        cause = f"; the last attempt ended {ended[-1].step}: {ended[-1].message}" if ended else ""
        return DeadlineExceeded(
            f"cannot show {MOVES_NEEDED} moves: the job made {verdict.moves} before it was done after "
            f"{verdict.training_s:g} s{cause}; raise --target-s, or choose --zones whose order changes"
        )
    return None


def site_steps(recording: Recording) -> dict[str, int]:
    """Steps done at each site, from the reported progress; steps that were done twice count where they were done."""
    done = dict.fromkeys(recording.sites, 0)
    last = 0
    for sample in recording.samples:
        # After a recovery the job goes on from an older step: what follows is done again, somewhere.
        if sample.step > last and sample.site in done:
            done[sample.site] += sample.step - last
        last = sample.step
    return done


def moves_of(recording: Recording) -> list[MigrationSeen]:
    """All moves of the job, oldest first."""
    return sorted(
        (one for one in recording.migrations if one.is_move and one.steps), key=lambda one: one.steps[0].entered_utc
    )


def _site(recording: Recording, name: str) -> SiteVerdict:
    own = next((row for row in recording.report if row.kind == "site" and row.name == name), None)
    job = next((row for row in recording.report if row.kind == "job_site" and row.site == name), None)
    return SiteVerdict(
        site=name,
        energy_j=own.energy_j if own else 0.0,
        job_energy_j=job.energy_j if job else 0.0,
        carbon_g=own.carbon_g if own else 0.0,
        carbon_static_g=own.carbon_static_g if own else 0.0,
        steps=site_steps(recording)[name],
    )


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)
