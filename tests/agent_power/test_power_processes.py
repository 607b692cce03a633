"""CPU time by process tree: written process tables for the rules, real trees for the truth."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from heliotrope.agent.power.processes import OTHER, Process, ProcessTrees, Table, parse_stat, read_table
from heliotrope.agent.power.tree_meter import TreeMeter


def table(*rows: tuple[int, int, int, float, float]) -> Table:
    """Rows of (pid, parent, session, own seconds, seconds of reaped children)."""
    return {pid: Process(pid, parent, session, pid, own_s, reaped_s) for pid, parent, session, own_s, reaped_s in rows}


ROOTS = {"a": [10], "b": [20], OTHER: [5]}


def test_the_command_may_contain_anything() -> None:
    line = b"42 (a ) b (x) 9 9) S 7 42 41 0 -1 0 0 0 0 0 200 50 300 150 20 0 1 0 12345 0 0"
    found = parse_stat(line)
    ticks = os.sysconf("SC_CLK_TCK")
    assert found == Process(42, 7, 41, 12345, 250 / ticks, 450 / ticks)


def test_the_first_scan_owes_nothing_and_the_next_the_difference() -> None:
    trees = ProcessTrees()
    assert trees.update(table((1, 0, 1, 9, 9), (10, 1, 10, 5, 0), (11, 10, 10, 2, 0)), ROOTS) == {}
    used_s = trees.update(table((1, 0, 1, 10, 9), (10, 1, 10, 5.5, 0), (11, 10, 10, 4, 0)), ROOTS)
    assert used_s == {"a": pytest.approx(2.5)}
    assert (trees.owner(11), trees.owner(1), trees.owner(99)) == ("a", OTHER, None)


def test_the_nearest_root_owns() -> None:
    trees = ProcessTrees()
    trees.update(table((5, 1, 5, 0, 0), (10, 5, 10, 0, 0), (20, 10, 20, 0, 0), (21, 20, 20, 0, 0)), ROOTS)
    assert [trees.owner(pid) for pid in (5, 10, 20, 21)] == [OTHER, "a", "b", "b"]


def test_a_child_that_came_and_went_is_owed_through_its_parent() -> None:
    trees = ProcessTrees()
    trees.update(table((10, 1, 10, 1, 0)), ROOTS)
    assert trees.update(table((10, 1, 10, 1, 3)), ROOTS) == {"a": pytest.approx(3)}


def test_a_child_that_ended_is_not_owed_twice() -> None:
    trees = ProcessTrees()
    trees.update(table((10, 1, 10, 1, 0), (11, 10, 10, 4, 0), (12, 11, 10, 2, 0)), ROOTS)
    # 12 ran on to 2.5 s, 11 reaped it, ran on to 5 s and was reaped in turn.
    assert trees.update(table((10, 1, 10, 1, 7.5)), ROOTS) == {"a": pytest.approx(1.5)}


def test_a_child_that_was_never_reaped_takes_nothing_away() -> None:
    trees = ProcessTrees()
    trees.update(table((10, 1, 10, 1, 0), (11, 10, 10, 4, 0)), ROOTS)
    assert trees.update(table((10, 1, 10, 2, 0)), ROOTS) == {"a": pytest.approx(1)}


def test_the_last_time_of_a_job_that_ended_is_still_its_own() -> None:
    trees = ProcessTrees()
    trees.update(table((5, 1, 5, 1, 0), (10, 5, 10, 4, 0)), ROOTS)
    assert trees.update(table((5, 1, 5, 1, 4.75)), {OTHER: [5]}) == {"a": pytest.approx(0.75)}


def test_an_orphan_stays_with_its_job_also_below_the_agent() -> None:
    trees = ProcessTrees()
    trees.update(table((5, 1, 5, 0, 0), (10, 5, 10, 0, 0), (11, 10, 10, 0, 0)), ROOTS)
    used_s = trees.update(table((5, 1, 5, 0, 0), (11, 5, 10, 2, 0)), ROOTS)
    assert used_s == {"a": pytest.approx(2)}
    # Its session began with the job, so what it starts and leaves behind unseen is the job's too.
    used_s = trees.update(table((5, 1, 5, 0, 0), (11, 5, 10, 2, 0), (13, 1, 10, 1, 0)), ROOTS)
    assert used_s == {"a": pytest.approx(1)}


def test_a_session_of_somebody_else_is_not_taken_over() -> None:
    """Jobs started without a session of their own share it with the shell of the user."""
    trees = ProcessTrees()
    trees.update(table((3, 1, 3, 0, 0), (10, 3, 3, 0, 0)), ROOTS)
    used_s = trees.update(table((3, 1, 3, 0, 0), (10, 3, 3, 0, 0), (14, 3, 3, 5, 0)), ROOTS)
    assert used_s == {}


def test_a_reused_pid_is_another_process() -> None:
    trees = ProcessTrees()
    trees.update(table((10, 1, 10, 1, 0), (11, 10, 10, 4, 0)), ROOTS)
    now = table((10, 1, 10, 1, 0))
    now[11] = Process(11, 1, 1, 999, 3.0, 0.0)
    assert trees.update(now, ROOTS) == {}
    assert trees.owner(11) == OTHER


SPAWNER = """
import subprocess, sys
burn = "import time\\nwhile time.process_time() < float(__import__('sys').argv[1]): pass"
mode = sys.argv[1]
if mode == "reap":
    for _ in range(4):
        subprocess.run([sys.executable, "-c", burn, "0.1"], check=True)
