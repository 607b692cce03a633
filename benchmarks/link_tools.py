"""What carries a file over a measured link: ours and its peers, each as its users would run it, all from A to B."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from . import throwaway
from .link_hosts import Failed, Host

PORT = 7801


@dataclass(frozen=True)
class Freight:
    """A file at A; ``base``: an older version of it that lies at both ends; ``folder`` is for whatever is needed."""

    path: Path
    base: Path | None
    folder: Path

    @property
    def target(self) -> Path:
        return self.folder / "arrived" / "state"

    def lay_out(self) -> None:
        """The receiving end as it is before a transfer: nothing, or the base under the file's own name."""
        shutil.rmtree(self.target.parent, ignore_errors=True)
        self.target.parent.mkdir(parents=True)


class Tool(ABC):
    """One way to bring the freight from A to B. ``needs``: programs without which it is left out."""

    name = ""
    needs: tuple[str, ...] = ()
    uses_base = False  # whether an older version at the receiver makes it send less

    def missing(self) -> list[str]:
        return [program for program in self.needs if shutil.which(program) is None]

    @abstractmethod
    def serving(self, a: Host, b: Host, freight: Freight) -> contextlib.AbstractContextManager[None]:
        """What has to run at the two ends before the clock does."""

    @abstractmethod
    def fetch(self, a: Host, b: Host, freight: Freight) -> None:
        """The transfer, on the clock. Raises Failed."""


class Heliotrope(Tool):
    """Two agents' transfer ends, running as agents do, with TLS, tickets, and every byte read back, which counts."""

    name = "heliotrope"
    uses_base = True

    def __init__(self) -> None:
        self._agent: Callable[[str], str] = str

    def _command(self, end: str, a: Host, freight: Freight, path: Path) -> list[str]:
        words = [sys.executable, "-m", "benchmarks.link_end", end, "--folder", str(freight.folder)]
        words += ["--address", f"{a.address}:{PORT}", "--path", str(path)]
        return words + (["--base", str(freight.base)] if freight.base else [])

    @contextlib.contextmanager
    def serving(self, a: Host, b: Host, freight: Freight) -> Iterator[None]:
        throwaway.issue(freight.folder)
        with (
            a.serving(PORT, *self._command("serve", a, freight, freight.path)),
            b.answering(*self._command("pull", a, freight, freight.target)) as self._agent,
        ):
            yield

    def fetch(self, a: Host, b: Host, freight: Freight) -> None:
        self._agent("pull")


class Rsync(Tool):
    """Its own protocol with zstd, no encryption: ssh would only slow it down."""

    name = "rsync --compress-choice=zstd"
    needs = ("rsync",)
    uses_base = True

    @contextlib.contextmanager
    def serving(self, a: Host, b: Host, freight: Freight) -> Iterator[None]:
        config = freight.folder / "rsyncd.conf"
        config.write_text(f"uid = root\ngid = root\nuse chroot = no\n[state]\npath = {freight.path.parent}\n")
        with a.serving(PORT, "rsync", "--daemon", "--no-detach", f"--config={config}", f"--port={PORT}"):
            yield

    def fetch(self, a: Host, b: Host, freight: Freight) -> None:
        if freight.base is not None:
            shutil.copyfile(freight.base, freight.target)
        source = f"rsync://{a.address}:{PORT}/state/{freight.path.name}"
        b.run("rsync", "--compress", "--compress-choice=zstd", "--no-times", source, str(freight.target))


class ZstdNetcat(Tool):
    """A pipe: the least that can be done, without encryption or a check at the end."""

    name = "zstd -T0 --adapt | nc"
    needs = ("zstd", "nc")

    @contextlib.contextmanager
    def serving(self, a: Host, b: Host, freight: Freight) -> Iterator[None]:
        yield  # nc serves one connection: it is started for each transfer

    def fetch(self, a: Host, b: Host, freight: Freight) -> None:
        send = f"zstd -q -T0 --adapt -c '{freight.path}' | nc -N -l {a.address} {PORT}"
        with a.serving(PORT, "sh", "-c", send):
            b.run("sh", "-c", f"nc -d {a.address} {PORT} | zstd -q -d -f -o '{freight.target}'")


