"""What `heliotrope install` puts where, and how it gets there and away again: whole, repeatable, configuration kept."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from heliotrope.foundation import records
from heliotrope.foundation.errors import Conflict, InvalidInput

PARTS = ("coordinator", "agent")
UNITS = Path("/etc/systemd/system")
CONFIGURATION = Path("/etc/heliotrope")
JOB_UNITS = "heliotrope-job-*.service"
_PROGRAM = "/opt/heliotrope/bin/heliotrope"  # as the units in the package name it
_STATE = {
    "coordinator": (Path("/var/lib/heliotrope-coordinator"),),
    "agent": (Path("/var/lib/heliotrope-agent"), Path("/var/lib/heliotrope-job")),
}

Runner = Callable[[Sequence[str]], None]


@dataclass(frozen=True, slots=True)
class Piece:
    """A file of the package and its place on the system; ``kept``: a person edits it, so it is only written once."""

    source: str
    target: Path
    kept: bool = False

    def content(self, program: Path) -> bytes:
        """The file, naming ``program`` where the package's own names the usual place."""
        text = files("heliotrope.systemd").joinpath(self.source).read_text(encoding="utf-8")
        return text.replace(_PROGRAM, str(program)).encode()


@dataclass(frozen=True, slots=True)
class Step:
    """What was done to what: created, updated, unchanged, kept, removed, run."""

    action: str
    object: str


def pieces(part: str) -> tuple[Piece, ...]:
    """A part's files, the unit last: what it needs is there before it is."""
    return (
        Piece(f"sysusers-{part}.conf", Path(f"/etc/sysusers.d/heliotrope-{part}.conf")),
        Piece(f"tmpfiles-{part}.conf", Path(f"/etc/tmpfiles.d/heliotrope-{part}.conf")),
        Piece("job.toml", CONFIGURATION / "job.toml.example", kept=True),
        Piece(f"{part}.toml", CONFIGURATION / f"{part}.toml", kept=True),
        Piece(f"heliotrope-{part}.service", UNITS / unit(part)),
    )


def unit(part: str) -> str:
    return f"heliotrope-{part}.service"


def check_program(program: Path) -> None:
    """Raises InvalidInput for a path that a unit file would read differently from a person."""
    if not program.is_absolute() or any(char.isspace() or char in "\"'\\%$;" for char in str(program)):
        raise InvalidInput(f"field --program: {str(program)!r} is no absolute path that a unit can hold; move it")


class Installation:
    """The files below ``root`` ("/" or a folder that a package is made from)."""

    def __init__(self, root: Path, *, dry_run: bool = False) -> None:
        self._root = root
        self._dry_run = dry_run

    def place(self, part: str, program: Path) -> list[Step]:
        """Write a part's files; what is right stays untouched. Raises OSError with nothing changed."""
        steps, undo = [], list[Callable[[], object]]()
        try:
            for piece in pieces(part):
                path, content = self.path(piece.target), piece.content(program)
                before = path.read_bytes() if path.exists() else None
                steps.append(Step(_action(piece, before, content), str(piece.target)))
                if steps[-1].action in ("created", "updated") and not self._dry_run:
                    undo.append(_put_back(path, before))
                    _write(path, content)
        except OSError:
            for each in reversed(undo):
                with contextlib.suppress(OSError):  # what cannot be put back was not changed either
                    each()
            raise
        return steps

    def remove(self, part: str, *, purge: bool) -> list[Step]:
        """Take a part's files away; its configuration and state only with ``purge``."""
        steps = []
        others = {piece.target for other in PARTS if other != part and self.has(other) for piece in pieces(other)}
        for piece in reversed(pieces(part)):
            if not self.path(piece.target).exists():
                continue
            kept = (piece.kept and not purge) or piece.target in others
            steps.append(Step("kept" if kept else "removed", str(piece.target)))
            if not kept and not self._dry_run:
                self.path(piece.target).unlink()
        for folder in filter(lambda each: self.path(each).exists(), _STATE[part]):
            steps.append(Step("removed" if purge else "kept", str(folder)))
            if purge and not self._dry_run:
                shutil.rmtree(self.path(folder))
        configuration = self.path(CONFIGURATION)
        if configuration.is_dir() and not any(configuration.iterdir()) and not self._dry_run:
            configuration.rmdir()
        return steps

    def has(self, part: str) -> bool:
        """Whether the part's unit is there."""
        return self.path(UNITS / unit(part)).exists()

    def path(self, target: Path) -> Path:
        return self._root / target.relative_to("/")


class Manager:
    """The running systemd. Every call may be repeated; with ``dry_run`` it only says what it would call."""

    def __init__(self, *, dry_run: bool = False) -> None:
        self._dry_run = dry_run

    def take_up(self, parts: Sequence[str]) -> list[Step]:
        """Accounts, folders, units. Raises Conflict with the tool's own words."""
        return [
            self._run(["systemd-sysusers", *(f"heliotrope-{part}.conf" for part in parts)]),
            self._run(["systemd-tmpfiles", "--create", *(f"heliotrope-{part}.conf" for part in parts)]),
            self._run(["systemctl", "daemon-reload"]),
        ]

    def stop(self, part: str) -> Step:
        """Stop a part's service and start it no more."""
        return self._run(["systemctl", "disable", "--now", unit(part)])

    def forget(self) -> Step:
        """After unit files were removed."""
        return self._run(["systemctl", "daemon-reload"])

    def running_jobs(self) -> list[str]:
        """The units of jobs that are not over."""
        states = "--state=active,activating,deactivating"
        command = ["systemctl", "list-units", "--plain", "--no-legend", "--full", states, JOB_UNITS]
        return [line.split()[0] for line in _output(command).splitlines() if line.strip()]

    def _run(self, command: list[str]) -> Step:
        if not self._dry_run:
            _output(command)
        return Step("run", " ".join(command))


def _output(command: Sequence[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        raise Conflict(f"cannot run {command[0]}: {error.strerror}; is systemd installed whole?") from error
    if done.returncode:
        raise Conflict(
            f"cannot run `{' '.join(command)}`: {done.stderr.strip() or done.returncode}; see journalctl -xe"
        )
    return done.stdout


def _action(piece: Piece, before: bytes | None, content: bytes) -> str:
    if before is None:
        return "created"
    if before == content:
        return "unchanged"
    return "kept" if piece.kept else "updated"


def _write(path: Path, content: bytes) -> None:
    made = [folder for folder in path.parents if not folder.exists()]
    path.parent.mkdir(parents=True, exist_ok=True)
    for folder in made:
        folder.chmod(0o755)  # whatever umask the administrator works under: the coordinator is another account
    records.write_durably(path, content, mode=0o644)
    path.chmod(0o644)


def _put_back(path: Path, before: bytes | None) -> Callable[[], object]:
    if before is None:
        return lambda: path.unlink(missing_ok=True)
    return lambda: _write(path, before)


def hidden(paths: Sequence[Path]) -> Iterator[Path]:
    """Those of the paths that the units' sandbox hides from the services (ProtectHome=, PrivateTmp=)."""
    places = [Path(name) for name in ("/home", "/root", "/run/user", "/tmp", "/var/tmp")]
    for path in paths:
        if any(path.resolve().is_relative_to(place) for place in places):
            yield path
