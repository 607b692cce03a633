"""The service manager: whether there is one, and whether it is new enough for the units that are shipped."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator

from .finding import Finding, ok, warning
from .subject import Subject

OLDEST = 247  # LoadCredential= and the transient services' properties that jobs are started with


def findings(subject: Subject) -> Iterator[Finding]:
    yield manager((subject.run_root / "systemd" / "system").is_dir(), version_text())


def version_text() -> str:
    """The first line of ``systemctl --version``; empty where there is none."""
    try:
        done = subprocess.run(["systemctl", "--version"], capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.partition("\n")[0].strip() if done.returncode == 0 else ""


def manager(is_running: bool, text: str) -> Finding:
    """``text`` as ``systemctl --version`` prints it: "systemd 252 (252.22-1)"."""
    check = "systemd.manager"
    found = re.match(r"systemd (\d+)", text)
    version = int(found[1]) if found else 0
    if not is_running:
        return warning(
            check,
            "systemd is not what runs this machine; jobs run as detached processes, and nothing restarts the agent",
            "Have your own service manager restart the agent without killing its control group.",
            version=version,
        )
    if version < OLDEST:
        remedy = f"Upgrade to systemd {OLDEST} or later."
        return warning(check, f"{text or 'systemd of an unknown version'}", remedy, version=version)
    return ok(check, text, version=version)