class OverSsh(Tool):
    """What needs an sshd at A: one of its own, with throw-away keys."""

    needs: tuple[str, ...] = ("sshd", "ssh-keygen", "ssh")

    @contextlib.contextmanager
    def serving(self, a: Host, b: Host, freight: Freight) -> Iterator[None]:
        folder = freight.folder
        for name in ("host", "user"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / f"{name}.key"], check=True)
        shutil.copyfile(folder / "user.key.pub", folder / "authorized")
        (folder / "known").write_text(f"[{a.address}]:{PORT} {(folder / 'host.key.pub').read_text()}")
        config = folder / "sshd.conf"
        config.write_text(
            f"Port {PORT}\nHostKey {folder}/host.key\nAuthorizedKeysFile {folder}/authorized\nPermitRootLogin yes\n"
            f"StrictModes no\nUsePAM no\nPidFile none\nSubsystem sftp internal-sftp\n"
        )
        Path("/run/sshd").mkdir(exist_ok=True)
        with a.serving(PORT, str(shutil.which("sshd")), "-D", "-f", str(config)):
            yield

    def options(self, freight: Freight) -> list[str]:
        folder = freight.folder
        return ["-i", f"{folder}/user.key", "-o", f"UserKnownHostsFile={folder}/known", "-o", "BatchMode=yes"]


class Scp(OverSsh):
    name = "scp"
    needs = (*OverSsh.needs, "scp")

    def fetch(self, a: Host, b: Host, freight: Freight) -> None:
        words = ["scp", "-q", "-P", str(PORT), *self.options(freight), f"root@{a.address}:{freight.path}"]
        b.run(*words, str(freight.target))


class Borg(OverSsh):
    """A backup into an empty repository: the file travels from B to A, which is all the same to a link."""

    name = "borg create --compression zstd"
    needs = (*OverSsh.needs, "borg")

    def fetch(self, a: Host, b: Host, freight: Freight) -> None:
        repository = freight.folder / "arrived" / "repository"
        ssh = " ".join(["ssh", *self.options(freight)])
        settings = f"BORG_RSH='{ssh}' BORG_BASE_DIR='{freight.folder}' BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK=yes"
        place = f"ssh://root@{a.address}:{PORT}{repository}"
        work = f"borg init -e none {place}; borg create -C zstd {place}::x {freight.path}"
        b.run("sh", "-ec", f"export {settings}; {work}")
        shutil.copyfile(freight.path, freight.target)


class Rclone(Tool):
    """Several streams at once over HTTP, uncompressed: it has no compression of its own on the wire."""

    name = "rclone --multi-thread-streams 8"
    needs = ("rclone",)

    @contextlib.contextmanager
    def serving(self, a: Host, b: Host, freight: Freight) -> Iterator[None]:
        with a.serving(PORT, "rclone", "serve", "http", "--addr", f"{a.address}:{PORT}", str(freight.path.parent)):
            yield

    def fetch(self, a: Host, b: Host, freight: Freight) -> None:
        words = ["rclone", "copyto", "--http-url", f"http://{a.address}:{PORT}", f":http:{freight.path.name}"]
        b.run(*words, str(freight.target), "--multi-thread-streams", "8", "--multi-thread-cutoff", "1M")


TOOLS: tuple[Tool, ...] = (Heliotrope(), Rsync(), ZstdNetcat(), Scp(), Rclone(), Borg())


def check(freight: Freight) -> None:
    """Raises Failed unless what arrived is what was sent."""
    done = subprocess.run(["cmp", freight.path, freight.target], capture_output=True, text=True, check=False)
    if done.returncode:
        raise Failed(f"what arrived is not what was sent: {done.stdout}{done.stderr}")
