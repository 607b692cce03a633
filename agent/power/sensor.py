"""The agent's handle on its sensor process: starts it, listens, kills it when it is silent, starts it again.

Silence is the only sign of a hung driver, so it is what the watchdog counts. A restarted sensor is told where the
energy counters stood: a counter that went on meanwhile gives the joules of the silence back, and what it cannot give
is a gap.
"""

from __future__ import annotations

import contextlib
import logging
import os
import subprocess
import sys
from collections.abc import Callable

import msgspec

from .reading import Channel
from .window import Farewell, Hello, Seed, SensorMessage, SensorWindow, Settings

log = logging.getLogger(__name__)

START_S = 60.0  # opening a driver may load its firmware: many seconds on a node with eight GPUs
BACKOFF_S = (1.0, 2.0, 5.0, 15.0, 60.0)
REPROBE_S = 300.0  # after this long a sensor with a problem (no driver yet, a lost GPU) is opened anew; then ever rarer
_REPROBE_LIMIT_S = 3600.0
COMMAND = (sys.executable, "-m", "heliotrope.agent.power.child")


class Sensor:
    """At most one child at any time, also where the kernel cannot kill one yet.

    Everything is called from one thread with the monotonic time; nothing here blocks but :meth:`stop`.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        hang_s: float,
        command: tuple[str, ...] = COMMAND,
        reprobe_s: float = REPROBE_S,
    ) -> None:
        self._settings = settings
        self._hang_s = hang_s
        self._reprobe_s = reprobe_s
        self._degraded_s: float | None = None  # since when something is missing
        self._is_reopening = False
        self._command = command
        self._process: subprocess.Popen[bytes] | None = None
        self._buffer = b""
        self._decode: Callable[[bytes], SensorMessage] = msgspec.json.Decoder(SensorMessage).decode
        self._seeds: dict[str, Seed] = {}
        self._heard_s = 0.0
        self._said_hello = False
        self._is_told_off = False
        self._found = 0  # channels that this child has
        self._start_at_s: float | None = None
        self._failure_count = 0
        self.channels: tuple[Channel, ...] = ()
        self.problems: tuple[str, ...] = ()
        self.down_reason = ""  # why nothing comes at present; empty while it works
        self.restart_count = 0
        self.has_answered = False  # it has said hello once, so that what the machine has is known

    def start(self, now_s: float) -> None:
        """Start the child now, or as soon as an old one is gone."""
        self._start_at_s = now_s
        self.poll(now_s)

    def fileno(self) -> int | None:
        """What to wait on for messages; None while there is no child."""
        return self._process.stdout.fileno() if self._process and self._process.stdout else None

    def poll(self, now_s: float) -> list[SensorWindow]:
        """Take what has come, look after the child; the new windows."""
        windows = self._receive(now_s)
        if self._process is not None and self._process.poll() is not None:
            windows += self._receive(now_s)
            self._ended(now_s, self._process.returncode)
        elif self._process is not None and not self._is_told_off:
            self._watch(now_s)
            self._reopen(now_s)
        if self._process is None and self._start_at_s is not None and now_s >= self._start_at_s:
            self._spawn(now_s)
        return windows

    def wake_s(self, now_s: float) -> float:
        """Seconds until :meth:`poll` is due without a message."""
        if self._process is not None:
            return 0.25 if self._is_told_off else max(0.05, self._heard_s + self._limit_s() - now_s)
        return max(0.0, self._start_at_s - now_s) if self._start_at_s is not None else 60.0

    def stop(self, wait_s: float = 3.0) -> list[SensorWindow]:
        """End the child for good, or until :meth:`start`: all driver handles are closed then. Its last windows."""
        self._start_at_s = None
        process = self._process
        if process is None:
            return []
        windows: list[SensorWindow] = []
        self._tell_to_stop()
        try:
            process.wait(wait_s)
        except subprocess.TimeoutExpired:
            process.kill()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(wait_s)
        windows = self._receive(self._heard_s)
        self._close_pipes()
        if process.returncode is not None:
            self._process = None
        self.down_reason = "the sensor was stopped"
        return windows

    def _spawn(self, now_s: float) -> None:
        settings = msgspec.structs.replace(self._settings, seeds=self._seeds)
        try:
            process = subprocess.Popen(
                self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
            )
        except OSError as error:
            self._fail(now_s, f"cannot start the sensor: {error.strerror}; it is tried again")
            return
        self._process, self._start_at_s = process, None
        self._heard_s, self._said_hello, self._is_told_off, self._buffer = now_s, False, False, b""
        if process.stdout is not None:
            os.set_blocking(process.stdout.fileno(), False)
        with contextlib.suppress(OSError):  # a child that died at once is seen by the next poll
            if process.stdin is not None:
                process.stdin.write(msgspec.json.encode(settings) + b"\n")
                process.stdin.flush()

    def _receive(self, now_s: float) -> list[SensorWindow]:
        descriptor = self.fileno()
        if descriptor is None or (self._process and self._process.stdout and self._process.stdout.closed):
            return []
        while True:
            try:
                data = os.read(descriptor, 1 << 16)
            except BlockingIOError:
                break
            if not data:
                break
            self._buffer += data
        *lines, self._buffer = self._buffer.split(b"\n")
        return [window for line in lines if (window := self._take(line, now_s)) is not None]

    def _take(self, line: bytes, now_s: float) -> SensorWindow | None:
        try:
            message = self._decode(line)
        except msgspec.DecodeError:
            log.warning("cannot read a message of the sensor; it is left out")
            return None
        self._heard_s = now_s
        if isinstance(message, SensorWindow):
            self.down_reason, self._failure_count = "", 0
            self._notice(any(device.covered_s == 0 and device.gap_reason for device in message.devices), now_s)
            for device in message.devices:
                if device.counter_j is not None:
                    self._seeds[device.device] = Seed(device.taken_s, device.counter_j)
            return message
        if isinstance(message, Farewell):
            self.down_reason = message.reason
            return None
        self._greet(message)
        self._notice(False, now_s)
        return None

    def _notice(self, is_missing: bool, now_s: float) -> None:
        """Remember since when a device fails, or something could not be opened at all."""
        if not is_missing and not self.problems:
            self._degraded_s = None
        elif self._degraded_s is None:
            self._degraded_s = now_s

    def _reopen(self, now_s: float) -> None:
        """A GPU that was lost or a driver that was missing only comes back to a process that opens it anew."""
        if self._degraded_s is None or now_s - self._degraded_s < self._reprobe_s or not self._said_hello:
            return
        self._degraded_s = None
        self._reprobe_s = min(2 * self._reprobe_s, _REPROBE_LIMIT_S)
        self._is_reopening = True
        self._tell_to_stop()

    def _tell_to_stop(self) -> None:
        with contextlib.suppress(OSError):  # it may have ended by itself
            if self._process is not None and self._process.stdin:
                self._process.stdin.write(b"stop\n")
                self._process.stdin.flush()

    def _greet(self, hello: Hello) -> None:
        self._said_hello = self.has_answered = True
        self._found = len(hello.channels)
        new_problems = [problem for problem in hello.problems if problem not in self.problems]
        for problem in new_problems:
            log.warning("%s", problem)
        known = {channel.device for channel in hello.channels}
        # A device that is missing after a restart is not forgotten: it shows as a gap.
        kept = tuple(channel for channel in self.channels if channel.device not in known)
        self.channels, self.problems = hello.channels + kept, hello.problems

    def _limit_s(self) -> float:
        return self._hang_s + self._settings.flush_s if self._said_hello else START_S

    def _watch(self, now_s: float) -> None:
        silence_s = now_s - self._heard_s
        if self._process is None or silence_s <= self._limit_s():
            return
        self.down_reason = f"the sensor was silent for {silence_s:.1f} s and was killed"
        log.warning("%s; it is started anew", self.down_reason)
        self._process.kill()  # takes effect when the driver's call returns to the kernel's exit path, if ever
        self._is_told_off = True

    def _ended(self, now_s: float, code: int) -> None:
        self._close_pipes()
        self._process = None
        if code == 0 and self._said_hello and not self._is_reopening and self.channels and not self._found:
            # What was there is away, for instance while a driver is loaded anew: looked for soon, not at leisure.
            self._fail(now_s, "; ".join(self.problems) or "the sensor finds nothing any more")
            return
        if code == 0 and self._said_hello and not self._is_told_off:
            # It found nothing to measure (no failure, but a driver may still come), or was told to end and come back.
            self._start_at_s = now_s if self._is_reopening else now_s + self._reprobe_s
            self._is_reopening = False
            return
        self._fail(now_s, self.down_reason or f"the sensor ended with code {code}")

    def _fail(self, now_s: float, reason: str) -> None:
        wait_s = BACKOFF_S[min(self._failure_count, len(BACKOFF_S) - 1)]
        self._failure_count += 1
        self.restart_count += 1
        self.down_reason = reason
        self._start_at_s = now_s + wait_s

    def _close_pipes(self) -> None:
        for pipe in (self._process.stdin, self._process.stdout) if self._process else ():
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
