"""The traces behind the services: CSV files as :mod:`heliotrope.coordinator.forecasts.csvtrace` reads them.

The trace may be of another year: ``offset_s`` is added to its times, so that clients see it as of today.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np

from heliotrope.coordinator.forecasts import csvtrace
from heliotrope.coordinator.forecasts.csvtrace import FileUnit
from heliotrope.coordinator.forecasts.series import DAY_S, Series
from heliotrope.foundation.errors import InvalidInput, NotFound


@dataclass(frozen=True)
class Row:
    """A value from ``time_s`` [Unix s, as clients see it] on; None: unknown."""

    time_s: float
    value: float | None


@dataclass(frozen=True)
class TraceFile:
    """Where a quantity comes from."""

    path: Path
    unit: FileUnit


class Traces:
    """Quantities (intensity, renewable, price, generation) by zone; a zone is a column, or named one by ``columns``."""

    def __init__(
        self,
        files: Mapping[str, TraceFile],
        *,
        columns: Mapping[str, str] | None = None,
        offset_s: float = 0.0,
        forecast_error_ratio: float = 0.0,
    ) -> None:
        self.files = files
        self.offset_s = offset_s
        self._columns = columns or {}
        self._error_ratio = forecast_error_ratio
        self._opened: dict[tuple[str, str], Series] = {}

    def past(self, quantity: str, zone: str, start_s: float, end_s: float) -> list[Row]:
        """What is known at ``end_s``: the rows that begin in [start_s, end_s]. Raises NotFound."""
        series = self.series(quantity, zone)
        first, last = np.searchsorted(series.times_s, [start_s - self.offset_s, end_s - self.offset_s], side="left")
        inside = slice(int(first), int(last) + 1)
        pairs = zip(series.times_s[inside].tolist(), series.values[inside].tolist(), strict=True)
        rows = [Row(time_s + self.offset_s, _known(value)) for time_s, value in pairs]
        return [row for row in rows if start_s <= row.time_s <= end_s]

    def ahead(self, quantity: str, zone: str, now_s: float, end_s: float) -> list[Row]:
        """A forecast issued at ``now_s``: the truth, with an error that grows with the lead time. Raises NotFound."""
        series = self.series(quantity, zone)
        index = int(np.searchsorted(series.times_s, now_s - self.offset_s, side="right")) - 1
        covering = float(series.times_s[max(index, 0)])
        rows = self.past(quantity, zone, covering + self.offset_s, end_s)
        if not self._error_ratio:
            return rows
        seed = int.from_bytes(sha256(f"{quantity} {zone} {now_s // 3600:.0f}".encode()).digest()[:8])
        walk = np.cumsum(np.random.default_rng(seed).standard_normal(len(rows)))
        spread = self._error_ratio / math.sqrt(max(len(rows), 1))  # the stated ratio at the horizon's end
        return [
            Row(row.time_s, None if row.value is None else max(row.value * (1.0 + spread * float(step)), 0.0))
            for row, step in zip(rows, walk, strict=True)
        ]

    def at(self, quantity: str, zone: str, times_s: list[float]) -> list[Row]:
        """The values at given times. Raises NotFound."""
        values = self.series(quantity, zone).at_s(np.array(times_s) - self.offset_s)
        return [Row(time_s, _known(value)) for time_s, value in zip(times_s, values.tolist(), strict=True)]

    def series(self, quantity: str, zone: str) -> Series:
        """Raises NotFound for a quantity without a file or a zone without a column."""
        key = (quantity, zone)
        if key not in self._opened:
            file = self.files.get(quantity)
            if file is None:
                raise NotFound(f"cannot replay {quantity}: no file was given; add --{quantity} FILE")
            try:
                column = self._columns.get(zone, zone)
                self._opened[key] = csvtrace.read(file.path, column, file.unit, gaps="unknown")
            except InvalidInput as error:
                raise NotFound(str(error)) from error
        return self._opened[key]

    def span_s(self) -> tuple[float, float]:
        """First time and end [trace Unix s] of the files' first zones."""
        spans = [self.series(name, csvtrace.zones(file.path)[0]) for name, file in self.files.items()]
        if not spans:
            return 0.0, DAY_S
        return max(one.start_s for one in spans), min(one.end_s for one in spans)


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value
