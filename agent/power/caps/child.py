"""The process that calls the driver about limits: ``python -m heliotrope.agent.power.caps.child``, one request each.

Started by :mod:`.driver`. One at a time on a node, by a lock: what a killed agent has left behind is done before the
stop step reads what there is to restore. Before it sets anything it looks whether who asked is still there.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec

from heliotrope.foundation.errors import HeliotropeError, Unreachable

from . import nvml_limiter, rapl_limiter
from .limiter import Limiter, fault, serve
from .limits import Item, Limit, Reply, Request
from .nvml_limiter import Gpus


def main() -> int:
    """Always 0 with a reply: what went wrong is in it."""
    request = msgspec.json.decode(sys.stdin.buffer.readline(), type=Request)
    with _alone(request.lock):
        reply = _answer(request)
    sys.stdout.buffer.write(msgspec.json.encode(reply) + b"\n")
    sys.stdout.flush()
    return 0


def _answer(request: Request) -> Reply:
    sys_root = Path(request.sys_root)
    try:
        if any(item.set_w is not None for item in request.items) and not _is_wanted():
            raise Unreachable("cannot set a power limit: who asked for it is gone")
        with contextlib.ExitStack() as stack:
            needs_gpus = any(not item.device.startswith(rapl_limiter.PREFIX) for item in request.items)
            gpus = stack.enter_context(nvml_limiter.opened(sys_root)) if needs_gpus or not request.items else None
            return Reply(limits=tuple(_limits(request, gpus, sys_root)))
    except HeliotropeError as error:
        return Reply(fault=fault(error))


def _limits(request: Request, gpus: Gpus | None, sys_root: Path) -> Iterator[Limit]:
    if not request.items and gpus is not None:
        for limiter in gpus.all():
            yield serve(limiter, Item(device=limiter.device))
    for item in request.items:
        try:
            yield serve(_find(item.device, gpus, sys_root), item)
        except HeliotropeError as error:
            yield Limit(device=item.device, fault=fault(error))


def _find(device: str, gpus: Gpus | None, sys_root: Path) -> Limiter:
    if device.startswith(rapl_limiter.PREFIX) or gpus is None:
        return rapl_limiter.find(device, sys_root)
    return gpus.find(device)


def _is_wanted() -> bool:
    """The agent keeps the pipe open until it has its answer; at its death the pipe's end can be read."""
    readable, _, _ = select.select([sys.stdin], [], [], 0)
    return not readable


@contextlib.contextmanager
def _alone(path: str) -> Iterator[None]:
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


if __name__ == "__main__":
    sys.exit(main())
