"""Fetches source packages with apt, which checks that Debian signed them, beside the machine's own lists."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

from heliotrope.foundation.errors import HeliotropeError, Incompatible, Unreachable

from .toolchain import run

_KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
_INSTEAD = "bring an interpreter with --python"


class Archive:
    """Sources of one suite and of its security updates, from wherever this machine's apt gets Debian's packages."""

    def __init__(self, suite: str, folder: Path, log: Path) -> None:
        """Raises Incompatible without an apt that knows Debian's archive, Unreachable when it does not answer."""
        self._log = log
        suites = {"Debian": suite, "Debian-Security": f"{suite}-security"}
        lines = {label: f"deb-src [signed-by={_KEYRING}] {uri} {suites[label]} main\n" for label, uri in _places()}
        self._newest = self._set_up(folder / "all", "".join(lines.values()))
        self._main = self._set_up(folder / "main", lines["Debian"])

    def download(self, package: str, folder: Path, *, accept_outdated: bool) -> str:
        """Download a source package into ``folder``.

        Returns the version that the archive lists but does not serve, when ``accept_outdated`` lets the one before it
        pass; else nothing. Raises Unreachable.
        """
        try:
            self._fetch(self._newest, package, folder)
        except HeliotropeError as error:
            listed, before = (self._version(apt, package) for apt in (self._newest, self._main))
            if listed == before:
                raise Unreachable(f"cannot fetch {package} {listed}: {error}; try again, or {_INSTEAD}") from error
            if not accept_outdated:
                raise Unreachable(
                    f"cannot fetch {package} {listed}, a security update: the archive lists it but does not serve it; "
                    f"try again or another mirror, {_INSTEAD}, or take {before} knowingly, with --accept-outdated"
                ) from error
            for partial in folder.iterdir():
                partial.unlink()
            self._fetch(self._main, package, folder)
            return listed
        return ""

    def _set_up(self, folder: Path, lines: str) -> Sequence[str]:
        for name in ("lists/partial", "cache/archives/partial"):
            (folder / name).mkdir(parents=True)
        (folder / "sources.list").write_text(lines, encoding="utf-8")
        settings = {
            "Dir::Etc::SourceList": folder / "sources.list",
            "Dir::Etc::SourceParts": "/dev/null",
            "Dir::State::Lists": folder / "lists",
            "Dir::Cache": folder / "cache",
            "APT::Sandbox::User": "root",  # apt's own account cannot see into everybody's folders
            "Acquire::Retries": "3",
            "Acquire::Languages": "none",
        }
        apt = ["apt-get", "-q", *(word for name, value in settings.items() for word in ("-o", f"{name}={value}"))]
        try:
            run([*apt, "update", "--error-on=any"], cwd=folder, log=self._log)
        except HeliotropeError as error:
            raise Unreachable(f"cannot read Debian's archive: {error}; try again, or {_INSTEAD}") from error
        return apt

    def _fetch(self, apt: Sequence[str], package: str, folder: Path) -> None:
        run([*apt, "source", "--download-only", package], cwd=folder, log=self._log)

    def _version(self, apt: Sequence[str], package: str) -> str:
        command = [*apt, "source", "--print-uris", package]
        text = subprocess.run(command, capture_output=True, text=True, check=False).stdout
        found = re.search(rf" {re.escape(package)}_(\S+)\.dsc ", text)
        return found[1] if found else "(no version)"


def _places() -> list[tuple[str, str]]:
    """(label, address) of the archives that this machine's apt is set up with, so that none is named here."""
    command = ["apt-get", "indextargets", "--format", "$(LABEL)|$(REPO_URI)"]
    try:
        text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        raise Incompatible(f"cannot fetch Python's sources: apt-get does not work here; {_INSTEAD}") from error
    known = {label: uri for label, _, uri in (line.partition("|") for line in text.splitlines())}
    if "Debian" not in known:
        raise Incompatible(
            f"cannot fetch Python's sources: apt has no list of Debian's archive; run apt-get update, or {_INSTEAD}"
        )
    return [(label, known[label]) for label in ("Debian", "Debian-Security") if label in known]
