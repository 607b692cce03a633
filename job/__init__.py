"""What a training loop needs to live under Heliotrope: one file, the standard library, Python 3.8 or later.

::

    import heliotrope.job as heliotrope_job

    job = heliotrope_job.connect()                     # outside Heliotrope everything below still works
    step = restore(job.resume_from) if job.resume_from else 0
    while step < last_step:
        step += 1
        loss = train(step)
        job.report(step=step, loss=loss)
        if job.checkpoint_due() or step % 1000 == 0:
            with job.checkpoint(step) as folder:       # whole by rename, on disk, announced
                save(folder / "state.safetensors")
            job.exit_if_stopped()

In a job of several processes rank 0 talks to Heliotrope; on the others the calls do nothing, so the loop broadcasts
what rank 0 learnt. A lost connection is made again and never raises. The messages are in docs/job-contract.md.
"""

from __future__ import annotations

import atexit
import contextlib
import itertools
import json
import math
import os
import re
import shutil
import signal
import socket
import sys
import threading
import time
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional, Tuple, Union

PROTOCOL = 1
STOPPED_CODE = 75  # EX_TEMPFAIL: "stopped, resume me"
READY_FILE = ".heliotrope-ready"  # for requests by signal: which process to signal

_RETRY_S = 1.0  # between attempts to reach the supervisor
_REPORT_S = 1.0  # between two reports on the wire; what comes faster is merged
_ANNOUNCE_S = 2.0  # how long an announcement may wait for a full socket before training goes on
_LINE_LIMIT_BYTES = 64 * 1024
_RANKS = ("RANK", "SLURM_PROCID", "OMPI_COMM_WORLD_RANK", "PMI_RANK")
_CHECKPOINT = re.compile(r"step-\d{8,}(\.\d+)?")
_TEMPORARY = re.compile(r"\.step-\d{8,}(\.\d+)?\.(writing|deleted)\.tmp")


def connect(*, checkpoint_dir: Union[str, Path] = "checkpoints", rank: Optional[int] = None) -> Job:
    """Join the supervisor that started this process; without one, a job that reports to nobody.

    ``checkpoint_dir`` is used outside Heliotrope only. ``rank`` defaults to what torchrun, Slurm or MPI put into
    the environment. Call it once, in the main thread, when the loop is about to begin.
    """
    environment = dict(os.environ)
    if rank is None:
        rank = next((int(environment[name]) for name in _RANKS if environment.get(name, "").isdigit()), 0)
    return Job(environment, Path(checkpoint_dir), rank)


