"""A checkpoint over a shaped link, by Heliotrope and by what people use else, in one run.

    python -m benchmarks.link --host-a "PREFIX" --host-b "PREFIX" --address-a IP --address-b IP \
        --up "COMMAND {rate_mbit} {one_way_ms} {loss_percent}" --down "COMMAND" --links 1000:80:0,100:20:0.1

PREFIX goes before a command to run it at that end (``ip netns exec a``, ``ssh a``); both ends see the same folders.
``--up`` makes the link of each RATE_MBIT:RTT_MS:LOSS_PERCENT. Two things are measured: a full copy to a receiver that
holds nothing, and a standstill, where it holds the state of a step before (ours as a staged base, rsync's as the older
file under the same name). Seconds are from the start of the receiving command to its end; wire bytes are what B's
interfaces received or sent, whichever is more, headers included. Programs that are not
installed are left out.
"""

from __future__ import annotations

import argparse
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from . import large, measure
from .checkpoints import samples
from .link_hosts import Failed, Host
from .link_tools import TOOLS, Freight, Rsync, Tool, check
from .measure import Row

FULL, FROZEN = "fp32 AdamW state", "frozen bf16 weights, trained fp32 part"

# name, file, base, and which tools carry it
Freights = tuple[str, Path, Path | None, Callable[[Tool], bool]]


@dataclass(frozen=True)
class Link:
    rate_mbit: float
    rtt_ms: float
    loss_percent: float


def main() -> None:
    parser = measure.options(__doc__)
    parser.add_argument("--host-a", default="", help="prefix of commands at the sending end")
    parser.add_argument("--host-b", default="", help="prefix of commands at the receiving end")
    parser.add_argument("--address-a", default="127.0.0.1")
    parser.add_argument("--up", default="", help="command that makes a link; {rate_mbit} {one_way_ms} {loss_percent}")
    parser.add_argument("--down", default="", help="command that takes it away")
    parser.add_argument("--links", default="0:0:0", help="RATE_MBIT:RTT_MS:LOSS_PERCENT, comma-separated")
    parser.add_argument("--congestion", default="", help="bbr,cubic: each is set at both ends; empty: as it is")
    parser.add_argument("--tools", default="", help="only those whose name begins with one of these, comma-separated")
    parser.add_argument("--file", type=Path, help="a checkpoint of your own for the full copy")
    parser.add_argument("--base", type=Path, help="an older one, for the standstill")
    parser.add_argument(
        "--patience-s", type=float, default=float("inf"), help="no more runs of what took so long: a row says its runs"
    )
    parser.add_argument("--large-mb", type=int, help="states of this size, made for it, instead of the small ones")
    parser.add_argument("--only", choices=("copy", "standstill"), help="only one of the two")
    arguments = parser.parse_args()
    a = Host(shlex.split(arguments.host_a), arguments.address_a)
    b = Host(shlex.split(arguments.host_b), "")
    tools = [tool for tool in TOOLS if tool.name.startswith(tuple(arguments.tools.split(",")))]
    with tempfile.TemporaryDirectory(prefix="heliotrope-link-states-") as name:
        measure.show(_rows(a, b, tools, Path(name), arguments), arguments.json)


def _rows(a: Host, b: Host, tools: list[Tool], folder: Path, arguments: argparse.Namespace) -> list[Row]:
    rows: list[Row] = []
    states = _freights(arguments, folder)
    for link in (Link(*map(float, text.split(":"))) for text in arguments.links.split(",")):
        _shape(arguments.up, link)
        try:
            for congestion in arguments.congestion.split(","):
                if congestion:
                    a.congestion(congestion)
                    b.congestion(congestion)
                for name, path, base, able in states:
                    for row in _measured(a, b, [tool for tool in tools if able(tool)], path, base, arguments):
                        shape = {"rate_mbit": link.rate_mbit, "rtt_ms": link.rtt_ms}
                        shape |= {"loss_ratio": link.loss_percent / 100}
                        rows.append({"dataset": name, **shape, "congestion": congestion or None, **row})
                        print(rows[-1], file=sys.stderr, flush=True)
        finally:
            _shell(arguments.down)
    return rows


def _freights(arguments: argparse.Namespace, folder: Path) -> list[Freights]:
    """A full copy has no base, a standstill has one."""
    found: list[Freights] = []
    if arguments.file is not None:
        found = [(arguments.file.name, arguments.file, base, _any) for base in (None, arguments.base)]
        found = found if arguments.base else found[:1]
    elif arguments.large_mb:
        state, mixture = large.fp32_state(folder, arguments.large_mb), large.frozen(folder, arguments.large_mb)
        found.append((state.name, state.path, None, _any))
        # What a standstill of such a job is measured against: stop it, and copy all of it.
        found.append((mixture.name, mixture.path, None, lambda tool: isinstance(tool, Rsync)))
        found.append((mixture.name, mixture.path, mixture.base, _any))
    else:
        for sample in samples():
            is_copy = sample.name == FULL and sample.base is None
            is_standstill = sample.base_name == "1 step before" and sample.name in (FULL, FROZEN)
            if is_copy or is_standstill:
                found.append((sample.name, sample.path, sample.base, _any))
    unwanted = {"copy": lambda base: base is not None, "standstill": lambda base: base is None}.get(arguments.only)
    return [one for one in found if unwanted is None or not unwanted(one[2])]


def _any(_tool: Tool) -> bool:
    return True


def _measured(
    a: Host, b: Host, tools: list[Tool], path: Path, base: Path | None, arguments: argparse.Namespace
) -> Iterator[Row]:
    for tool in tools:
        if base is not None and not tool.uses_base:
            continue
        if missing := tool.missing():
            print(f"{tool.name}: left out, {', '.join(missing)} is not installed", file=sys.stderr)
            continue
        with tempfile.TemporaryDirectory(prefix="heliotrope-link-") as name:
            freight = Freight(path, base, Path(name))
            try:
                yield _row(a, b, tool, freight, arguments.runs, arguments.patience_s)
            except Failed as error:
                print(f"{tool.name}: {error}", file=sys.stderr)
                yield {"tool": tool.name, "error": str(error)}


def _row(a: Host, b: Host, tool: Tool, freight: Freight, runs: int, patience_s: float) -> Row:
    durations_s: list[float] = []
    wire_bytes: list[float] = []
    with tool.serving(a, b, freight):
        while len(durations_s) < runs and sum(durations_s) < patience_s:
            freight.lay_out()
            before, start_s = b.counted(), time.monotonic()
            tool.fetch(a, b, freight)
            durations_s.append(time.monotonic() - start_s)
            wire_bytes.append(float(max(now - then for now, then in zip(b.counted(), before, strict=True))))
            check(freight)
    return {
        "tool": tool.name,
        "state_bytes": freight.path.stat().st_size,
        **measure.figures("seconds" if freight.base is None else "standstill_s", durations_s),
        **measure.figures("wire_bytes", wire_bytes),
        "runs": len(durations_s),
    }


def _shape(command: str, link: Link) -> None:
    values = {"rate_mbit": f"{link.rate_mbit:g}", "one_way_ms": f"{link.rtt_ms / 2:g}"}
    _shell(command.format(**values, loss_percent=f"{link.loss_percent:g}") if command else "")


def _shell(command: str) -> None:
    if command:
        words = shlex.split(command)
        subprocess.run([shutil.which(words[0]) or words[0], *words[1:]], check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    main()
