"""How verbs speak: numbers with units, tables that cannot steer a terminal, JSON that parses."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone

import click
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from heliotrope.cli import output
from heliotrope.cli.output import Column

Capture = pytest.CaptureFixture[str]


@pytest.mark.parametrize(
    ("size_bytes", "expected"),
    [
        (0, "0 B"),
        (1, "1 B"),
        (999, "999 B"),
        (1000, "1 kB"),
        (1_207_000_000, "1.21 GB"),
        (999_600, "1 MB"),
        (-2e6, "-2 MB"),
        (3.2e15, "3.2 PB"),
        (5e18, "5000 PB"),
        (None, "unknown"),
    ],
)
def test_bytes(size_bytes: float | None, expected: str) -> None:
    assert output.format_bytes(size_bytes) == expected


@pytest.mark.parametrize(
    ("duration_s", "expected"),
    [
        (0, "0 s"),
        (0.0123, "12.3 ms"),
        (4.5678, "4.57 s"),
        (59.96, "1 min"),
        (125, "2 min 5 s"),
        (3600, "1 h"),
        (12_000, "3 h 20 min"),
        (187_300, "2 d 4 h"),
        (-125, "-2 min 5 s"),
        (3e-6, "3 us"),
        (None, "unknown"),
    ],
)
def test_seconds(duration_s: float | None, expected: str) -> None:
    assert output.format_seconds(duration_s) == expected


def test_energy_power_carbon_share_and_time() -> None:
    assert [output.format_energy(value) for value in (0, 12.34, 3590, 3600, 5.4e6, None)] == [
        "0 J",
        "12.3 J",
        "3590 J",
        "1 Wh",
        "1.5 kWh",
        "unknown",
    ]
    assert [output.format_power(value) for value in (0.25, 312.4, 1250.0)] == ["250 mW", "312 W", "1.25 kW"]
    assert [output.format_carbon(value) for value in (0.35, 12_500.0, 1.2e6)] == ["350 mg", "12.5 kg", "1.2 t"]
    assert [output.format_ratio(value) for value in (0.1234, None)] == ["12.3 %", "unknown"]
    moment = datetime(2026, 3, 1, 1, 30, tzinfo=timezone(timedelta(hours=2)))
    assert [output.format_time(value) for value in (moment, None)] == ["2026-02-28 23:30:00Z", "unknown"]


SCALES = {"B": 1.0, "kB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12, "PB": 1e15}


@given(st.floats(1, 1e17))
def test_three_digits_are_right(size_bytes: float) -> None:
    number, unit = output.format_bytes(size_bytes).split()
    assert float(number) * SCALES[unit] == pytest.approx(size_bytes, rel=0.006)
    assert 1 <= float(number) < 1000 or unit == "PB"


@given(st.floats(1, 1e8))
def test_two_units_of_time_are_close(duration_s: float) -> None:
    sizes = {"s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
    parts = re.findall(r"([\d.]+) (s|min|h|d)\b", output.format_seconds(duration_s))
    smallest_s = sizes[parts[-1][1]] if len(parts) == 2 else sizes[parts[0][1]] / (60 if duration_s > 60 else 100)
    total_s = sum(float(number) * sizes[unit] for number, unit in parts)
    assert abs(total_s - duration_s) <= max(
        smallest_s, 3600 if duration_s >= 86400 else 60 if duration_s >= 3600 else 1
    )


COLUMNS = [Column("NAME"), Column("SIZE", right=True)]


def test_a_table_lines_up(capsys: Capture) -> None:
    output.print_table(COLUMNS, [("a", "1 B"), ("longer", "20 kB")])
    assert capsys.readouterr().out == "NAME     SIZE\na         1 B\nlonger  20 kB\n"


def test_cells_are_text_not_markup_and_not_cut(capsys: Capture) -> None:
    output.print_table(COLUMNS, [("[red]x[/red]", "\x1b[2J\n"), ("y" * 500, "é")], empty="none")
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert "[red]x[/red]" in lines[1] and "\\x1b[2J\\n" in lines[1]
    assert "y" * 500 in lines[2] and lines[2].endswith("é")


def test_no_rows_is_a_sentence(capsys: Capture) -> None:
    output.print_table(COLUMNS, [], empty="no jobs yet")
    assert capsys.readouterr().out == "no jobs yet\n"


def test_json_is_one_value_with_utc_times(capsys: Capture) -> None:
    output.print_json([{"at_utc": datetime(2026, 1, 2, tzinfo=UTC), "energy_j": None, "share_ratio": 0.5}])
    expected = [{"at_utc": "2026-01-02T00:00:00Z", "energy_j": None, "share_ratio": 0.5}]
    assert json.loads(capsys.readouterr().out) == expected


def test_colours_are_for_terminals_only() -> None:
    program = "from heliotrope.cli import output; output.print_fields([('fleet', 'lab')])"
    for no_color in (False, True):
        environment = {key: value for key, value in os.environ.items() if key != "NO_COLOR"}
        environment |= {"TERM": "xterm-256color", **({"NO_COLOR": "1"} if no_color else {})}
        controller, terminal = pty.openpty()
        subprocess.run([sys.executable, "-c", program], stdout=terminal, env=environment, check=True, timeout=120)
        os.close(terminal)
        seen = os.read(controller, 4096).decode()
        os.close(controller)
        assert "fleet" in seen and "lab" in seen
        assert not re.search(r"\x1b\[[0-9;]*3[0-9]", seen) or not no_color
        assert ("\x1b[" in seen) or no_color
    piped = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=120)
    assert piped.stdout == "fleet  lab\n"


def test_log_options_set_up_logging_for_a_daemon() -> None:
    program = """
import logging
import click
from heliotrope.cli import output

@click.command()
@output.log_options
@click.option("--config", default="x")
def daemon(config):
    logging.getLogger("heliotrope.agent").info("started with %s", config)
    logging.getLogger("heliotrope.agent").debug("details")

daemon()
"""
    cases: list[tuple[list[str], int]] = [([], 1), (["--log-level", "debug"], 2), (["--log-level", "error"], 0)]
    for arguments, expected in cases:
        done = subprocess.run(
            [sys.executable, "-c", program, "--log-json", *arguments],
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
        )
        lines = [json.loads(line) for line in done.stderr.splitlines()]
        assert len(lines) == expected
        assert not lines or lines[0]["message"] == "started with x"


def test_json_option_is_passed_on() -> None:
    @click.command()
    @output.json_option
    def verb(as_json: bool) -> None:
        click.echo(str(as_json))

    assert CliRunner().invoke(verb, []).output == "False\n"
    assert CliRunner().invoke(verb, ["--json"]).output == "True\n"
