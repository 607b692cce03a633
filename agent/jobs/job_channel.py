# The supervisor starts in milliseconds, so no pathlib here.
# ruff: noqa: PTH118, PTH208
"""The supervisor's conversation with the job: messages on its socket, requests by socket or signal, progress.

Standard library only. Everything a job sends is untrusted: checked, bounded, answered with an error that names the
field. docs/job-contract.md documents the messages.
"""

from __future__ import annotations

import math
import os
import signal
from collections.abc import Callable
from typing import Any

from . import processes
from .checkpoint_requests import DELIVERED, OPEN, CheckpointRequest, CheckpointRequests
from .kernel import boottime_s
from .lines import LineServer, Peer
from .loop import Loop
from .runfolder import PROGRESS, EventLog, Parameters, replace_file, utc_now
from .spawn import READY_FILE

PROTOCOL = 1
_NAME_LIMIT = 255
_PROGRESS_S = 1.0  # between two replacements of progress.json
_SIGNAL_POLL_S = 0.25  # how often a request by signal looks whether the job is ready for it
_COUNTS = ("step", "samples", "tokens", "parameters")
_NUMBERS = ("loss", "flops")
_TEMPORARY_ENDS = (".tmp", ".partial")


class JobChannel:
    """One run's job socket and its open requests."""

    def __init__(self, loop: Loop, folder: str, parameters: Parameters, events: EventLog) -> None:
        self.requests = CheckpointRequests()
        self.ready = False
        self.server: LineServer | None = None
        self._loop = loop
        self._folder = folder
        self._parameters = parameters
        self._events = events
        self._job_pid = 0
        self._named_pid = 0  # the process that said it takes the signal
        self._entries_before = frozenset(_entries(parameters.checkpoint_dir))
        self._announced: tuple[str, Any] | None = None
        self._progress: dict[str, Any] = {}

    def started(self, job_pid: int) -> None:
        """The job runs under this pid."""
        self._job_pid = job_pid

    def handle(self, peer: Peer, message: dict[str, Any]) -> None:
        """One message of the job."""
        handlers: dict[str, Callable[[Peer, dict[str, Any]], str]] = {
            "hello": self._on_hello,
            "progress": self._on_progress,
            "checkpoint": self._on_checkpoint,
            "checkpoint_failed": self._on_checkpoint_failed,
        }
        kind = message.get("type")
        handler = handlers.get(kind) if isinstance(kind, str) else None
        error = handler(peer, message) if handler else f"field type: {kind!r} is none of {', '.join(handlers)}"
        if error:
            self._send(peer, {"type": "error", "error": f"cannot take message: {error}"})

    def request(self, request_id: str, stop: bool) -> CheckpointRequest:
        """Ask the job for a checkpoint; the same id again changes nothing and returns where it stands."""
        request, new = self.requests.add(request_id, stop)
        if new:
            self._events.add("request", request_id=request_id, stop=stop)
            self._deliver_all()
        return request

    def cancel(self, request_id: str) -> CheckpointRequest | None:
        """Take a request back, if it is not answered yet: the job is told to forget it and goes on."""
        request = self.requests.fail(request_id, "taken back by the agent")
        if request is not None:
            self._events.add("request_failed", request_id=request_id, error=request.error)
            for peer in self._ready_peers():
                self._send(peer, {"type": "cancel", "request_id": request_id})
            self._deliver_all()
        return request

    def answer(self, request_id: str, name: str, step: int | None) -> None:
        """The agent found the whole checkpoint itself: the job does not announce."""
        answered = self.requests.answer(request_id, name, step)
        if answered:
            self._record_checkpoint(name, step, [request.request_id for request in answered])

    def finish(self) -> None:
        """The job is gone: take its last words and fail what nobody will answer."""
        if self.server is not None:
            self.server.drain()
        self._write_progress()
        for request in self.requests.unanswered():
            self.requests.fail(request.request_id, "the job ended without answering")
            self._events.add("request_failed", request_id=request.request_id, error=request.error)

    def _on_hello(self, peer: Peer, message: dict[str, Any]) -> str:
        if message.get("protocol") != PROTOCOL:
            return f"field protocol: {message.get('protocol')!r} is not {PROTOCOL}; use that one"
        self._send(peer, {"type": "welcome", "protocol": PROTOCOL})
        if message.get("ready") is True:
            peer.ready = True
            self._named_pid = peer.pid  # the kernel's word, not the message's
            self._now_ready("socket", peer.pid)
            for request in self.requests.unanswered():
                if self._parameters.request_mode == "socket":
                    self._deliver_by_socket(peer, request)
        return ""

    def _on_progress(self, peer: Peer, message: dict[str, Any]) -> str:
        values: dict[str, Any] = {}
        for name in _COUNTS:
            value = message.get(name)
            if value is not None and (type(value) is not int or not 0 <= value < 1 << 63):
                return f"field {name}: {str(value)[:40]!r} is not a whole number from 0; send one"
            values[name] = value
        for name in _NUMBERS:
            value = message.get(name)
            if value is not None and (type(value) not in (int, float) or not _is_finite(value)):
                return f"field {name}: {str(value)[:40]!r} is not a finite number; send one or null"
            values[name] = value
        self._progress.update((name, value) for name, value in values.items() if value is not None)
        self._progress["utc"] = utc_now()
        self._progress["boottime_s"] = boottime_s()
        if not self._loop.is_set("progress"):
            self._write_progress()
            self._loop.at("progress", boottime_s() + _PROGRESS_S, self._write_progress)
        return ""

    def _on_checkpoint(self, peer: Peer, message: dict[str, Any]) -> str:
        name, step, request_id = message.get("name"), message.get("step"), message.get("request_id")
        if not isinstance(name, str) or not _is_entry_name(name):
            return f"field name: {str(name)[:80]!r} is not the name of an entry in HELIOTROPE_CHECKPOINT_DIR"
        if step is not None and (type(step) is not int or not 0 <= step < 1 << 63):
            return f"field step: {str(step)[:40]!r} is not a whole number from 0; send one or leave it out"
        if request_id is not None and not isinstance(request_id, str):
            return "field request_id: not a string; send the id of the request that this answers, or leave it out"
        if not os.path.lexists(os.path.join(self._parameters.checkpoint_dir, name)):
            return f"field name: {name!r} is not in {self._parameters.checkpoint_dir}; announce it when it is whole"
        if message.get("requested") is True and request_id is None:
            outstanding = self.requests.outstanding()
            request_id = outstanding.request_id if outstanding else None
        answered = [] if request_id is None else self.requests.answer(request_id, name, step)
        if answered or self._announced != (name, step):  # else said again after a new connection
            self._announced = (name, step)
            self._record_checkpoint(name, step, [request.request_id for request in answered])
        return ""

    def _on_checkpoint_failed(self, peer: Peer, message: dict[str, Any]) -> str:
        request_id, error = message.get("request_id"), str(message.get("error", ""))[:500]
        request = self.requests.fail(request_id, f"the job says: {error}") if isinstance(request_id, str) else None
        if request is None:
            return f"field request_id: no open request {str(request_id)[:80]!r}"
        self._events.add("request_failed", request_id=request.request_id, error=request.error)
        return ""

    def _record_checkpoint(self, name: str, step: int | None, request_ids: list[str]) -> None:
        self._events.add("checkpoint", name=name, step=step, request_ids=request_ids)
        self._now_ready("checkpoint", self._job_pid)
        self._deliver_all()

    def _now_ready(self, by: str, pid: int) -> None:
        if not self.ready:
            self.ready = True
            self._events.add("ready", by=by, pid=pid)

    def _deliver_all(self) -> None:
        mode = self._parameters.request_mode
        if mode == "signal":
            self._deliver_by_signal()
            return
        for request in self.requests.unanswered():
            if request.state == OPEN:
                for peer in self._ready_peers():
                    self._deliver_by_socket(peer, request)

    def _ready_peers(self) -> list[Peer]:
        return [peer for peer in self.server.peers if peer.ready] if self.server is not None else []

    def _deliver_by_socket(self, peer: Peer, request: CheckpointRequest) -> None:
        if self._send(peer, {"type": "checkpoint", "request_id": request.request_id, "stop": request.stop}):
            self._delivered(request)

    def _deliver_by_signal(self) -> None:
        """Signal the one named process, one request at a time: two signals that fall together count as one."""
        self._loop.cancel("signal")
        waiting = [request for request in self.requests.unanswered() if request.state == OPEN]
        if not waiting or self.requests.outstanding() is not None:
            return
        number = int(signal.Signals[self._parameters.signal])
        pid, why_not = self._signal_target(number)
        target = processes.read(pid) if pid else None
        if not why_not and target is not None and processes.send_signal(target, number):
            self._delivered(waiting[0])
            return
        for request in waiting:
            request.error = why_not or f"process {pid} is gone"
        self._loop.at("signal", boottime_s() + _SIGNAL_POLL_S, self._deliver_by_signal)

    def _signal_target(self, number: int) -> tuple[int, str]:
        """The process to signal, or why not yet."""
        named = self._named_pid or self._pid_in_ready_file()
        if named:
            self._named_pid = named
            self._now_ready("socket" if self.ready else "file", named)
        elif _entries(self._parameters.checkpoint_dir) - self._entries_before:
            self._now_ready("checkpoint", self._job_pid)
        if not self.ready:
            return 0, f"the job has not said that it is ready: no hello, no {READY_FILE}, no checkpoint yet"
        pid = named or self._job_pid
        if named and not self._is_ours(named):
            # It ended, and its number may be anybody's by now: a root supervisor's signal would reach them.
            return 0, f"process {named}, which said that it is ready, is none of this job's; say hello again"
        if not processes.catches(pid, number):
            return 0, (
                f"process {pid} does not handle {self._parameters.signal}, it would die of it; "
                f"install the handler, or write the right process's pid into {READY_FILE}"
            )
        return pid, ""

    def _pid_in_ready_file(self) -> int:
        """The pid a job without the socket wrote down, if it is really one of this job's processes; else 0."""
        path = os.path.join(self._parameters.checkpoint_dir, READY_FILE)
        try:
            handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return 0
        try:
            text = os.read(handle, 32).strip()
        except OSError:
            return 0
        finally:
            os.close(handle)
        pid = int(text) if text.isdigit() else 0
        return pid if self._is_ours(pid) else 0

    @staticmethod
    def _is_ours(pid: int) -> bool:
        """Whether it is one of this job's processes now: all of them are below this supervisor."""
        return pid in {process.pid for process in processes.descendants(os.getpid())}

    def _delivered(self, request: CheckpointRequest) -> None:
        if request.state != DELIVERED:
            request.state, request.error = DELIVERED, ""
            self._events.add("delivered", request_id=request.request_id)

    def _send(self, peer: Peer, message: dict[str, Any]) -> bool:
        taken = peer.send(message)
        if not taken and self.server is not None:
            self.server.drop(peer)
        return taken

    def _write_progress(self) -> None:
        if self._progress:
            try:
                replace_file(os.path.join(self._folder, PROGRESS), self._progress, durable=False)
            except OSError:  # a full disk costs the figures, not the job
                return


def _entries(folder: str) -> set[str]:
    try:
        return {name for name in os.listdir(folder) if _is_entry_name(name) and not name.endswith(_TEMPORARY_ENDS)}
    except OSError:
        return set()


def _is_entry_name(name: str) -> bool:
    return 0 < len(name) <= _NAME_LIMIT and "/" not in name and "\0" not in name and not name.startswith(".")


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:
        return False
