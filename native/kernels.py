"""Which kernel runs: chosen once, at import.

``HELIOTROPE_KERNEL`` demands one (``scalar``, ``avx2``, ``neon``; ``auto``, the default, takes the fastest that this
processor has). A demand that cannot be met fails the import instead of falling back, so that a measurement or a test
never silently runs another kernel than it names.
"""

from __future__ import annotations

import os
import platform

from . import _core
from .errors import KernelUnavailable

VARIABLE = "HELIOTROPE_KERNEL"
NAMES = ("auto", "scalar", "avx2", "neon")


def kernels() -> dict[str, str]:
    """Operation -> the implementation that runs it (``scalar``, ``avx2`` or ``neon``)."""
    return _core.kernels()


def select_demanded() -> None:
    """Obeys ``HELIOTROPE_KERNEL``. Raises KernelUnavailable when it names no kernel or one that cannot run here."""
    name = os.environ.get(VARIABLE) or "auto"
    if name not in NAMES:
        raise KernelUnavailable(f"cannot load heliotrope.native: {VARIABLE} is {name!r}; use one of {', '.join(NAMES)}")
    try:
        _core.select(name)
    except LookupError:
        raise KernelUnavailable(
            f"cannot load heliotrope.native: {VARIABLE} demands {name!r}, which this {platform.machine()} machine or "
            "build cannot run; unset it or use 'auto'"
        ) from None
