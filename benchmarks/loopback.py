"""A checkpoint from one process to another over loopback: the transfer core with nothing of a network's in its way.

``python -m benchmarks.loopback [--json] [--runs N] [--connections N ...]``. A sender and a receiver as agents run
them: mutual TLS, a signed ticket, frames, files written and read back, the manifest's digest recomputed.
``duration_s`` is all of that; ``network_s`` ends with the last chunk written. ``cpu_s`` is what both ends used. The
copy beside it is the file system's own speed on this machine: ``shutil.copyfile`` and fsync.
"""

from __future__ import annotations

import multiprocessing
import os
import resource
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path

from heliotrope.agent.checkpoints.reader import CheckpointReader
from heliotrope.agent.checkpoints.scan import build
from heliotrope.agent.transfer.client import pull
from heliotrope.agent.transfer.handshake import Address
from heliotrope.agent.transfer.result import PullOptions, PullResult
from heliotrope.agent.transfer.server import TransferServer
from heliotrope.foundation import identity, tls

from . import measure, throwaway
from .checkpoints import Sample, samples
from .measure import Row


def main() -> None:
    parser = measure.options(__doc__)
    parser.add_argument("--connections", type=int, nargs="+", default=[1, 4], help="how many at once (default 1 4)")
    arguments = parser.parse_args()
    rows = []
    for sample in samples():
        with tempfile.TemporaryDirectory(prefix="heliotrope-loopback-") as name:
            folder = Path(name)
            throwaway.issue(folder)
            rows += [_pull_row(sample, folder, count, arguments.runs) for count in arguments.connections]
            if sample.base is None:
                rows.append(_copy_row(sample, folder, arguments.runs))
    measure.show(rows, arguments.json)


def _pull_row(sample: Sample, folder: Path, connections: int, runs: int) -> Row:
    durations_s, networks_s, cpus_s = [], [], []
    base = _reader(sample.base)
    with _sender(sample, folder) as (address, sender):
        for run in range(runs + 1):
            before_s = _own_cpu_s() + _asked_cpu_s(sender)
            result = _pull(folder, base, address, connections)
            if run:  # the first one warms both ends up
                durations_s.append(result.duration_s)
                networks_s.append(result.network_s)
                cpus_s.append(_own_cpu_s() + _asked_cpu_s(sender) - before_s)
    return {
        "dataset": sample.name,
        "base": sample.base_name,
        "tool": "heliotrope",
        "connections": connections,
        "state_bytes": result.state_bytes,
        "wire_bytes": result.wire_bytes,
        **measure.figures("duration_s", durations_s),
        **measure.figures("network_s", networks_s),
        **measure.figures("gb_per_s", [result.state_bytes / duration_s / 1e9 for duration_s in durations_s]),
        **measure.figures("core_s_per_gb", [cpu_s / result.state_bytes * 1e9 for cpu_s in cpus_s]),
        "runs": runs,
    }


def _copy_row(sample: Sample, folder: Path, runs: int) -> Row:
    def copy() -> None:
        target = folder / "copy"
        shutil.copyfile(sample.path, target)
        with open(target, "rb") as file:
            os.fsync(file.fileno())
        target.unlink()

    durations_s = measure.in_turns({"copy": copy}, runs)["copy"]
    state_bytes = sample.path.stat().st_size
    rate = measure.figures("gb_per_s", [state_bytes / duration_s / 1e9 for duration_s in durations_s])
    common = {"dataset": sample.name, "base": None, "tool": "copyfile and fsync", "state_bytes": state_bytes}
    return {**common, **measure.figures("duration_s", durations_s), **rate, "runs": runs}


def _reader(path: Path | None) -> CheckpointReader | None:
    return CheckpointReader(path, build(path)) if path is not None else None


def _pull(folder: Path, base: CheckpointReader | None, address: Address, connections: int) -> PullResult:
    own = identity.load(folder / throwaway.DESTINATION)
    target = folder / "received"
    try:
        return pull(
            address,
            tls.client_context(own),
            name=own.name,
            ticket=throwaway.ticket(folder),
            verify_ticket=throwaway.verifier(folder),
            reference="newest",
            destination=target,
            base=base,
            options=PullOptions(connections=connections),
        )
    finally:
        target.unlink(missing_ok=True)


@contextmanager
def _sender(sample: Sample, folder: Path) -> Iterator[tuple[Address, Connection]]:
    """The sending end in a process of its own: its address, and the line to ask it for its processor time."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=serve, args=(sample, folder, theirs), daemon=True)
    process.start()
    theirs.close()
    try:
        yield ours.recv(), ours
    finally:
        ours.close()
        process.join()


def serve(sample: Sample, folder: Path, line: Connection) -> None:
    """Run the sending end until the line is closed; each word on it is answered with the seconds of processor used."""
    own = identity.load(folder / throwaway.SOURCE)
    newest = CheckpointReader(sample.path, build(sample.path))
    older = _reader(sample.base)
    server = TransferServer(
        tls.server_context(own),
        ("127.0.0.1", 0),
        name=own.name,
        verify_ticket=throwaway.verifier(folder),
        open_source=lambda _ticket, _reference: newest,
        open_base=lambda _ticket, digest: older if older is not None and older.digest == digest else None,
    )
    server.start()
    line.send(server.address)
    try:
        while line.recv():
            line.send(_own_cpu_s())
    except EOFError:
        server.stop()


def _asked_cpu_s(sender: Connection) -> float:
    sender.send("cpu")
    return float(sender.recv())


def _own_cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
