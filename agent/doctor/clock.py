"""The time: not before this software existed, not before what is on disk, in step with others.

What an agent can learn of the coordinator's clock without opening a session is little, and said so: TLS 1.3 carries no
time, gRPC sends no date, and a session would close the one that the running agent has. The coordinator's certificate
bounds the time from both sides; the state of this machine's own synchronisation says the rest.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from heliotrope.foundation import identity
from heliotrope.foundation.errors import HeliotropeError

from .finding import Finding, error, ok, skipped, warning
from .probe import meet
from .subject import Subject, split_address

SET_CLOCK = "Set the clock, and keep it: timedatectl set-ntp true (or chrony)."
_TOLERANCE = timedelta(minutes=5)
_WANTED_ERROR_S = 1.0  # 5-minute intervals of the ledger and one-hour tickets take a second without harm
_TIME_ERROR, _STA_UNSYNC = 5, 0x40  # linux/timex.h
_NEWEST_OF = 10_000  # files looked at for the last persisted time


def findings(subject: Subject) -> Iterator[Finding]:
    now_utc = subject.clock.utc()
    yield floor(now_utc, subject.installed_utc, "clock.installed", "this software was installed")
    for daemon in subject.daemons:
        newest_utc = last_persisted_utc(daemon.state_dir)
        if newest_utc is None:
            yield skipped("clock.persisted", f"nothing is stored in {daemon.state_dir} yet")
        else:
            yield floor(now_utc, newest_utc, "clock.persisted", f"something was written in {daemon.state_dir}")
    yield synchronised(kernel_time())
    yield coordinator(subject, now_utc)


def floor(now_utc: datetime, least_utc: datetime, check: str, what: str) -> Finding:
    """The clock must not say less than a time that has been."""
    figures = {"now_utc": _text(now_utc), "floor_utc": _text(least_utc)}
    if now_utc < least_utc - _TOLERANCE:
        text = f"it says {_text(now_utc)}, but {what} at {_text(least_utc)}"
        return error(check, text, SET_CLOCK, **figures)
    return ok(check, f"{_text(now_utc)}; {what} at {_text(least_utc)}", **figures)


def last_persisted_utc(state_dir: Path) -> datetime | None:
    """The newest modification among the daemon's own files; jobs' folders are left out: they may write any time."""
    newest_s, seen = 0.0, 0
    for folder, folders, files in os.walk(state_dir):
        folders[:] = [name for name in folders if name != "jobs"]
        for name in files:
            try:
                newest_s = max(newest_s, Path(folder, name).lstat().st_mtime)
            except OSError:
                continue
            seen += 1
        if seen > _NEWEST_OF:
            break
    return datetime.fromtimestamp(newest_s, UTC) if seen else None


@dataclass(frozen=True)
class KernelTime:
    """What adjtimex says: whether something disciplines the clock, and how far off it may be."""

    is_synchronised: bool
    max_error_s: float
    estimated_error_s: float


class _Timex(ctypes.Structure):
    """The beginning of struct timex; the kernel writes 208 bytes on 64-bit machines."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_byte * 256),
    )


def kernel_time() -> KernelTime | str:
    """Read without changing anything; the cause where that is not allowed."""
    timex = _Timex()
    state = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.byref(timex))
    if state < 0:
        return os.strerror(ctypes.get_errno())
    is_synchronised = state != _TIME_ERROR and not timex.status & _STA_UNSYNC
    return KernelTime(is_synchronised, timex.maxerror / 1e6, timex.esterror / 1e6)


def synchronised(read: KernelTime | str) -> Finding:
    """The kernel's maximum error grows by 0.5 ms a second from the last correction on."""
    check = "clock.ntp"
    if isinstance(read, str):
        return skipped(check, f"adjtimex: {read}; a container's host keeps the clock")
    figures = {"max_error_s": read.max_error_s, "estimated_error_s": read.estimated_error_s}
    if not read.is_synchronised:
        text = "nothing disciplines this clock (adjtimex says unsynchronised)"
        return warning(check, text, "Run: timedatectl set-ntp true (or chrony), unless the host does it.", **figures)
    if read.max_error_s > _WANTED_ERROR_S:
        text = f"synchronised, but up to {read.max_error_s:.3f} s off"
        return warning(check, text, "Look for a nearer time server.", **figures)
    return ok(check, f"synchronised, at most {read.max_error_s:.3f} s off", **figures)


def coordinator(subject: Subject, now_utc: datetime) -> Finding:
    """The coordinator's certificate says when it began: this clock is not before that, or cannot be right."""
    check = "clock.coordinator"
    daemon = subject.agent_daemon
    address = split_address(subject.agent.coordinator) if subject.agent else None
    if daemon is None or address is None:
        return skipped(check, "no agent's configuration with a coordinator's address was given")
    try:
        own = identity.load(daemon.identity_dir, clock=subject.clock)
    except HeliotropeError as cause:
        return skipped(check, f"this node's identity cannot be used: {cause}")
    met = meet(*address, own, http2=True)
    if met.is_about_time:
        text = f"the coordinator's certificate is not valid at {_text(now_utc)}, by this clock: {met.cause}"
        return error(check, text, SET_CLOCK, now_utc=_text(now_utc))
    if met.not_before_utc is None or met.not_after_utc is None:
        return skipped(check, f"the coordinator was not met: {met.cause or met.failed}")
    figures = {"now_utc": _text(now_utc), "not_before_utc": _text(met.not_before_utc)}
    return ok(
        check,
        f"within the coordinator's certificate ({_text(met.not_before_utc)} to {_text(met.not_after_utc)}); "
        "a smaller skew cannot be seen from here without a session",
        not_after_utc=_text(met.not_after_utc),
        **figures,
    )


def _text(utc: datetime) -> str:
    return utc.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
