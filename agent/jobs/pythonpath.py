"""Puts ``heliotrope.job`` where a job's own interpreter finds it, whatever environment that is."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from heliotrope.foundation import records

MODULE = Path("heliotrope", "job.py")


def install(folder: Path) -> Path:
    """Make ``folder`` one to put on PYTHONPATH: it holds heliotrope/job.py, readable by every user. Idempotent.

    There is no heliotrope/__init__.py: a job whose interpreter has Heliotrope installed keeps the rest of it.
    Returns ``folder``. Raises OSError.
    """
    source = files("heliotrope.job").joinpath("__init__.py").read_bytes()
    target = folder / MODULE
    target.parent.mkdir(parents=True, exist_ok=True)
    for made in (folder, target.parent):
        made.chmod(0o755)
    if not target.exists() or target.read_bytes() != source:
        records.write_durably(target, source, mode=0o644)
    target.chmod(0o644)
    return folder
