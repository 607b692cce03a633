"""What the sensor sends to the agent: sums over a short span, not single readings, so that 50 Hz cost one message a
second.
"""

from __future__ import annotations

import msgspec

from .fake_scenario import FakeScenario
from .reading import Channel, ProcessUse, Scope


class DeviceWindow(msgspec.Struct, frozen=True, kw_only=True):
    """One device over one span: ``energy_j`` are the joules of the ``covered_s`` seconds that were measured.

    With ``covered_s`` 0.0 nothing was measured and ``energy_j`` is the empty sum. ``min_w``/``max_w``/``latest_w`` are
    None where no power was seen. ``counter_j`` is the counter at ``taken_s``: where a restarted sensor goes on.
    """

    device: str
    source: str
    scope: Scope
    estimated: bool
    energy_j: float
    covered_s: float
    min_w: float | None = None
    max_w: float | None = None
    latest_w: float | None = None
    gap_reason: str = ""
    counter_j: float | None = None
    taken_s: float = 0.0


class SensorWindow(msgspec.Struct, frozen=True, kw_only=True, tag="window"):
    """All devices over [``start_s``, ``end_s``) on the monotonic clock, and who used them.

    ``uses`` maps a device to its processes over the last ``uses_span_s``, or to None where the driver does not tell who
    uses it; it is empty where nobody was asked. (0.0: over this very window.)
    """

    start_s: float
    end_s: float
    devices: tuple[DeviceWindow, ...]
    uses: dict[str, list[ProcessUse] | None] = {}
    uses_span_s: float = 0.0


class Seed(msgspec.Struct, frozen=True):
    """Where a counter stood when it was last read, so that the next reader bridges the time between."""

    taken_s: float
    counter_j: float


class Settings(msgspec.Struct, frozen=True, kw_only=True, tag="settings"):
    """What the agent tells its sensor at the start."""

    rate_hz: float
    flush_s: float
    origin_s: float
    sources: tuple[str, ...]
    sys_root: str
    seeds: dict[str, Seed] = {}
    uses_every: int = 1
    fake: FakeScenario | None = None  # instead of all sources


class Hello(msgspec.Struct, frozen=True, kw_only=True, tag="hello"):
    """What the sensor found; ``problems`` are texts for a person."""

    channels: tuple[Channel, ...]
    problems: tuple[str, ...] = ()


class Farewell(msgspec.Struct, frozen=True, kw_only=True, tag="farewell"):
    """Why the sensor ends by itself."""

    reason: str


SensorMessage = SensorWindow | Hello | Farewell