class Job:
    """One run of the job as its own process sees it; made by :func:`connect`."""

    def __init__(self, environment: Dict[str, str], checkpoint_dir: Path, rank: int) -> None:
        resume_from = environment.get("HELIOTROPE_RESUME_FROM", "")
        self.job_id: str = environment.get("HELIOTROPE_JOB_ID", "")
        self.epoch: int = int(environment.get("HELIOTROPE_EPOCH") or 0)
        self.rank: int = rank
        self.checkpoint_dir: Path = Path(environment.get("HELIOTROPE_CHECKPOINT_DIR") or checkpoint_dir)
        self.resume_from: Optional[Path] = Path(resume_from) if resume_from else None
        self.stop_requested: bool = False  # true once the checkpoint of a stop request is whole
        self._keep_count = max(1, int(environment.get("HELIOTROPE_KEEP_COUNT") or 2))
        self._stopped_code = int(environment.get("HELIOTROPE_STOPPED_CODE") or STOPPED_CODE)
        self._asked: Dict[str, bool] = {}  # open requests, oldest first: id -> whether the job is to stop after it
        self._signalled = False
        self._reported: Dict[str, Any] = {}
        self._report_due_s = 0.0
        socket_path = environment.get("HELIOTROPE_SOCKET", "") if rank == 0 else ""
        self._link = _Link(socket_path) if socket_path else None
        if rank == 0:
            self._clear_leftovers()
            self._install_signal(environment.get("HELIOTROPE_REQUEST_SIGNAL", ""))
        if self._link is not None:
            self._poll()
            atexit.register(self.close)

    def checkpoint_due(self) -> bool:
        """Whether a checkpoint is asked for; ask at every step boundary, it costs one non-blocking read."""
        self._poll()
        return bool(self._asked) or self._signalled

    @contextlib.contextmanager
    def checkpoint(self, step: int) -> Iterator[Path]:
        """A folder to write one checkpoint into, whole and durable when the ``with`` block ends.

        Its name is ``step-00000123`` in :attr:`checkpoint_dir` (with ``.2`` when that step is there already: a whole
        checkpoint is never overwritten). If the block raises, nothing stays and an open request stays open.
        Older checkpoints beyond the job file's ``keep_count`` are deleted. Raises RuntimeError on ranks but 0, OSError.
        """
        if self.rank != 0:
            raise RuntimeError(f"cannot write a checkpoint on rank {self.rank}: rank 0 names it; send it the folder")
        self._poll()
        asked, signalled = dict(self._asked), self._signalled
        name = self._free_name(int(step))
        temporary = self.checkpoint_dir / f".{name}.writing.tmp"
        temporary.mkdir(parents=True)
        try:
            yield temporary
            _sync_tree(temporary)
            os.rename(str(temporary), str(self.checkpoint_dir / name))
        except BaseException:
            shutil.rmtree(str(temporary), ignore_errors=True)
            raise
        _sync(self.checkpoint_dir)
        self._whole(name, step, asked, signalled)
        self._prune(name)

    def announce(self, name: Union[str, Path], step: Optional[int] = None) -> None:
        """Say that a checkpoint which other code wrote is whole: the entry ``name`` of :attr:`checkpoint_dir`.

        For trainers that write by themselves (``complete = "message"``). Brings the entry onto the disk, answers open
        requests, deletes nothing; does nothing on ranks but 0. Raises ValueError (``name`` lies elsewhere), OSError.
        """
        if self.rank != 0:
            return
        entry = self._entry(Path(name))
        self._poll()
        _sync_tree(entry) if entry.is_dir() else _sync(entry)
        _sync(self.checkpoint_dir)
        self._whole(entry.name, step, dict(self._asked), self._signalled)

    def report(
        self,
        *,
        step: Optional[int] = None,
        samples: Optional[int] = None,
        tokens: Optional[int] = None,
        loss: Any = None,
        flops: Optional[float] = None,
        parameters: Optional[int] = None,
    ) -> None:
        """Say how far the job is: totals since its first start, of ``flops`` too; ``parameters``: the model's size.

        Cheap: at most one message a second leaves, and only then is ``loss`` (a number or a tensor) read.
        """
        if self._link is None:
            return
        now_s = time.monotonic()
        counts = {"step": step, "samples": samples, "tokens": tokens, "flops": flops, "parameters": parameters}
        self._reported.update((name, value) for name, value in counts.items() if value is not None)
        if now_s < self._report_due_s:
            return
        self._report_due_s = now_s + _REPORT_S
        self._send_report(loss)

    def exit_if_stopped(self) -> None:
        """Leave with the code that means "stopped, resume me" if the checkpoint of a stop request is written."""
        if self.stop_requested:
            self.close()
            sys.exit(self._stopped_code)

    def close(self) -> None:
        """Send what is still waiting and hang up; called at exit by itself."""
        if self._link is not None:
            if self._reported:
                self._send_report(None)
            self._link.flush(_ANNOUNCE_S)
            self._link.close()

    def _poll(self) -> None:
        for message in self._link.poll() if self._link is not None else ():
            kind, request_id = message.get("type"), message.get("request_id")
            if kind == "checkpoint" and isinstance(request_id, str):
                self._asked[request_id] = message.get("stop") is True
            elif kind == "cancel" and isinstance(request_id, str):
                self._asked.pop(request_id, None)

    def _whole(self, name: str, step: Optional[int], asked: Dict[str, bool], signalled: bool) -> None:
        """Announce it, and close what it answers; a request that came while it was written stays open."""
        self.stop_requested = self.stop_requested or any(asked.values())
        message: Dict[str, Any] = {"type": "checkpoint", "name": name}
        if step is not None:
            message["step"] = int(step)
        if asked:
            message["request_id"] = list(asked)[-1]  # an answer holds for every request before it too
        elif signalled:
            message["requested"] = True
        self._asked = {one: stop for one, stop in self._asked.items() if one not in asked}
        self._signalled = self._signalled and not signalled
        if self._link is not None:
            self._link.announce(message)
            self._link.flush(_ANNOUNCE_S)

    def _send_report(self, loss: Any) -> None:
        assert self._link is not None
        message: Dict[str, Any] = {"type": "progress", **self._reported, **({} if loss is None else {"loss": loss})}
        self._reported = {name: message[name] for name in ("parameters",) if name in message}  # the job says it once
        for name, value in list(message.items())[1:]:
            number = (float if name in ("loss", "flops") else int)(value)
            message[name] = number if math.isfinite(number) else None
        self._link.send(message)

    def _entry(self, given: Path) -> Path:
        entry, fault = self.checkpoint_dir / given.name, ""
        if given.name in ("", "..") or (len(given.parts) > 1 and given.parent.resolve() != entry.parent.resolve()):
            fault = f"it is not directly in {self.checkpoint_dir}; save it there"
        elif given.name.startswith(".") or given.name.endswith((".tmp", ".partial")):
            fault = "such a name means that it is not whole; rename it first"
        elif entry.is_symlink():
            fault = "it is a link; announce what it points to"
        if fault:
            raise ValueError(f"cannot announce {str(given)!r}: {fault}")
        return entry

    def _free_name(self, step: int) -> str:
        first = f"step-{step:08d}"
        names = itertools.chain([first], (f"{first}.{count}" for count in itertools.count(2)))
        return next(name for name in names if not os.path.lexists(str(self.checkpoint_dir / name)))

    def _prune(self, newest: str) -> None:
        found: List[Tuple[int, str]] = []
        with contextlib.suppress(OSError):
            for entry in os.scandir(str(self.checkpoint_dir)):
                if _CHECKPOINT.fullmatch(entry.name) and entry.name != newest:
                    found.append((entry.stat().st_mtime_ns, entry.name))
        for _, name in sorted(found, reverse=True)[self._keep_count - 1 :]:
            doomed = self.checkpoint_dir / f".{name}.deleted.tmp"
            with contextlib.suppress(OSError):  # renamed first: nobody may take a half-deleted one for whole
                os.rename(str(self.checkpoint_dir / name), str(doomed))
                shutil.rmtree(str(doomed), ignore_errors=True)

    def _clear_leftovers(self) -> None:
        """Remove what an earlier run of this job left half-written or half-deleted."""
        with contextlib.suppress(OSError):
            for entry in os.scandir(str(self.checkpoint_dir)):
                if _TEMPORARY.fullmatch(entry.name):
                    shutil.rmtree(entry.path, ignore_errors=True)

    def _install_signal(self, name: str) -> None:
        if not name:
            return
        signal.signal(getattr(signal, name), self._on_signal)
        self.checkpoint_dir.mkdir(parents=True, exist_ok=True)
        temporary = self.checkpoint_dir / f"{READY_FILE}.tmp"
        temporary.write_text(f"{os.getpid()}\n")
        os.replace(str(temporary), str(self.checkpoint_dir / READY_FILE))

    def _on_signal(self, number: int, frame: Any) -> None:
        self._signalled = True


