"""For all tests: a busy machine is slow, and slow is not wrong."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("heliotrope", deadline=None)
settings.load_profile("heliotrope")
