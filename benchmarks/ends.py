"""The two ends of a transfer over loopback, each in a process of its own, so that time and memory are an end's own."""

from __future__ import annotations

import multiprocessing
import resource
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from heliotrope.agent.checkpoints.reader import CheckpointReader
from heliotrope.agent.checkpoints.scan import build
from heliotrope.agent.transfer.client import pull
from heliotrope.agent.transfer.handshake import Address
from heliotrope.agent.transfer.result import PullOptions
from heliotrope.agent.transfer.server import TransferServer
from heliotrope.foundation import identity, tls

from . import parts, plain, throwaway


@dataclass(frozen=True)
class Setting:
    """What is measured. ``folder``: of the identities, also where the copy grows; ``metered``: time by part."""

    folder: Path
    path: Path
    base: Path | None
    tls: bool
    metered: bool = False


@dataclass(frozen=True)
class Usage:
    """What an end used since its start: ``peak_bytes`` resident; processor time of all, and of each part if metered."""

    cpu_s: float
    peak_bytes: int
    parts_s: dict[str, float]


@dataclass(frozen=True)
class Pulled:
    """One pull's result, and both ends' processor time for it alone."""

    state_bytes: int
    wire_bytes: int
    duration_s: float
    network_s: float
    sender: Usage
    receiver: Usage


class Ends:
    """Both ends; :meth:`pull` moves the state once."""

    def __init__(self, sender: Connection, receiver: Connection) -> None:
        self._sender = sender
        self._receiver = receiver

    def pull(self, connections: int | None) -> Pulled:
        """``connections`` None: as many as the pull finds good. The copy is removed, outside of what is measured."""
        before = self._usage()
        self._receiver.send(connections)
        result = self._receiver.recv()
        after = self._usage()
        self._receiver.send("remove")
        self._receiver.recv()
        sender, receiver = (_since(first, last) for first, last in zip(before, after, strict=True))
        state_bytes, wire_bytes, duration_s, network_s = result
        return Pulled(state_bytes, wire_bytes, duration_s, network_s, sender, receiver)

    def _usage(self) -> list[Usage]:
        for end in (self._sender, self._receiver):
            end.send("usage")
        return [end.recv() for end in (self._sender, self._receiver)]


@contextmanager
def running(setting: Setting) -> Iterator[Ends]:
    """Both processes, until the block ends."""
    with _process(_send, setting) as sender, _process(_receive, setting, sender.recv()) as receiver:
        yield Ends(sender, receiver)


@contextmanager
def _process(run: Callable[..., None], *arguments: object) -> Iterator[Connection]:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=run, args=(theirs, *arguments), daemon=True)
    process.start()
    theirs.close()
    try:
        yield ours
    finally:
        ours.close()
        process.join()


def _send(line: Connection, setting: Setting) -> None:
    own = identity.load(setting.folder / throwaway.SOURCE)
    peer = identity.load(setting.folder / throwaway.DESTINATION)
    newest, older = CheckpointReader(setting.path, build(setting.path)), _reader(setting.base)
    meter = _meter(setting)
    server = TransferServer(
        tls.server_context(own) if setting.tls else plain.context(peer),
        ("127.0.0.1", 0),
        name=own.name,
        verify_ticket=throwaway.verifier(setting.folder),
        open_source=lambda _ticket, _reference: newest,
        open_base=lambda _ticket, digest: older if older is not None and older.digest == digest else None,
    )
    server.start()
    line.send(server.address)
    for _ in _questions(line):
        line.send(_usage(meter))
    server.stop()


def _receive(line: Connection, setting: Setting, address: Address) -> None:
    base, meter = _reader(setting.base), _meter(setting)
    target = setting.folder / "received"
    for question in _questions(line):
        if question == "usage":
            line.send(_usage(meter))
        elif question == "remove":
            _remove(target)
            line.send(None)
        else:
            line.send(_pull(setting, address, base, target, question))


def _pull(
    setting: Setting, address: Address, base: CheckpointReader | None, target: Path, connections: object
) -> tuple[int, int, float, float]:
    own = identity.load(setting.folder / throwaway.DESTINATION)
    peer = identity.load(setting.folder / throwaway.SOURCE)
    result = pull(
        address,
        tls.client_context(own) if setting.tls else plain.context(peer),
        name=own.name,
        ticket=throwaway.ticket(setting.folder),
        verify_ticket=throwaway.verifier(setting.folder),
        reference="newest",
        destination=target,
        base=base,
        options=PullOptions(connections=connections if isinstance(connections, int) else None),
    )
    return result.state_bytes, result.wire_bytes, result.duration_s, result.network_s


def _questions(line: Connection) -> Iterator[object]:
    """Until the far end of the line is closed."""
    while True:
        try:
            yield line.recv()
        except EOFError:
            return


def _reader(path: Path | None) -> CheckpointReader | None:
    return CheckpointReader(path, build(path)) if path is not None else None


def _remove(target: Path) -> None:
    if target.is_dir():
        shutil.rmtree(target)
    else:
        target.unlink()


def _meter(setting: Setting) -> parts.Meter | None:
    if not setting.metered:
        return None
    meter = parts.Meter()
    meter.start()
    return meter


def _usage(meter: parts.Meter | None) -> Usage:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return Usage(used.ru_utime + used.ru_stime, _peak_bytes(), meter.spent_s() if meter else {})


def _peak_bytes() -> int:
    """Of this process alone: ru_maxrss survives an exec, so a child would begin with its parent's."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


def _since(first: Usage, last: Usage) -> Usage:
    spent_s = {part: seconds_s - first.parts_s[part] for part, seconds_s in last.parts_s.items()}
    return Usage(last.cpu_s - first.cpu_s, last.peak_bytes, spent_s)
