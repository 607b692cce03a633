"""The meaning of an end, by table and by property."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heliotrope.agent.jobs.exits import Ending, judge


@pytest.mark.parametrize(
    ("ending", "outcome", "fault", "says"),
    [
        (Ending(reason="finished", exit_code=0, cause="lease"), "finished", "none", "exit code 0"),
        (Ending(reason="stopped", exit_code=75), "stopped", "none", "75"),
        (Ending(reason="failed", exit_code=1), "failed", "job", "exit code 1"),
        (Ending(reason="failed", signal=11), "failed", "job", "SIGSEGV"),
        (Ending(reason="failed", exit_code=139), "failed", "job", "SIGSEGV"),
        (Ending(reason="failed", exit_code=127, error="cannot start 'x'"), "failed", "job", "cannot start"),
        (Ending(reason="failed", signal=9), "failed", "node", "someone"),
        (Ending(reason="failed", signal=9, oom_kill_count=1), "failed", "node", "out-of-memory"),
        (Ending(reason="failed", exit_code=137, oom_kill_count=2), "failed", "node", "out-of-memory"),
        (Ending(reason="failed", cause="limit", signal=9, error="its files take 2 bytes"), "failed", "job", "2 bytes"),
        (Ending(reason="failed", cause="limit", exit_code=75, error="its files"), "failed", "job", "its files"),
        (Ending(reason="lease_expired", cause="lease", signal=9), "failed", "node", "lease"),
        (Ending(reason="killed", cause="stop", signal=15), "killed", "none", "on order"),
        (Ending(reason="killed", cause="shutdown", signal=15), "killed", "node", "shut down"),
        (Ending(reason="lost", error="the machine was restarted"), "lost", "node", "restarted"),
    ],
)
def test_judge(ending: Ending, outcome: str, fault: str, says: str) -> None:
    verdict = judge(ending)
    assert (verdict.outcome, verdict.fault) == (outcome, fault)
    assert says in verdict.text


@given(
    st.sampled_from(["failed", "killed", "lease_expired", "lost"]),
    st.one_of(st.none(), st.integers(1, 255)),
    st.one_of(st.none(), st.integers(1, 64)),
    st.integers(0, 3),
)
def test_a_failure_always_has_a_text_and_only_an_order_is_nobodys_fault(
    reason: str, exit_code: int | None, number: int | None, oom_kill_count: int
) -> None:
    ending = Ending(reason=reason, exit_code=exit_code, signal=number, oom_kill_count=oom_kill_count)  # type: ignore[arg-type]
    verdict = judge(ending)
    assert verdict.text
    assert (verdict.fault == "none") == (verdict.outcome == "killed")
