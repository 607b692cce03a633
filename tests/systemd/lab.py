"""Several machines with a network between them: where the guides are followed to the letter."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

from .documents import Block, blocks
from .nested import ROOT, Machine

# What the machines come with, because a test has no package index and no second building: each has its own tests.
BROUGHT = ("python3 -m venv ", "/opt/heliotrope/bin/pip install", "/opt/torch/bin/pip install", "ln -s /opt/heliotrope")


class Lab:
    """Machines named ``hosts``, each with an address the others know by name."""

    def __init__(self, folder: Path, hosts: Mapping[str, str], extra: Mapping[str, Path] | None = None) -> None:
        """``hosts``: name to IPv4 address, in one /24; ``extra``: more folders to share, by their path inside."""
        self.machines = {name: Machine(folder / name, hostname=name, extra=extra or {}) for name in hosts}
        self._addresses = dict(hosts)
        self._switch = f"hl-lab-{os.getpid()}"
        self._stack = ExitStack()

    def __enter__(self) -> Lab:
        with ExitStack() as stack:
            _ip("netns", "add", self._switch)
            stack.callback(_ip, "netns", "del", self._switch)
            _ip("-n", self._switch, "link", "add", "br0", "type", "bridge")
            _ip("-n", self._switch, "link", "set", "br0", "up")
            for number, machine in enumerate(self.machines.values()):
                stack.enter_context(machine)
                self._connect(number, machine)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def follow(self, guide: str, when: str = "") -> None:
        """Do what the guide says, line by line. Raises AssertionError with the place in the guide and the story."""
        for block in blocks(ROOT / "docs" / guide):
            for host in block.hosts if block.when == when else ():
                self._do(block, host)

    def kill(self, host: str) -> None:
        """The machine is gone from one moment to the next, as by a cut of its power."""
        self.machines[host].kill()

    def story(self) -> str:
        """What the living machines logged last."""
        living = (f"== {name}\n{machine.journal()[-4000:]}" for name, machine in self.machines.items() if machine.pid)
        return "\n".join(living)

    # -- inside

    def _do(self, block: Block, host: str) -> None:
        machine = self.machines[host]
        if block.file:
            path = machine.path(block.file.replace("~", "/root", 1))
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text, encoding="utf-8")
            return
        for line in block.text.replace("\\\n", " ").splitlines():
            if line.startswith("scp "):
                self._carry(machine, *line.split()[-2:])
            elif not line.startswith(BROUGHT):
                done = machine.run("sh", "-euc", line, check=False)
                told = f"{block.place} at {host}: `{line}` ended with {done.returncode}\n{done.stdout}{done.stderr}"
                assert done.returncode == 0, f"{told}\n{self.story()}"

    def _carry(self, machine: Machine, source: str, target: str) -> None:
        """The one command done by hand: `scp FILE HOST:FOLDER/`. Modes are kept, like a careful person would."""
        host, _, folder = target.partition(":")
        there = self.machines[host].path(folder) / Path(source).name
        here = machine.path("/root") / source
        there.write_bytes(here.read_bytes())
        there.chmod(here.stat().st_mode)

    def _connect(self, number: int, machine: Machine) -> None:
        name, address = machine.hostname, self._addresses[machine.hostname]
        port = f"port{number}"
        peer = ("peer", "name", "eth0", "netns", str(machine.pid))
        _ip("-n", self._switch, "link", "add", port, "type", "veth", *peer)
        _ip("-n", self._switch, "link", "set", port, "master", "br0", "up")
        machine.run("ip", "address", "add", f"{address}/24", "dev", "eth0")
        machine.run("ip", "link", "set", "eth0", "up")
        known = "".join(f"{address} {name}\n" for name, address in self._addresses.items())
        machine.path("/etc/hosts").write_text(f"127.0.0.1 localhost\n{known}", encoding="utf-8")
        assert machine.run("hostname").stdout.strip() == name


def _ip(*words: str) -> None:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"ip {' '.join(words)}: {done.stderr}"


def torch_environment(folder: Path, packages: Path, interpreter: Path) -> Path:
    """A virtual environment for jobs with the PyTorch that lies in ``packages``, to be seen at /opt/torch.

    ``packages`` must be shared as /opt/torch-packages; ``interpreter`` is its path inside.
    """
    made = folder / "torch"
    version = packages.parent.name
    site = made / "lib" / version / "site-packages"
    site.mkdir(parents=True)
    (site / "torch.pth").write_text("/opt/torch-packages\n")
    (made / "bin").mkdir()
    (made / "bin" / "python").symlink_to(interpreter)
    (made / "pyvenv.cfg").write_text(f"home = {interpreter.parent}\ninclude-system-site-packages = false\n")
    return made
