"""The agent's way to the driver: a process per request, given up when the driver hangs.

Setting a GPU's limit takes CAP_SYS_ADMIN, which the agent's service has not: there systemd starts the process as a
service of its own, with that capability, the GPUs' device nodes and little else (as it starts jobs).
"""

from __future__ import annotations

import os
import selectors
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

import msgspec

from heliotrope.foundation import errors
from heliotrope.foundation.errors import Unreachable

from .limits import Item, Limit, Reply, Request

COMMAND = (sys.executable, "-m", "heliotrope.agent.power.caps.child")
TIMEOUT_S = 20.0  # opening a driver may load its firmware
_CAP_SYS_ADMIN = 1 << 21
_REAP_S = 1.0
# Where the driver's library is found, if a drop-in of the agent's service says so.
_PASSED_VARIABLES = ("LD_LIBRARY_PATH", "PYTHONPATH")
_SANDBOX = (
    # The driver asks for CAP_SYS_ADMIN of whoever sets a limit.
    "CapabilityBoundingSet=CAP_SYS_ADMIN",
    "NoNewPrivileges=yes",
    "DevicePolicy=closed",
    "DeviceAllow=char-nvidia* rw",
    # /sys stays writable: the limits of processors are files there.
    "ProtectSystem=full",
    "ProtectHome=yes",
    "ProtectKernelModules=yes",
    "ProtectControlGroups=yes",
    "PrivateNetwork=yes",
    "PrivateTmp=yes",
    "RestrictNamespaces=yes",
    "LockPersonality=yes",
    "SystemCallFilter=@system-service",
    "SystemCallErrorNumber=EPERM",
    # A hanging driver must not keep its process for ever where systemd can end it.
    f"RuntimeMaxSec={TIMEOUT_S:.0f}s",
)


class Driver:
    """Reads and sets limits. ``folder``: where the lock file is; ``sys_root``: another /sys only in tests."""

    def __init__(
        self,
        folder: Path,
        sys_root: str = "/sys",
        *,
        command: Sequence[str] | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self._lock = os.fspath(folder / "lock")
        self._sys_root = sys_root
        self._command = tuple(command) if command is not None else choose_command()
        self._timeout_s = timeout_s
        self._hanging: subprocess.Popen[bytes] | None = None

    def read(self, *devices: str) -> tuple[Limit, ...]:
        """The limits of these devices, or of all GPUs. Raises what kept one of them from answering."""
        limits = self.apply(tuple(Item(device=device) for device in devices))
        for limit in limits:
            if limit.fault is not None:
                raise errors.by_name(limit.fault.kind)(limit.fault.message)
        return limits

    def apply(self, items: Sequence[Item]) -> tuple[Limit, ...]:
        """What came of each item, in order. Raises the error that kept all of them from being done."""
        request = Request(lock=self._lock, sys_root=self._sys_root, items=tuple(items))
        reply = self._ask(request)
        if reply.fault is not None:
            raise errors.by_name(reply.fault.kind)(reply.fault.message)
        return reply.limits

    def _ask(self, request: Request) -> Reply:
        if self._hanging is not None and self._hanging.poll() is None:
            raise Unreachable("cannot ask the driver about power limits: an earlier call still hangs; see nvidia-smi")
        try:
            process = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        except OSError as error:
            raise Unreachable(f"cannot start {self._command[0]}: {error.strerror}; it is tried again") from error
        try:
            return self._answer(process, msgspec.json.encode(request) + b"\n")
        finally:
            self._end(process)

    def _answer(self, process: subprocess.Popen[bytes], line: bytes) -> Reply:
        """The input stays open while the answer is awaited: it tells the process that we are there."""
        assert process.stdin is not None and process.stdout is not None and process.stderr is not None
        try:
            process.stdin.write(line)
            process.stdin.flush()
        except BrokenPipeError:
            pass  # what it said of its end is read below
        answer = _line_within(process.stdout, self._timeout_s)
        if answer is None:
            raise Unreachable(
                f"cannot ask the driver about power limits: no answer in {self._timeout_s:g} s; look at nvidia-smi"
            )
        try:
            return msgspec.json.decode(answer, type=Reply)
        except msgspec.DecodeError as error:
            process.kill()
            last = process.stderr.read().decode(errors="replace").strip().splitlines()[-1:] or ["no message"]
            raise Unreachable(f"cannot ask the driver about power limits: its process ended: {last[0]}") from error

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        """A call that hangs in the kernel cannot be killed, only be left behind."""
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()
        try:
            process.wait(_REAP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            try:
                process.wait(_REAP_S)
            except subprocess.TimeoutExpired:
                self._hanging = process


def choose_command(environment: Mapping[str, str] = os.environ) -> tuple[str, ...]:
    """The process itself, or systemd-run in front of it where root was denied the driver's capability."""
    if os.geteuid() != 0 or _effective_capabilities() & _CAP_SYS_ADMIN or not Path("/run/systemd/system").is_dir():
        return COMMAND
    passed = {
        name: value
        for name, value in environment.items()
        if name in _PASSED_VARIABLES or name.startswith("HELIOTROPE_")
    }
    options = (
        "systemd-run",
        "--quiet",
        "--no-ask-password",
        "--collect",
        "--pipe",
        "--wait",
        "--service-type=exec",
        "--description=Heliotrope reads or sets power limits",
    )
    return (
        *options,
        *(f"--property={each}" for each in _SANDBOX),
        *(f"--setenv={name}={value}" for name, value in passed.items()),
        "--",
        # systemd puts variables into a command line; a path may hold a dollar of its own.
        *(word.replace("$", "$$") for word in COMMAND),
    )


def _effective_capabilities() -> int:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1], 16) for line in lines if line.startswith("CapEff:"))


def _line_within(stream: IO[bytes], timeout_s: float) -> bytes | None:
    """What comes up to the line's end, or to the stream's; None when neither comes in time."""
    deadline_s = time.monotonic() + timeout_s
    line = b""
    with selectors.DefaultSelector() as selector:
        selector.register(stream, selectors.EVENT_READ)
        while not line.endswith(b"\n"):
            if not selector.select(max(0.0, deadline_s - time.monotonic())):
                return None
            data = os.read(stream.fileno(), 1 << 16)
            if not data:
                break
            line += data
    return line
