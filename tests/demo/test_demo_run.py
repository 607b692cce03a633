"""The demonstration itself, for real: processes, training, mutual TLS, moves; small, so that it ends soon."""

from __future__ import annotations

import csv
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest

SMALL = ("--state-mb", "4", "--target-s", "24", "--day-s", "30")
KEYS = {
    "moves": int,
    "bit_exact": bool,
    "state_bytes": int,
    "wire_bytes": int,
    "standstill_s": list,
    "energy_j": float,
    "carbon_g": float,
    "carbon_static_g": float,
}
ENDS_WITHIN_S = 30.0


@pytest.fixture
def place() -> Iterator[Path]:
    """Where the demonstration makes its folder: a short path, because unix sockets live below it."""
    folder = Path(tempfile.mkdtemp(prefix="ht-"))
    try:
        yield folder
        assert _left_behind(folder) == []
    finally:
        for process in _left_behind(folder):
            process.kill()
        shutil.rmtree(folder, ignore_errors=True)


def test_a_job_moves_twice_and_ends_bit_exact(place: Path) -> None:
    printed = _demo(place, *SMALL)
    for key, kind in KEYS.items():
        assert isinstance(printed[key], kind), key
    assert printed["bit_exact"]
    assert printed["moves"] >= 2
    assert len(printed["standstill_s"]) == printed["moves"]
    assert 3.5e6 < printed["state_bytes"] < 4.5e6
    assert printed["wire_bytes"] > 0
    assert printed["energy_estimated"]
    assert 0 < printed["carbon_g"] < printed["carbon_static_g"], "it followed the sun"
    report = Path(printed["report"]).read_text(encoding="utf-8")
    assert printed["parameters_digest"] in report
    assert report.rstrip().endswith("</html>")
    assert [one.name for one in place.iterdir()] == ["out"], "the fleet's folder is gone"


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("who", ["coordinator", "source", "destination"])
def test_it_survives_a_kill(place: Path, who: str) -> None:
    printed = _demo(place, *SMALL[:2], "--target-s", "40", "--day-s", "30", "--kill", who)
    assert printed["bit_exact"]
    assert printed["moves"] >= 2
    assert printed["killed"]["who"] == who
    assert printed["killed"]["restarted_utc"] is not None


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_windows_from_a_file(place: Path) -> None:
    trace = place / "trace.csv"
    _write_trace(trace)
    printed = _demo(place, *SMALL[:2], "--target-s", "40", "--day-s", "40", "--traces", str(trace))
    assert printed["bit_exact"]
    assert printed["moves"] >= 2
    assert {site["site"] for site in printed["sites"]} == {"WEST", "MID", "EAST"}
    assert printed["carbon_g"] < printed["carbon_static_g"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_leaves_nothing_behind(place: Path, number: signal.Signals) -> None:
    """The fixture looks for processes; here the folder must be gone and the exit code be a shell's."""
    process = _start(place, *SMALL)
    try:
        # Some lines come before the job: wait until everything is running.
        assert process.stderr is not None
        for line in process.stderr:
            if b"job running" in line:
                break
        process.send_signal(number)
        rest, errors = process.communicate(timeout=ENDS_WITHIN_S)
    finally:
        process.kill()
    assert process.returncode == 130
    assert rest == b"", "nothing that looks like a result"
    assert errors.decode().strip().endswith("heliotrope: interrupted")
    assert [one.name for one in place.iterdir()] == ["out"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--zones", "A,B,C"), "field --zones"),
        (("--traces", "missing.csv"), "No such file"),
        (("--state-mb", "1"), "--state-mb"),
        (("--out", "/proc/nowhere"), "choose another --out"),
    ],
)
def test_bad_input_is_refused_at_once(place: Path, arguments: tuple[str, ...], says: str) -> None:
    process = _start(place, *arguments)
    out, errors = process.communicate(timeout=ENDS_WITHIN_S)
    assert process.returncode == 2
    assert out == b""
    assert says in errors.decode()


def test_the_help_needs_none_of_it() -> None:
    """`heliotrope --help` stays light."""
    code = (
        "import sys; from heliotrope.cli.main import run; run(['--help']); "
        "print([n for n in ('numpy', 'grpc', 'heliotrope.cli.demo') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip().endswith("[]")


def _demo(place: Path, *arguments: str) -> dict[str, Any]:
    """What it printed. One object, and the exit code 0 that is promised for two moves and equal bytes."""
    process = _start(place, *arguments)
    out, errors = process.communicate(timeout=280)
    assert process.returncode == 0, errors.decode()
    printed: dict[str, Any] = json.loads(out)
    return printed


def _start(place: Path, *arguments: str) -> subprocess.Popen[bytes]:
    out = () if "--out" in arguments else ("--out", str(place / "out"))
    return subprocess.Popen(
        [sys.executable, "-m", "heliotrope.cli", "demo", "--json", *out, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "TMPDIR": str(place)},
    )


def _left_behind(folder: Path) -> list[psutil.Process]:
    """Processes of the demonstration that still live: their working folder or command lies below ``folder``."""
    deadline_s = time.monotonic() + 5.0
    while (found := _inside(folder)) and time.monotonic() < deadline_s:
        time.sleep(0.1)
    return found


def _inside(folder: Path) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            if process.status() == psutil.STATUS_ZOMBIE:
                continue
            words = [process.cwd(), *process.cmdline()]
        except (psutil.Error, OSError):
            continue
        if any(str(folder) in word for word in words):
            found.append(process)
    return found


def _write_trace(path: Path) -> None:
    """Twelve days; every zone is green for half a day, eight hours after the one before it."""
    first = datetime(2024, 6, 1, tzinfo=UTC)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["datetime_utc", "EAST", "MID", "WEST"])
        for hour in range(12 * 24):
            row = [400 - 350 * math.cos((hour - phase) / 12 * math.pi) for phase in (0, 8, 16)]
            writer.writerow([f"{first + timedelta(hours=hour):%Y-%m-%d %H:%M:%S}", *(f"{value:.1f}" for value in row)])
