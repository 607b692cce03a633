"""How verbs speak: tables for people, JSON for programs (docs/cli.md), and numbers with their units."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, ParamSpec, TypeVar

import click
import msgspec
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from heliotrope.foundation import logging

P = ParamSpec("P")
R = TypeVar("R")

UNKNOWN = "unknown"  # a value that is not known is said so, never shown as 0
_PIPE_WIDTH = 10_000  # a table that is read by grep is not cut at 80 columns


@dataclass(frozen=True, slots=True)
class Column:
    """A table's column; numbers go ``right``."""

    title: str
    right: bool = False


def json_option(command: Callable[P, R]) -> Callable[P, R]:
    """Adds ``--json``, passed to the command as ``as_json``."""
    option = click.option("--json", "as_json", is_flag=True, help="Print JSON for programs (see docs/cli.md).")
    return option(command)


def log_options(command: Callable[..., R]) -> Callable[..., R]:
    """Adds ``--log-level`` and ``--log-json`` to a daemon's command and sets up logging before it runs."""

    @click.option("--log-level", type=click.Choice(logging.LEVELS), default="info", show_default=True)
    @click.option("--log-json", is_flag=True, help="Log one JSON object per line.")
    @functools.wraps(command)
    def wrapped(*args: Any, log_level: str, log_json: bool, **kwargs: Any) -> R:
        logging.setup(level=log_level, json_lines=log_json)
        return command(*args, **kwargs)

    return wrapped


def print_json(value: Any) -> None:
    """One JSON value on stdout: msgspec structures, dataclasses, dicts, lists; times as RFC 3339 in UTC."""
    encoded = msgspec.json.format(msgspec.json.encode(value), indent=2)
    click.echo(encoded.decode("utf-8"))


def print_table(columns: Sequence[Column], rows: Iterable[Sequence[str]], *, empty: str = "nothing to show") -> None:
    """A table on stdout; cells are plain text, never markup. Without rows the sentence ``empty``."""
    filled = list(rows)
    if not filled:
        click.echo(empty)
        return
    table = Table(box=box.SIMPLE_HEAD if sys.stdout.isatty() else None, pad_edge=False)
    for column in columns:
        table.add_column(Text(column.title), justify="right" if column.right else "left", no_wrap=column.right)
    for row in filled:
        table.add_row(*(Text(printable(cell)) for cell in row))
    _print_trimmed(table)


def print_fields(pairs: Iterable[tuple[str, str]]) -> None:
    """One object for people: ``name  value`` lines."""
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(no_wrap=True, style="bold")
    table.add_column(overflow="fold")
    for name, value in pairs:
        table.add_row(Text(name), Text(printable(value)))
    _print_trimmed(table)


def _print_trimmed(table: Table) -> None:
    """Without the spaces that rich pads lines with: they only get in the way of diff and copying."""
    screen = console()
    with screen.capture() as captured:
        screen.print(table)
    for line in captured.get().splitlines():
        click.echo(line.rstrip(), color=screen.is_terminal)


def console() -> Console:
    """A console on the stdout of this moment: colours on a terminal only (and never with NO_COLOR set)."""
    terminal = sys.stdout.isatty()
    return Console(
        file=sys.stdout,
        force_terminal=terminal,
        no_color=None if terminal else True,
        width=None if terminal else _PIPE_WIDTH,
        highlight=False,
    )


def printable(text: str) -> str:
    """Control characters as escapes: a job's name must not steer the terminal of whoever lists it."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text)


def format_bytes(size_bytes: float | None) -> str:
    """Decimal units, as links and disks are sold: ``1.21 GB``."""
    return _scaled(size_bytes, (("B", 1), ("kB", 1e3), ("MB", 1e6), ("GB", 1e9), ("TB", 1e12), ("PB", 1e15)))


def format_power(power_w: float | None) -> str:
    """``312 W``, ``1.25 kW``."""
    return _scaled(power_w, (("mW", 1e-3), ("W", 1), ("kW", 1e3), ("MW", 1e6)))


def format_energy(energy_j: float | None) -> str:
    """Joules below one watt-hour (3600 J), then Wh, kWh, MWh, which people are billed in."""
    units = (("mJ", 1e-3), ("J", 1.0), ("Wh", 3.6e3), ("kWh", 3.6e6), ("MWh", 3.6e9), ("GWh", 3.6e12))
    return _scaled(energy_j, units)


def format_carbon(carbon_g: float | None) -> str:
    """Grams of CO2 equivalent: ``350 mg``, ``12.5 kg``, ``1.2 t``."""
    return _scaled(carbon_g, (("mg", 1e-3), ("g", 1.0), ("kg", 1e3), ("t", 1e6)))


def format_seconds(duration_s: float | None) -> str:
    """``12.3 ms``, ``4.56 s``, ``2 min 5 s``, ``3 h 20 min``, ``2 d 4 h``."""
    if duration_s is None:
        return UNKNOWN
    if duration_s < 0:
        return "-" + format_seconds(-duration_s)
    if duration_s < 59.95:  # from here on three digits would say 60.0 s
        return _scaled(duration_s, (("us", 1e-6), ("ms", 1e-3), ("s", 1.0)))
    whole_s = round(duration_s)
    for (unit, size_s), (small_unit, small_s) in (
        (("d", 86400), ("h", 3600)),
        (("h", 3600), ("min", 60)),
        (("min", 60), ("s", 1)),
    ):
        if whole_s >= size_s:
            rest = whole_s % size_s // small_s
            return f"{whole_s // size_s} {unit}" + (f" {rest} {small_unit}" if rest else "")
    return f"{whole_s} s"


def format_ratio(share_ratio: float | None) -> str:
    """A share 0..1 as per cent."""
    return UNKNOWN if share_ratio is None else f"{share_ratio * 100:.1f} %"


def format_time(time_utc: datetime | None) -> str:
    """To the second, in UTC, with the zone said."""
    return UNKNOWN if time_utc is None else time_utc.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def _scaled(value: float | None, units: Sequence[tuple[str, float]]) -> str:
    """Three significant digits in the largest unit that keeps the number at 1 or more; zero in the unit of size 1."""
    if value is None:
        return UNKNOWN
    if value == 0:
        return "0 " + next(unit for unit, size in units if size == 1)
    # 999.7 prints as 1000 with three digits: it belongs to the next unit, hence the comparison after rounding.
    rounded = abs(float(f"{value:.3g}"))
    unit, size = next((pair for pair in reversed(units) if rounded >= pair[1]), units[0])
    scaled = float(f"{value / size:.3g}")
    return f"{scaled:g} {unit}" if abs(scaled) < 1e5 else f"{scaled:.0f} {unit}"
