"""A checkpoint from one process to another over loopback: the transfer core with nothing of a network's in its way.

``python -m benchmarks.loopback [--json] [--runs N] [--size-mb N] [--connections N ...] [--small] [--peaks-mb N ...]``.
A sender and a receiver as agents run them: a signed ticket, frames, files written, synced and read back, the manifest's
digest recomputed; with mutual TLS as always, and without it, which only this benchmark can, to see what it costs.

``duration_s`` is all of that; ``network_s`` ends with the last chunk written. ``gb_per_s`` is state by ``duration_s``.
``core_s_per_gb`` is the processor time of both ends, ``sender_`` and ``receiver_core_s_per_gb`` of each; a part of it
(``link``: sockets and TLS; ``digest``; ``file``; ``coding``; ``rest``) comes from one more pull, in which clocks run.
The copy beside it is the file system's own speed on this machine: ``shutil.copyfile`` and fsync.

``--small`` measures the samples of 48 MB instead, bases among them. ``--peaks-mb 100 20000`` pulls already compressed
state of each size once, for the peak memory of both ends; twice the largest size has to fit the disk.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path

from . import ends, large, measure, throwaway
from .checkpoints import Sample, samples
from .ends import Pulled, Setting
from .measure import Row


def main() -> None:
    parser = measure.options(__doc__)
    parser.add_argument("--size-mb", type=int, default=1000, help="of state (default 1000)")
    parser.add_argument("--connections", type=int, nargs="+", default=[1, 4], help="how many at once (default 1 4)")
    parser.add_argument("--small", action="store_true", help="the samples of 48 MB, with their bases")
    parser.add_argument("--peaks-mb", type=int, nargs="+", help="only the memory of both ends, for these sizes")
    parser.add_argument("--folder", type=Path, help="where the state and its copy lie (default: temporary files)")
    arguments = parser.parse_args()
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # the ends' processes: its idle threads spin, and are no part
    with tempfile.TemporaryDirectory(prefix="heliotrope-loopback-", dir=arguments.folder) as name:
        folder = Path(name)
        throwaway.issue(folder)
        if arguments.peaks_mb:
            rows = [_peak_row(folder, size_mb) for size_mb in arguments.peaks_mb]
        else:
            found = samples() if arguments.small else _made(folder, arguments.size_mb)
            rows = list(_rows(found, folder, arguments.connections, arguments.runs))
        measure.show(rows, arguments.json)


def _made(folder: Path, size_mb: int) -> Iterable[Sample]:
    """One after the other: the disk need not hold all of them at once."""
    for make in (large.compressed, large.compressed_tensors, large.fp32_state):
        sample = make(folder, size_mb)
        yield sample
        sample.path.unlink()


def _rows(found: Iterable[Sample], folder: Path, connections: list[int], runs: int) -> Iterable[Row]:
    for sample in found:
        for count in connections:
            for with_tls in (True, False):
                yield _pull_row(sample, folder, count, runs, with_tls=with_tls)
        if sample.base is None:
            yield _copy_row(sample, folder, runs)


def _pull_row(sample: Sample, folder: Path, connections: int, runs: int, *, with_tls: bool) -> Row:
    setting = Setting(folder, sample.path, sample.base, with_tls)
    with ends.running(setting) as both:
        both.pull(connections)  # warms both ends up
        pulls = [both.pull(connections) for _ in range(runs)]
    with ends.running(Setting(folder, sample.path, sample.base, with_tls, metered=True)) as both:
        both.pull(connections)
        metered = both.pull(connections)
    return {
        "dataset": sample.name,
        "base": sample.base_name,
        "tool": "heliotrope" if with_tls else "heliotrope without TLS",
        "connections": connections,
        "state_bytes": pulls[0].state_bytes,
        "wire_bytes": pulls[0].wire_bytes,
        **measure.figures("duration_s", [pull.duration_s for pull in pulls]),
        **measure.figures("network_s", [pull.network_s for pull in pulls]),
        **measure.figures("gb_per_s", [pull.state_bytes / pull.duration_s / 1e9 for pull in pulls]),
        **measure.figures("core_s_per_gb", [_per_gb(pull, pull.sender.cpu_s + pull.receiver.cpu_s) for pull in pulls]),
        **measure.figures("sender_core_s_per_gb", [_per_gb(pull, pull.sender.cpu_s) for pull in pulls]),
        **measure.figures("receiver_core_s_per_gb", [_per_gb(pull, pull.receiver.cpu_s) for pull in pulls]),
        **_parts(metered),
        "sender_peak_bytes": pulls[-1].sender.peak_bytes,
        "receiver_peak_bytes": pulls[-1].receiver.peak_bytes,
        "runs": runs,
    }


def _parts(pull: Pulled) -> Row:
    """Core-seconds per GB of each end by part, ``rest`` being what no part's clock saw."""
    found: Row = {}
    for name, end in (("sender", pull.sender), ("receiver", pull.receiver)):
        spent_s = {**end.parts_s, "rest": end.cpu_s - sum(end.parts_s.values())}
        for part, seconds_s in spent_s.items():
            found[f"{name}_{part}_core_s_per_gb"] = float(f"{_per_gb(pull, seconds_s):.3f}")
    return found


def _per_gb(pull: Pulled, seconds_s: float) -> float:
    return seconds_s / pull.state_bytes * 1e9


def _peak_row(folder: Path, size_mb: int) -> Row:
    """One pull, as an agent makes it by default."""
    sample = large.compressed(folder, size_mb)
    with ends.running(Setting(folder, sample.path, None, tls=True)) as both:
        pull = both.pull(None)
    sample.path.unlink()
    return {
        "dataset": sample.name,
        "tool": "heliotrope",
        "state_bytes": pull.state_bytes,
        "wire_bytes": pull.wire_bytes,
        "duration_s": pull.duration_s,
        "gb_per_s": pull.state_bytes / pull.duration_s / 1e9,
        "core_s_per_gb": _per_gb(pull, pull.sender.cpu_s + pull.receiver.cpu_s),
        "sender_peak_bytes": pull.sender.peak_bytes,
        "receiver_peak_bytes": pull.receiver.peak_bytes,
    }


def _copy_row(sample: Sample, folder: Path, runs: int) -> Row:
    target = folder / "copy"

    def copy() -> None:
        shutil.copyfile(sample.path, target)
        with open(target, "rb") as file:
            os.fsync(file.fileno())
        target.unlink()

    durations_s = measure.in_turns({"copy": copy}, runs)["copy"]
    state_bytes = sample.path.stat().st_size
    rate = measure.figures("gb_per_s", [state_bytes / duration_s / 1e9 for duration_s in durations_s])
    common = {"dataset": sample.name, "base": None, "tool": "copyfile and fsync", "state_bytes": state_bytes}
    return {**common, **measure.figures("duration_s", durations_s), **rate, "runs": runs}


if __name__ == "__main__":
    main()
