"""The pictures and the page: well-formed, complete, from what was recorded, and without anything from outside."""

from __future__ import annotations

import itertools
import re
import xml.etree.ElementTree as ET
from html import escape
from html.parser import HTMLParser

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from heliotrope.cli.demo import charts, page, timeline
from heliotrope.cli.demo.drawing import Scale, Svg, ticks
from heliotrope.cli.demo.recording import Recording
from heliotrope.cli.demo.verdict import judge

replace = msgspec.structs.replace
HOSTILE = '<script>alert("x")</script>&'
VOID = {"meta"}

numbers = st.floats(-1e9, 1e9, allow_nan=False)


@given(low=numbers, length=st.floats(1e-3, 1e9), count=st.integers(1, 20))
def test_ticks_are_round_inside_and_evenly_spaced(low: float, length: float, count: int) -> None:
    high = low + length
    found = ticks(low, high, count)
    assert len(found) <= count + 1
    slack = 1e-6 * max(abs(low), abs(high), 1.0)
    assert all(low - slack <= value <= high + slack for value in found)
    steps = {round(b - a, 6) for a, b in itertools.pairwise(found)}
    assert max(steps, default=0.0) - min(steps, default=0.0) <= 1e-5 * max(abs(low), abs(high), 1.0)


def test_ticks_of_a_minute() -> None:
    assert ticks(0.0, 62.0, 8) == [0.0, 10.0, 20.0, 30.0, 40.0, 50.0, 60.0]
    assert ticks(3.0, 3.0) == [3.0]


@given(value=numbers)
def test_a_clamped_value_stays_in_the_plot(value: float) -> None:
    scale = Scale(0.0, 10.0, 100.0, 900.0)
    assert 100.0 <= scale.clamp(value) <= 900.0
    assert Scale(5.0, 5.0, 0.0, 10.0)(value) == 5.0


def test_text_in_a_picture_is_only_text() -> None:
    svg = Svg(10, 10, HOSTILE)
    svg.text(1, 1, HOSTILE)
    svg.rect(0, 0, 1, 1, 'a"b', HOSTILE)
    root = ET.fromstring(svg.render())
    assert not [one for one in root.iter() if one.tag.endswith("script")]
    assert HOSTILE in [one.text for one in root.iter()]


def test_what_is_unknown_interrupts_a_line() -> None:
    svg = Svg(10, 10, "gap")
    svg.path([(0, 0), (1, 1), None, (3, 3), (4, 4)], "curve")
    assert re.findall("[ML]", svg.render()) == ["M", "L", "M", "L"]
    with pytest.raises(ValueError, match="not a finite coordinate"):
        svg.path([(0, float("nan"))], "curve")


def test_the_time_line_shows_windows_moves_and_the_kill(recording: Recording) -> None:
    root = ET.fromstring(timeline.draw(recording))
    assert len(_with(root, "window")) == sum(len(spans) for spans in recording.windows.values())
    assert len(_with(root, "dot")) == 3
    assert len(_with(root, "run")) == len(recording.job.runs)
    assert len(_with(root, "strike")) == len(_with(root, "restart")) == 1
    plot = (timeline.LEFT, timeline.WIDTH - timeline.RIGHT)
    for line in _with(root, "run"):
        assert plot[0] <= float(line.get("x1", "")) <= float(line.get("x2", "")) <= plot[1]


def test_a_run_lies_in_its_sites_lane(recording: Recording) -> None:
    root = ET.fromstring(timeline.draw(recording))
    heights = [float(line.get("y1", "")) for line in _with(root, "run")]
    assert heights == [timeline.lane_middle(recording, run.site) for run in recording.job.runs]


def test_a_move_that_did_not_come_about_is_drawn_without_a_number(recording: Recording) -> None:
    first = next(one for one in recording.migrations if one.is_move)
    stopped = replace(first, step="ABORTED", steps=[seen for seen in first.steps if seen.step != "STARTING"])
    others = [stopped if one is first else one for one in recording.migrations]
    root = ET.fromstring(timeline.draw(replace(recording, migrations=others)))
    assert len(_with(root, "dot")) == 2
    assert "move 1 aborted" in {one.text for one in root.iter()}


def test_the_steps_of_a_move_fill_its_bar(recording: Recording) -> None:
    root = ET.fromstring(timeline.draw_moves(recording))
    moves = [one for one in recording.migrations if one.is_move]
    assert len(_with(root, "step")) == sum(len(one.steps) - 1 for one in moves)
    assert timeline.draw_moves(replace(recording, migrations=[])) == ""


@pytest.mark.parametrize("draw", [charts.draw_intensity, charts.draw_power, charts.draw_loss, timeline.draw])
def test_a_recording_without_samples_is_drawn_too(recording: Recording, draw: charts.Draw) -> None:
    """A demonstration that failed at its first step gets a report as well."""
    bare = replace(
        recording, samples=[], windows={}, migrations=[], job=replace(recording.job, runs=[]), duration_s=0.0
    )
    assert ET.fromstring(draw(bare)).tag.endswith("svg")
    ET.fromstring(draw(recording))


def test_power_is_stacked_to_its_sum(recording: Recording) -> None:
    root = ET.fromstring(charts.draw_power(recording))
    areas = _with(root, "area")
    assert len(areas) == len(recording.sites)
    lower_of_second = areas[1].get("points", "").split()[::-1][: len(recording.samples)]
    upper_of_first = areas[0].get("points", "").split()[: len(recording.samples)]
    assert lower_of_second == upper_of_first


def test_the_page_is_whole_and_needs_nothing_else(recording: Recording) -> None:
    html = page.render(recording, judge(recording))
    _Balanced().feed_all(html)
    assert not re.search(r"""<(script|link|img|iframe)|\bsrc=|@import|url\(""", html)
    addresses = set(re.findall(r"https?://[^\s\"'<]+", html))
    assert addresses <= {"http://www.w3.org/2000/svg"}
    assert recording.parameters_digest in html
    assert "estimated" in html
    assert "SIGKILL" in html
    for decision in recording.decisions:
        assert escape(decision.text, quote=True) in html


def test_the_page_trusts_no_text(recording: Recording) -> None:
    decisions = [replace(one, reason=HOSTILE, text=HOSTILE) for one in recording.decisions]
    html = page.render(replace(recording, decisions=decisions, source=HOSTILE), judge(recording))
    assert "<script" not in html


def test_a_failure_stands_at_the_top(recording: Recording) -> None:
    failed = replace(recording, parameters_digest="0" * 64)
    html = page.render(failed, judge(failed))
    assert 'class="lead bad"' in html
    assert "another digest" in html


class _Balanced(HTMLParser):
    """Every element that is opened is closed, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def feed_all(self, html: str) -> None:
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> without a beginning"
        assert self.open.pop() == tag


def _with(root: ET.Element, css: str) -> list[ET.Element]:
    return [one for one in root.iter() if css in one.get("class", "").split()]
