"""What becomes of one job on a drained node: every combination that matters, as pure values."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from heliotrope.coordinator.managers.draining import Do, Leaving, Underway, next_for, wish
from heliotrope.foundation.model import DrainMode, MigrationKind, MigrationStep

NOW = datetime(2026, 6, 1, tzinfo=UTC)
MOVE, PAUSE, PLACE = MigrationKind.MOVE, MigrationKind.PAUSE, MigrationKind.PLACE
MODES = (None, *DrainMode)


def underway(
    kind: MigrationKind, step: MigrationStep, *, is_arriving: bool = False, is_of_drain: bool = True
) -> Leaving:
    found = Underway(kind=kind, step=step, is_arriving=is_arriving, is_of_drain=is_of_drain)
    return Leaving(is_running=step is MigrationStep.STAGING, underway=found)


def called_back(job: Leaving) -> list[DrainMode | None]:
    """The wishes under which the job's migration is given up."""
    return [mode for mode in MODES if next_for(mode, job) is Do.CALL_BACK]


@pytest.mark.parametrize("mode", list(DrainMode))
def test_after_the_deadline_what_is_left_is_stopped(mode: DrainMode) -> None:
    assert wish(mode, None, NOW) is mode
    assert wish(mode, NOW + timedelta(seconds=1), NOW) is mode
    assert wish(mode, NOW, NOW) is DrainMode.STOP


def test_only_a_stop_stops_a_running_job() -> None:
    assert {mode: next_for(mode, Leaving(is_running=True)) for mode in MODES} == {
        None: Do.NOTHING,
        DrainMode.MIGRATE: Do.NOTHING,
        DrainMode.STOP: Do.STOP,
        DrainMode.LEAVE: Do.NOTHING,
    }
    assert next_for(DrainMode.STOP, Leaving(is_running=False)) is Do.NOTHING


def test_without_a_checkpoint_only_once_the_checkpoint_timed_out() -> None:
    refused = Leaving(is_running=True, is_stop_refused=True)
    assert next_for(DrainMode.STOP, refused) is Do.NOTHING
    timed_out = Leaving(is_running=True, is_stop_refused=True, is_checkpoint_timed_out=True)
    assert next_for(DrainMode.STOP, timed_out) is Do.KILL
    assert all(next_for(mode, timed_out) is Do.NOTHING for mode in MODES if mode is not DrainMode.STOP)
    ordered = Leaving(is_running=True, is_checkpoint_timed_out=True, is_kill_ordered=True)
    assert next_for(DrainMode.STOP, ordered) is Do.NOTHING


def test_nothing_arrives_at_a_drained_node_before_its_lease_has_passed() -> None:
    for kind in (MOVE, PLACE):
        for step in (MigrationStep.PREPARING, MigrationStep.SENDING, MigrationStep.VERIFIED):
            assert called_back(underway(kind, step, is_arriving=True, is_of_drain=False)) == list(DrainMode)
        assert called_back(underway(kind, MigrationStep.STARTING, is_arriving=True, is_of_drain=False)) == []


def test_a_move_away_is_called_back_only_while_its_job_runs() -> None:
    others: list[DrainMode | None] = [None, DrainMode.STOP, DrainMode.LEAVE]
    assert called_back(underway(MOVE, MigrationStep.STAGING)) == others
    assert called_back(underway(MOVE, MigrationStep.SENDING)) == []
    # A move that the drain did not begin goes on, unless its job is to be stopped now.
    assert called_back(underway(MOVE, MigrationStep.STAGING, is_of_drain=False)) == [DrainMode.STOP]


def test_a_stop_is_called_back_by_another_wish_but_never_its_owners_pause() -> None:
    others: list[DrainMode | None] = [None, DrainMode.MIGRATE, DrainMode.LEAVE]
    assert called_back(underway(PAUSE, MigrationStep.QUIESCING)) == others
    assert called_back(underway(PAUSE, MigrationStep.ABORTING)) == []
    assert called_back(underway(PAUSE, MigrationStep.QUIESCING, is_of_drain=False)) == []
