"""Runs checks, each in a process of its own: one that throws, crashes or hangs costs its own findings only.

A driver call that hangs cannot be stopped from inside its process, a crash in a driver's library would end ours. So
every check is forked off, writes its findings to a pipe, one line each, and is killed with its children when its time
is over. All of them run at once: the whole takes as long as the slowest.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import time
import traceback
from collections.abc import Iterator, Sequence

import msgspec

from .finding import Check, Finding, error
from .subject import Subject

_DECODE = msgspec.json.Decoder(Finding).decode
_REPORT = "Report this as a defect, with the output of `heliotrope doctor --json`."


class Examination:
    """One check in its process."""

    def __init__(self, check: Check, subject: Subject) -> None:
        self.check = check
        self.deadline_s = time.monotonic() + check.limit_s
        self._data = b""
        self.pipe, write_end = os.pipe2(os.O_CLOEXEC)
        self._pid = os.fork()
        if self._pid == 0:
            _examine(check, subject, write_end)
        os.close(write_end)

    def read(self) -> bool:
        """Take what has come; False at the end."""
        data = os.read(self.pipe, 1 << 16)
        self._data += data
        return bool(data)

    def findings(self, *, cut_off: bool) -> list[Finding]:
        """End it and say what it found, its own failure included."""
        whole, _, _ = self._data.rpartition(b"\n")
        found = [_DECODE(line) for line in whole.split(b"\n") if line]
        if cut_off:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._pid, signal.SIGKILL)
        number = self._reap(wait=not cut_off)
        os.close(self.pipe)
        name, limit_s = self.check.name, self.check.limit_s
        if cut_off:
            text = f"gave no answer within {limit_s:g} s and was cut off"
            remedy = "Look for a driver, disk or network that hangs, in the kernel's log (dmesg) first; then run again."
            found.append(error(f"{name}.hang", text, remedy, limit_s=limit_s))
        elif number:
            text = f"the check crashed by {signal.Signals(number).name}, probably in a driver's library"
            found.append(error(f"{name}.crash", text, "Install a driver and library of one version; then run again."))
        return found

    def _reap(self, *, wait: bool) -> int:
        """The signal it died by, 0 for none. One that is stuck in the kernel is left to it."""
        pid, status = os.waitpid(self._pid, 0 if wait else os.WNOHANG)
        return os.WTERMSIG(status) if pid and os.WIFSIGNALED(status) else 0


def run(checks: Sequence[Check], subject: Subject) -> Iterator[Finding]:
    """The findings of all checks in their order. Raises OSError when no process can be made."""
    examinations = [Examination(check, subject) for check in checks]
    done: dict[Examination, list[Finding]] = {}
    with selectors.DefaultSelector() as selector:
        for one in examinations:
            selector.register(one.pipe, selectors.EVENT_READ, one)
        while len(done) < len(examinations):
            wait_s = min(one.deadline_s for one in examinations if one not in done) - time.monotonic()
            ready: set[Examination] = {key.data for key, _ in selector.select(max(wait_s, 0.0))}
            for one in [each for each in examinations if each not in done]:
                late = time.monotonic() >= one.deadline_s
                if (one in ready and not one.read()) or late:
                    selector.unregister(one.pipe)
                    done[one] = one.findings(cut_off=late)
    for one in examinations:
        yield from done[one]


def _examine(check: Check, subject: Subject, pipe: int) -> None:
    """In the child; does not return. A library that prints must not spoil what we print."""
    try:
        os.setsid()
        null = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(null, stream)
        try:
            for finding in check.findings(subject):
                _tell(pipe, finding)
        except Exception as cause:  # noqa: BLE001 - whatever it is, it is this check's finding
            at = traceback.extract_tb(cause.__traceback__)[-1]
            text = f"the check itself failed: {type(cause).__name__}: {cause} ({at.name}, line {at.lineno})"
            _tell(pipe, error(f"{check.name}.failure", text, _REPORT))
    finally:
        os._exit(0)


def _tell(pipe: int, finding: Finding) -> None:
    rest = memoryview(msgspec.json.encode(finding) + b"\n")
    while rest:
        rest = rest[os.write(pipe, rest) :]
