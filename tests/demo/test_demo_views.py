"""What is shown while it runs: the live table and the lines say the same of a picture of the fleet."""

from __future__ import annotations

import io
from datetime import UTC, datetime

import msgspec
import pytest
from rich.console import Console

from heliotrope.cli.demo.recording import (
    DecisionSeen,
    FleetSeen,
    JobSeen,
    MigrationSeen,
    NodeSeen,
    ProgressSeen,
    SiteSeen,
)
from heliotrope.cli.demo.scenario import of_the_sun
from heliotrope.cli.demo.views import LineView, LiveView, choose

NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)
JOB = JobSeen(
    job_id="j-1", state="RUNNING", node_id="node-spain", site="spain", progress=ProgressSeen(step=30, loss=2.5)
)
MOVE = MigrationSeen(
    migration_id="m-1",
    kind="MOVE",
    step="STAGING",
    source_site="spain",
    destination_site="california",
    cause="planner",
    message="planner",
    progress_ratio=0.5,
    rate_bytes_per_s=3e7,
    left_s=1.5,
)
DECISION = DecisionSeen(
    decision_id="d-1", utc=NOW, action="move", reason="moves from spain to california: \x1b[2Jsaves 20 J"
)
FLEET = FleetSeen(
    utc=NOW,
    trace_utc=NOW,
    trace_scale=1234.0,
    sites=[
        SiteSeen(name="california", intensity_g_per_kwh=41.0, window_remaining_s=12.4),
        SiteSeen(name="spain", next_window_in_s=80.0),
    ],
    nodes=[
        NodeSeen(node_id="node-california", site="california", connected=True, power_w=5.0, power_estimated=True),
        NodeSeen(node_id="node-spain", site="spain", connected=False, power_w=None, power_estimated=False),
    ],
    jobs=[JOB],
    migrations=[MOVE],
)


@pytest.fixture
def shown() -> str:
    """The live view's picture, as plain text."""
    console = Console(file=io.StringIO(), width=120)
    view = LiveView(console)
    view.begin(of_the_sun(70.0), 60, NOW)
    view.picture(FLEET, JOB, [DECISION], 45)
    with console.capture() as captured:
        console.print(view.render())
    return captured.get()


@pytest.mark.parametrize(
    "words",
    [
        "open, closes in 12 s",
        "closed, opens in 1 min 20 s",
        "5 W est.",
        "train: running (agent away)",
        "30/60 loss 2.500",
        "45/60",
        "spain to california 30 MB/s, 1.5 s left",
        "1234 x",
        "moves from spain to california",
    ],
)
def test_the_live_view_shows(shown: str, words: str) -> None:
    assert words in shown


def test_what_is_unknown_is_said_so(shown: str) -> None:
    line = next(line for line in shown.splitlines() if line.startswith(" spain"))
    assert line.count("unknown") == 2, "intensity and power"


def test_before_the_job_there_is_a_picture_too() -> None:
    view = LiveView(Console(file=io.StringIO(), width=80))
    view.say("starting")
    with (console := Console(file=io.StringIO(), width=80)).capture() as captured:
        console.print(view.render())
    assert "starting" in captured.get()


def test_lines_tell_each_event_once_and_steer_no_terminal() -> None:
    out = io.StringIO()
    view = LineView(out)
    view.begin(of_the_sun(70.0), 60, NOW)
    for _ in range(3):
        view.picture(FLEET, JOB, [DECISION], 45)
    text = out.getvalue()
    assert text.count("move m-1 spain to california: STAGING") == 1
    assert text.count("decision d-1") == 1
    assert "\x1b" not in text
    committed = msgspec.structs.replace(MOVE, step="ABORTED", message="the link was cut")
    view.picture(msgspec.structs.replace(FLEET, migrations=[committed]), JOB, [DECISION], 45)
    assert out.getvalue().rstrip().endswith("ABORTED (the link was cut)")


def test_a_pipe_gets_lines() -> None:
    assert isinstance(choose(Console(file=io.StringIO()), io.StringIO(), live=True), LineView)
    terminal = Console(file=io.StringIO(), force_terminal=True)
    assert isinstance(choose(terminal, io.StringIO(), live=False), LineView)
    assert isinstance(choose(terminal, io.StringIO(), live=True), LiveView)
