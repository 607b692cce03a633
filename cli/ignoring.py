"""What stays behind when a job's files are gathered: defaults, and the ``.heliotropeignore`` beside the job file.

The grammar is that of a ``.gitignore`` (pathspec reads it), and so is the rule about folders: what lies in an ignored
one stays behind with it, whatever a later line says. Defaults come first, so that a line ``!.venv/`` takes one back.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from pathspec import GitIgnoreSpec

from heliotrope.foundation.errors import InvalidInput

IGNORE_FILE = ".heliotropeignore"
# What tools make by themselves, and what is of use on this machine alone.
DEFAULTS = (
    ".git/",
    ".hg/",
    ".svn/",
    "__pycache__/",
    "*.py[cod]",
    ".venv/",
    ".tox/",
    ".nox/",
    "node_modules/",
    ".mypy_cache/",
    ".pytest_cache/",
    ".ruff_cache/",
    ".ipynb_checkpoints/",
    ".DS_Store",
    f"/{IGNORE_FILE}",
)


class IgnoreRules:
    """Which entries of one folder are left out, and by which line; remembers those it was asked about."""

    def __init__(self, lines: Sequence[str] = (), source: str = IGNORE_FILE) -> None:
        """``lines``: of an ignore file; ``source`` names it in errors. Raises InvalidInput naming the line."""
        given = [line for number, line in enumerate(lines, 1) if _is_pattern(line, f"{source}: line {number}")]
        self._sources = [*((line, "the defaults") for line in DEFAULTS), *((line, source) for line in given)]
        self._rules = GitIgnoreSpec.from_lines([line for line, _ in self._sources])
        self.ignored: dict[str, str] = {}  # entry -> why; of an ignored folder only the folder

    def why(self, name: str, *, is_folder: bool) -> str:
        """Which line leaves this entry out ("'*.bin' of .heliotropeignore"); "" if it comes along."""
        path = PurePosixPath(name)
        for parent in reversed(path.parents[:-1]):
            if reason := self._reason(parent.as_posix(), is_folder=True):
                return reason
        return self._reason(name, is_folder=is_folder)

    def _reason(self, name: str, *, is_folder: bool) -> str:
        found = self._rules.check_file(f"{name}/" if is_folder else name)
        if not found.include or found.index is None:
            return ""
        line, source = self._sources[found.index]
        self.ignored[f"{name}/" if is_folder else name] = reason = f"{line!r} of {source}"
        return reason


def _is_pattern(line: str, where: str) -> bool:
    """False for an empty line and a comment: they are no patterns, and have no index."""
    try:
        return any(pattern.include is not None for pattern in GitIgnoreSpec.from_lines([line]).patterns)
    except (ValueError, re.error) as error:
        raise InvalidInput(f"{where}: {line!r} is no pattern: {error}; write it as in a .gitignore") from error


def load(folder: Path) -> IgnoreRules:
    """The rules of a job file's folder. Raises InvalidInput when its ignore file cannot be read."""
    path = folder / IGNORE_FILE
    try:
        return IgnoreRules(path.read_text(encoding="utf-8").splitlines(), str(path))
    except FileNotFoundError:
        return IgnoreRules()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"cannot read {path}: {error}; make it a readable UTF-8 file, or remove it") from error
