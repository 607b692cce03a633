"""``heliotrope demo``: a job follows the green power through a fleet of real processes on this machine."""

from __future__ import annotations

from .command import demo

__all__ = ["demo"]
