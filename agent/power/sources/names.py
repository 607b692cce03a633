"""The sources by name, in order of trust: of two meters for one thing the earlier source is taken."""

from __future__ import annotations

HARDWARE = ("nvml", "jetson", "rapl", "hwmon")
MODEL = "model"
FAKE = "fake"  # made up, and only where somebody asked for it
