"""A machine of its own for these tests: a real systemd as PID 1 in namespaces, over a root tree of its own (boot.sh).

The program in it is installed, not this checkout: /opt/heliotrope with its own interpreter link, because the units'
sandbox hides home folders and /tmp, where a checkout may well be.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
import tomllib
from collections.abc import Callable, Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import TypeVar

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = Path("/opt/heliotrope")
BOOT_TIMEOUT_S = 60.0
NEEDED = (
    "unshare",
    "nsenter",
    "pivot_root",
    "setpriv",
    "systemctl",
    "systemd-run",
    "systemd-sysusers",
    "systemd-analyze",
)
_SHIPPED = {".py", ".so", ".toml", ".md", ".service", ".conf", ".typed", ".proto"}

T = TypeVar("T")


def why_not() -> str:
    """Why a nested systemd cannot run here; empty where it can."""
    if os.geteuid() != 0:
        return "only root can make the namespaces that a nested systemd runs in"
    if missing := [name for name in NEEDED if shutil.which(name) is None]:
        return f"not installed here: {', '.join(missing)}"
    if not Path("/lib/systemd/systemd").exists():
        return "not installed here: /lib/systemd/systemd"
    if cgroup_mount() is None:
        return "no cgroup2 hierarchy is mounted here"
    command = ["unshare", "--mount", "--pid", "--fork", "--cgroup", "--uts", "--ipc", "--net", "mount", "-t", "tmpfs"]
    tried = subprocess.run([*command, "none", "/mnt"], capture_output=True, text=True, check=False)
    return f"namespaces are refused here: {tried.stderr.strip()}" if tried.returncode else ""


def cgroup_mount() -> Path | None:
    """Where the cgroup2 hierarchy is mounted and may be written to."""
    lines = (line.split() for line in Path("/proc/mounts").read_text(encoding="utf-8").splitlines())
    return next((Path(f[1]) for f in lines if f[2] == "cgroup2" and "rw" in f[3].split(",")), None)


def until(look: Callable[[], T | None], what: str, timeout_s: float = 60.0) -> T:
    """Look again and again until there is something. Raises AssertionError."""
    deadline_s = time.monotonic() + timeout_s
    while (found := look()) is None:
        assert time.monotonic() < deadline_s, f"{what}: not within {timeout_s:.0f} s"
        time.sleep(0.05)
    return found


class Machine:
    """Boots with the context, and is gone with it."""

    def __init__(
        self, folder: Path, *, hostname: str = "heliotrope-test", extra: Mapping[str, Path] | None = None
    ) -> None:
        """``folder``: new, for the program and mount point; ``extra``: more folders to share, by their path inside."""
        self.hostname = hostname
        self._extra = dict(extra or {})
        self.program = folder / "program"
        self._tree = folder / "tree"
        self._log = folder / "boot.log"
        mount = cgroup_mount()
        assert mount is not None
        self._cgroup = mount / f"heliotrope-test-{os.getpid()}-{folder.name}"
        self._process: subprocess.Popen[bytes] | None = None
        self.pid = 0  # of its PID 1, as the host counts

    def __enter__(self) -> Machine:
        self._tree.mkdir(parents=True)
        self.upgrade(metadata.version("heliotrope"))
        self._cgroup.mkdir()
        try:
            self._boot()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        until(self._cgroup_removed, "the end of the machine's processes")

    def kill(self) -> None:
        """Everything in it ends at once."""
        if self._process is not None:
            if self.pid:
                os.kill(self.pid, signal.SIGKILL)  # all of the namespace goes with its PID 1
            self._process.kill()
            self._process.wait()
        self._process, self.pid = None, 0

    def run(self, *command: str | Path, check: bool = True, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """A command inside, as root, in its own root folder."""
        enter = ["nsenter", f"--target={self.pid}", "--mount", "--pid", "--uts", "--ipc", "--net", "--cgroup", "--root"]
        environment = {"PATH": f"{PROGRAM}/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8", "HOME": "/root"}
        words = [*enter, "--wd", "--", *(str(word) for word in command)]
        done = subprocess.run(
            words, input=stdin, capture_output=True, text=True, check=False, env=environment, timeout=150
        )
        assert not check or done.returncode == 0, f"{words[12:]}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done

    def path(self, inside: str | Path) -> Path:
        """A path of the machine as seen from here; links inside are not followed in its own root."""
        return Path(f"/proc/{self.pid}/root") / Path(inside).relative_to("/")

    def show(self, unit: str, field: str) -> str:
        """One property of a unit."""
        return self.run("systemctl", "show", "--property", field, "--value", unit).stdout.strip()

    def journal(self, unit: str = "") -> str:
        """What was logged, for a failed test to show."""
        return self.run("journalctl", "--no-pager", "--output=cat", *(["-u", unit] if unit else [])).stdout

    def upgrade(self, version: str) -> None:
        """Put the program there, under this version, every file of it new; what was there goes."""
        packages = f"lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages"
        making = self.program.with_name("making")
        site = making / packages
        for package, source in _packages():
            target = site.joinpath(*package.split("."))
            target.mkdir(parents=True)
            for file in source.iterdir():
                if file.is_file() and (file.suffix in _SHIPPED or file.name == "py.typed"):
                    shutil.copy(file, target)
        information = site / f"heliotrope-{version}.dist-info"
        information.mkdir()
        (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: heliotrope\nVersion: {version}\n")
        (site / "deps.pth").write_text("/opt/deps\n")
        inside = interpreter_inside()
        (making / "bin").mkdir()
        (making / "bin" / "python").symlink_to(inside)
        (making / "pyvenv.cfg").write_text(f"home = {inside.parent}\ninclude-system-site-packages = false\n")
        script = making / "bin" / "heliotrope"
        script.write_text(f"#!{PROGRAM}/bin/python\nfrom heliotrope.cli.main import main\n\nmain()\n")
        script.chmod(0o755)
        self.program.mkdir(exist_ok=True)  # the mount's own folder stays; all in it is replaced
        for old in self.program.iterdir():
            shutil.rmtree(old) if old.is_dir() and not old.is_symlink() else old.unlink()
        for new in making.iterdir():
            new.rename(self.program / new.name)
        making.rmdir()

    # -- inside

    def _boot(self) -> None:
        boot = Path(__file__).with_name("boot.sh")
        shares = {"/opt/deps": Path(sysconfig.get_path("purelib")), **self._extra}
        if foreign_python():
            shares["/opt/python"] = Path(sys.base_prefix)
        words: list[str | Path] = [boot, self._tree, self._cgroup, self.hostname, self.program]
        for target, source in shares.items():
            words += [source, target]
        with self._log.open("wb") as log:
            # A killed test run takes the machine with it.
            command = ["setpriv", "--pdeathsig", "KILL", *words]
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.pid = until(self._init, "the machine's PID 1", BOOT_TIMEOUT_S)
        until(self._is_up, "the machine's start", BOOT_TIMEOUT_S)

    def _init(self) -> int | None:
        """unshare's child, once it is systemd."""
        assert self._process is not None
        ended = self._process.poll()
        assert ended is None, f"the machine does not start ({ended}): {self._log.read_text()}"
        pid = self._process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
        return next((int(c) for c in children if Path(f"/proc/{c}/comm").read_text().strip() == "systemd"), None)

    def _is_up(self) -> bool | None:
        state = self.run("systemctl", "is-system-running", check=False).stdout.strip()
        return True if state in ("running", "degraded") else None

    def _cgroup_removed(self) -> bool | None:
        """Control groups are removed from the leaves on, and only when nothing runs in them."""
        for folder, _, _ in os.walk(self._cgroup, topdown=False):
            try:
                Path(folder).rmdir()
            except OSError:
                return None
        return True


def _packages() -> Iterator[tuple[str, Path]]:
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]["package-dir"]
    yield from ((package, ROOT / folder) for package, folder in listed.items())


def interpreter_inside() -> Path:
    """Where a machine sees the interpreter that runs this."""
    interpreter = Path(sys.executable).resolve()
    return "/opt/python" / interpreter.relative_to(sys.base_prefix) if foreign_python() else interpreter


def foreign_python() -> bool:
    """Whether the interpreter lies outside /usr, perhaps in a home folder: the machine then has it at /opt/python."""
    return not Path(sys.base_prefix).is_relative_to("/usr")
