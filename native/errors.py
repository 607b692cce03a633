"""What can go wrong in the codec. This room imports nothing of ours; callers map these to the error catalogue."""

from __future__ import annotations


class MalformedFrame(ValueError):
    """A frame is not what an encoder writes: damaged, cut short, or from a version not known here."""


class MissingBase(MalformedFrame):
    """The frame is a delta, and its base was not given or has another length than the chunk."""


class KernelUnavailable(ImportError):
    """HELIOTROPE_KERNEL demands a kernel that does not exist or that this machine cannot run."""
