"""The libraries that an aarch64 machine has, out of Debian's packages, below a folder: no root, nothing installed."""

from __future__ import annotations

import subprocess
from pathlib import Path

KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
PACKAGES = ("libc6", "libgcc-s1", "libstdc++6", "zlib1g")


class Unavailable(Exception):
    """There is no Debian archive to take the packages from; its text says why."""


def make(folder: Path, suite: str = "bookworm") -> Path:
    """Unpack what the bundle takes from its machine into ``folder``."""
    for name in ("lists/partial", "cache/archives/partial", "packages", "root"):
        (folder / name).mkdir(parents=True)
    (folder / "sources.list").write_text(f"deb [signed-by={KEYRING}] {_archive()} {suite} main\n")
    (folder / "status").touch()
    settings = {
        "APT::Architecture": "arm64",
        "APT::Architectures": "arm64",
        "Dir::Etc::SourceList": folder / "sources.list",
        "Dir::Etc::SourceParts": "/dev/null",
        "Dir::State::Lists": folder / "lists",
        "Dir::State::Status": folder / "status",
        "Dir::Cache": folder / "cache",
        "APT::Sandbox::User": "root",
        "Acquire::Languages": "none",
    }
    apt = ["apt-get", "-q", *(word for name, value in settings.items() for word in ("-o", f"{name}={value}"))]
    for verb in (["update"], ["download", *PACKAGES]):
        done = subprocess.run([*apt, *verb], cwd=folder / "packages", capture_output=True, text=True, check=False)
        if done.returncode:
            raise Unavailable(done.stderr.strip())
    for package in (folder / "packages").glob("*.deb"):
        subprocess.run(["dpkg-deb", "-x", package, folder / "root"], check=True)
    return folder / "root"


def _archive() -> str:
    """Where this machine's apt gets Debian's packages."""
    try:
        command = ["apt-get", "indextargets", "--format", "$(LABEL)|$(REPO_URI)"]
        lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    except (OSError, subprocess.CalledProcessError) as error:
        raise Unavailable(f"apt-get does not work here: {error}") from error
    found = [uri for label, _, uri in (line.partition("|") for line in lines) if label == "Debian"]
    if not found:
        raise Unavailable("apt has no list of Debian's archive; run apt-get update")
    return found[0]