class _Link:
    """The connection to the supervisor: JSON lines, never blocking longer than asked, made again when lost."""

    def __init__(self, path: str) -> None:
        self._folder, self._name = os.path.split(path)
        self._pid = os.getpid()  # a forked data-loader worker inherits the object, not the right to speak
        self._lock = threading.Lock()
        self._socket: Optional[socket.socket] = None
        self._received = b""
        self._to_send = b""
        self._last_announcement = b""
        self._retry_at_s = 0.0

    def poll(self) -> List[Dict[str, Any]]:
        """What the supervisor said since the last call."""
        if not self._mine():
            return []
        with self._lock:
            if self._connected():
                self._write()
                self._read()
            *lines, self._received = self._received.split(b"\n")
        return [message for message in map(_decode, lines) if message is not None]

    def send(self, message: Dict[str, Any]) -> None:
        """Send, or drop if the supervisor does not take it now: the next report says it anew."""
        if self._mine():
            with self._lock:
                if self._connected():
                    self._write()
                if self._socket is not None and not self._to_send:
                    self._to_send = _encode(message)
                    self._write()

    def announce(self, message: Dict[str, Any]) -> None:
        """Send, and send again after a new connection: the supervisor knows a repetition by its name."""
        if self._mine():
            with self._lock:
                known = self._connected()
                self._last_announcement = _encode(message)
                if known:
                    self._to_send += self._last_announcement
                    self._write()

    def flush(self, timeout_s: float) -> None:
        """Wait until everything is in the kernel's hands, at most ``timeout_s``."""
        deadline_s = time.monotonic() + timeout_s
        while self._mine() and time.monotonic() < deadline_s:
            with self._lock:
                if self._connected():
                    self._write()
                if self._socket is not None and not self._to_send:
                    return
                if not self._last_announcement or self._retry_at_s == math.inf:
                    return  # nothing that matters waits, or we have hung up for good
            time.sleep(0.01)

    def close(self) -> None:
        if self._mine():
            with self._lock:
                self._hang_up()
                self._retry_at_s = math.inf

    def _mine(self) -> bool:
        return os.getpid() == self._pid

    def _connected(self) -> bool:
        now_s = time.monotonic()
        if self._socket is None and now_s >= self._retry_at_s:
            self._retry_at_s = now_s + _RETRY_S
            with contextlib.suppress(OSError):
                self._socket = self._open()
                self._to_send = _encode({"type": "hello", "protocol": PROTOCOL, "pid": self._pid, "ready": True})
                self._to_send += self._last_announcement
                self._received = b""
        return self._socket is not None

    def _open(self) -> socket.socket:
        """Connect through the folder's descriptor: a socket address holds 107 bytes, a path may be longer."""
        # O_PATH: the folder belongs to the agent, a job of another user may pass through it but not list it
        folder = os.open(self._folder or ".", os.O_PATH | os.O_DIRECTORY)
        try:
            connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            with contextlib.ExitStack() as undo:
                undo.callback(connection.close)
                connection.setblocking(False)
                connection.connect(f"/proc/self/fd/{folder}/{self._name}")
                undo.pop_all()
            return connection
        finally:
            os.close(folder)

    def _write(self) -> None:
        if self._socket is None or not self._to_send:
            return
        try:
            self._to_send = self._to_send[self._socket.send(self._to_send) :]
        except BlockingIOError:
            pass
        except OSError:
            self._hang_up()

    def _read(self) -> None:
        while self._socket is not None and len(self._received) < _LINE_LIMIT_BYTES:
            try:
                data = self._socket.recv(_LINE_LIMIT_BYTES)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if not data:
                self._hang_up()
            self._received += data

    def _hang_up(self) -> None:
        if self._socket is not None:
            self._socket.close()
        self._socket, self._to_send = None, b""


def _encode(message: Dict[str, Any]) -> bytes:
    return json.dumps(message, allow_nan=False).encode() + b"\n"


def _decode(line: bytes) -> Optional[Dict[str, Any]]:
    with contextlib.suppress(ValueError):
        message = json.loads(line)
        return message if isinstance(message, dict) else None
    return None


def _sync(path: Path) -> None:
    handle = os.open(str(path), os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _sync_tree(folder: Path) -> None:
    for root, _, files in os.walk(str(folder), topdown=False):
        for path in (Path(root, name) for name in files):
            if path.is_file() and not path.is_symlink():
                _sync(path)
        _sync(Path(root))
