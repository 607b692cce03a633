"""The two ends of a measured link: commands run behind a prefix, a namespace's or another machine's."""

from __future__ import annotations

import contextlib
import shlex
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

LISTEN_TIMEOUT_S = 20.0
_LISTENING = "0A"  # TCP_LISTEN in /proc/net/tcp


class Failed(Exception):
    """A command of the measurement ended otherwise than it should; the text has its last words."""


@dataclass
class Host:
    """One end. ``prefix``: what is put before a command to run it there; ``address``: its IPv4 address on the link."""

    prefix: Sequence[str]
    address: str

    def run(self, *words: str) -> str:
        """Its stdout. Raises Failed."""
        done = subprocess.run([*self.prefix, *words], capture_output=True, text=True, check=False)
        if done.returncode:
            raise Failed(f"{shlex.join(words)[:200]}: ended with {done.returncode}: {done.stderr.strip()[-600:]}")
        return done.stdout

    @contextlib.contextmanager
    def serving(self, port: int, *words: str) -> Iterator[None]:
        """A command that listens on ``port`` while the context lasts. Raises Failed when it does not."""
        process = subprocess.Popen(
            [*self.prefix, *words], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            self.await_listener(port, process)
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(5)
            process.kill()
            process.wait()

    @contextlib.contextmanager
    def answering(self, *words: str) -> Iterator[Callable[[str], str]]:
        """A command that answers each line with a line, while the context lasts: a call of what is given asks it."""
        process = subprocess.Popen([*self.prefix, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert process.stdin is not None and process.stdout is not None
        questions, answers = process.stdin, process.stdout

        def ask(line: str) -> str:
            questions.write(line + "\n")
            questions.flush()
            answer = answers.readline()
            if not answer:
                raise Failed(f"{shlex.join(words)[:200]}: ended with {process.wait()}")
            return answer

        try:
            ask("are you there?")
            yield ask
        finally:
            questions.close()
            process.wait()

    def await_listener(self, port: int, process: subprocess.Popen[bytes]) -> None:
        deadline_s = time.monotonic() + LISTEN_TIMEOUT_S
        while time.monotonic() < deadline_s and process.poll() is None:
            sockets = self.run("cat", "/proc/net/tcp") + self.run("cat", "/proc/net/tcp6")
            rows = (line.split() for line in sockets.splitlines())
            if any(len(row) > 3 and row[1].endswith(f":{port:04X}") and row[3] == _LISTENING for row in rows):
                return
            time.sleep(0.02)
        raise Failed(f"nothing listens on port {port} of {self.address}")

    def counted(self) -> tuple[int, int]:
        """Bytes received and sent by all its interfaces, loopback if there is no other: packets with their headers."""
        found = {}
        for line in self.run("cat", "/proc/net/dev").splitlines()[2:]:
            name, _, counters = line.partition(":")
            fields = counters.split()
            found[name.strip()] = int(fields[0]), int(fields[8])
        others = [both for name, both in found.items() if name != "lo"] or [found["lo"]]
        return sum(received for received, _ in others), sum(sent for _, sent in others)

    def congestion(self, name: str) -> None:
        """The congestion control of new connections there. Raises Failed where the kernel does not allow it."""
        self.run("sysctl", "-q", "-w", f"net.ipv4.tcp_congestion_control={name}")
