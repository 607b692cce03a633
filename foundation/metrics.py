"""Metrics as this project means them: a family is declared once, a sample is one number of it. No library is needed.

Names follow Prometheus' conventions (https://prometheus.io/docs/practices/naming/): base units, ``_total`` on counters.
docs/metrics.md lists every family, and a test compares it with what is declared here.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from enum import StrEnum
from typing import NamedTuple

import msgspec


class Kind(StrEnum):
    """What Prometheus may do with the numbers."""

    COUNTER = "counter"  # only rises, and begins again at 0 with the process
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class Family(msgspec.Struct, frozen=True):
    """One metric. ``help`` is the sentence shown beside it; ``otel`` OpenTelemetry's name for the same, if any."""

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    otel: str = ""
    buckets: tuple[float, ...] = ()

    @property
    def unit(self) -> str:
        """By the name's end; empty for a bare number."""
        words = self.name.removesuffix("_total").split("_")
        if words[-1] == "second" and "per" in words:
            return "bytes per second"
        if words[-1] == "joule" and "per" in words:
            return "grams per joule"
        return words[-1] if words[-1] in UNITS else ""


UNITS = ("bytes", "grams", "joules", "ratio", "seconds", "watts")


class Sample(NamedTuple):
    """One number, its labels in the order of the family's."""

    family: Family
    value: float
    labels: tuple[str, ...] = ()


class Samples:
    """Collects samples and leaves out what is unknown: absent, never 0."""

    def __init__(self) -> None:
        self._found: list[Sample] = []

    def __iter__(self) -> Iterator[Sample]:
        return iter(self._found)

    def add(self, family: Family, value: float | None, *labels: str) -> None:
        """``value`` None or NaN is unknown. Raises ValueError for another number of labels than the family has."""
        if len(labels) != len(family.labels):
            raise ValueError(f"metric {family.name} has the labels {family.labels}, given were {labels}; report this")
        if value is not None and not math.isnan(value):
            self._found.append(Sample(family, float(value), labels))
