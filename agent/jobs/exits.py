"""What the end of a run means: 0 is finished, always; a stopped code is "resume me"; else whose fault it was."""

from __future__ import annotations

import signal
from typing import Literal

import msgspec

Outcome = Literal["finished", "stopped", "killed", "failed", "lost"]
Fault = Literal["none", "job", "node"]

_SHELL_BASE = 128  # a shell reports "my child died of signal n" as 128 + n


class Ending(msgspec.Struct, frozen=True, kw_only=True):
    """How a run ended, as its supervisor (or, for a lost one, the agent) wrote it down."""

    reason: Literal["finished", "stopped", "failed", "lease_expired", "killed", "lost"]
    cause: str = ""  # why the supervisor ended it: lease, stop, kill, shutdown, limit; empty: it did not
    exit_code: int | None = None
    signal: int | None = None
    error: str = ""
    oom_kill_count: int = 0  # kernel-wide during the run: evidence, not proof


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """``killed`` is an end on order: nobody's fault, and it counts as no failure of the job."""

    outcome: Outcome
    fault: Fault
    text: str


def judge(ending: Ending) -> Verdict:
    """Say what an end means and whose fault a failure is. Pure."""
    if ending.reason == "finished":
        return Verdict(outcome="finished", fault="none", text="finished with exit code 0")
    if ending.reason == "stopped":
        return Verdict(
            outcome="stopped", fault="none", text=f"stopped with exit code {ending.exit_code}, to be resumed"
        )
    if ending.reason == "lease_expired":
        return Verdict(outcome="failed", fault="node", text="ended by its supervisor because the lease was running out")
    if ending.reason == "lost":
        return Verdict(outcome="lost", fault="node", text=f"its supervisor is gone: {ending.error or 'cause unknown'}")
    if ending.reason == "killed":
        why = {"shutdown": "because the node shut down"}.get(ending.cause, "on order")
        fault: Fault = "node" if ending.cause == "shutdown" else "none"
        return Verdict(outcome="killed", fault=fault, text=f"ended {why} ({_how(ending)})")
    if ending.cause == "limit":
        return Verdict(outcome="failed", fault="job", text=f"ended because {ending.error or 'it passed a limit'}")
    if _by_sigkill(ending):
        return Verdict(outcome="failed", fault="node", text=_killed_text(ending))
    return Verdict(outcome="failed", fault="job", text=ending.error or f"failed: {_how(ending)}")


def _by_sigkill(ending: Ending) -> bool:
    return ending.signal == signal.SIGKILL or ending.exit_code == _SHELL_BASE + signal.SIGKILL


def _killed_text(ending: Ending) -> str:
    if ending.oom_kill_count:
        return (
            f"killed by SIGKILL, not by its supervisor; the kernel's out-of-memory killer struck "
            f"{ending.oom_kill_count} times on this node meanwhile: give the job more memory or a larger node"
        )
    return (
        "killed by SIGKILL, not by its supervisor; the kernel counts no out-of-memory kill: someone on the node did it"
    )


def _how(ending: Ending) -> str:
    number = ending.signal
    if number is None and ending.exit_code is not None and _SHELL_BASE < ending.exit_code < _SHELL_BASE + 65:
        return f"exit code {ending.exit_code}, a shell's word for {_signal_name(ending.exit_code - _SHELL_BASE)}"
    return f"died of {_signal_name(number)}" if number is not None else f"exit code {ending.exit_code}"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