elif mode == "orphan":
    middle = "import subprocess, sys; subprocess.Popen([sys.executable, '-c', sys.argv[1], '0.4'])"
    subprocess.run([sys.executable, "-c", middle, burn], check=True)
print("spawned", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def spawn() -> Iterator[Callable[[str], subprocess.Popen[str]]]:
    running: list[subprocess.Popen[str]] = []

    def start(mode: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", SPAWNER, mode]
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        running.append(process)
        return process

    yield start
    for process in running:
        process.kill()
        process.communicate()


def scan_until(trees: ProcessTrees, roots: dict[str, list[int]], enough_s: float) -> float:
    """Scan until the job "j" was booked that much; the pytest time limit ends a wait in vain."""
    booked_s = 0.0
    deadline_s = time.monotonic() + 60
    while booked_s < enough_s and time.monotonic() < deadline_s:
        booked_s += trees.update(read_table(), roots).get("j", 0.0)
        time.sleep(0.05)
    return booked_s


@pytest.mark.parametrize("mode", ["reap", "orphan"])
def test_real_children_are_counted_once_reaped_or_orphaned(
    spawn: Callable[[str], subprocess.Popen[str]], mode: str
) -> None:
    trees = ProcessTrees()
    trees.update(read_table(), {})
    process = spawn(mode)
    booked_s = scan_until(trees, {"j": [process.pid]}, 0.4)
    # Four interpreters start besides what they burn; three times as much would be a double count.
    assert 0.4 <= booked_s < 1.6


def test_a_second_tree_and_the_agent_are_kept_apart(spawn: Callable[[str], subprocess.Popen[str]]) -> None:
    jobs = {"one": spawn("reap"), "two": spawn("none")}
    for process in jobs.values():
        assert process.stdout is not None
        assert process.stdout.readline() == "spawned\n"
    meter = TreeMeter(lambda: {job: [p.pid] for job, p in jobs.items()}, Path("/proc"), counts_host=False)
    meter.scan(0.0)
    until_s = time.process_time() + 0.3
    while time.process_time() < until_s:
        pass
    used_s = meter.scan(1.0)
    assert used_s[OTHER] >= 0.25
    assert used_s.get("two", 0.0) < 0.1
    assert meter.busy_s() == pytest.approx(sum(used_s.values()))
    assert meter.owner(jobs["one"].pid) == "one"
    assert meter.jobs == ("one", "two")


def test_a_process_younger_than_the_last_scan_is_looked_for(spawn: Callable[[str], subprocess.Popen[str]]) -> None:
    jobs: dict[str, list[int]] = {}
    meter = TreeMeter(lambda: jobs, Path("/proc"), counts_host=False)
    meter.scan(0.0)
    process = spawn("none")
    jobs["late"] = [process.pid]
    assert meter.owner(process.pid) == "late"


def test_scans_grow_rarer_when_they_are_dear(tmp_path: Path) -> None:
    for pid in range(1, 3000):
        folder = tmp_path / str(pid)
        folder.mkdir()
        (folder / "stat").write_text(f"{pid} (x) S 1 {pid} {pid} 0 -1 0 0 0 0 0 1 1 0 0 20 0 1 0 5 0 0")
    meter = TreeMeter(dict, tmp_path, counts_host=False)
    began_s = time.thread_time()
    meter.scan(50.0)
    cost_s = time.thread_time() - began_s
    assert meter.wait_s(50.0) >= max(1.0, 50 * cost_s)
