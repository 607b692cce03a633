"""What a sensor says: data, its health, its age, its source and its scope, never a bare number.

A failed read carries no data: not 0, and not the value of before. Whoever wants a number must look at the health.
Times are CLOCK_MONOTONIC seconds, which all processes of a machine share.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec


class Scope(StrEnum):
    """What a meter covers. They overlap (a node contains its packages), so only a non-overlapping set is ever added
    up.
    """

    NODE = "node"  # the whole machine: psys, a supply's meter, Jetson's VDD_IN, the declared model
    MODULE = "module"  # GPU and CPU on one module (GH200)
    GPU = "gpu"
    PACKAGE = "package"  # one CPU socket
    DRAM = "dram"
    CORE = "core"  # contained in a package


class Health(StrEnum):
    """Whether a reading may be used."""

    LIVE = "live"
    FAILED = "failed"


class ErrorKind(StrEnum):
    """What to do about a failed read."""

    RETRY = "retry"  # passing: ask again at the next tick
    STOP = "stop"  # this device will not answer any more until it is opened anew
    FATAL = "fatal"  # the whole source is unusable until its driver is loaded anew


class SensorError(Exception):
    """A read or probe that failed; stays inside the room, where it becomes a reading's health or a problem's text."""

    def __init__(self, kind: ErrorKind, text: str, code: int = 0) -> None:
        super().__init__(text)
        self.kind = kind
        self.code = code  # the driver's own, 0 where there is none


class Channel(msgspec.Struct, frozen=True, kw_only=True):
    """One meter that answered when probed.

    ``wrap_j`` is the value at which the energy counter starts again at 0, 0.0 where it never does by itself;
    ``counter_step_s`` how often the hardware updates it: power derived from shorter differences would be noise.
    """

    device: str  # key that survives reboots: a GPU's UUID, else "source:name"
    source: str  # nvml, jetson, rapl, hwmon, model
    scope: Scope
    label: str = ""
    estimated: bool = False
    has_counter: bool = False
    wrap_j: float = 0.0
    counter_step_s: float = 0.0


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """One answer of one channel. ``energy_j`` is a counter as read, ``power_w`` the power at ``taken_s``.

    Live readings carry at least one of the two, failed ones neither but a kind and a text. Raises ValueError otherwise.
    """

    device: str
    source: str
    scope: Scope
    taken_s: float
    health: Health = Health.LIVE
    energy_j: float | None = None
    power_w: float | None = None
    error_kind: ErrorKind | None = None
    error: str = ""

    def __post_init__(self) -> None:
        has_data = self.energy_j is not None or self.power_w is not None
        if has_data != (self.health is Health.LIVE) or (self.error_kind is None) != has_data:
            raise ValueError(f"reading of {self.device}: data exactly when live, an error kind exactly when failed")

    def age_s(self, now_s: float) -> float:
        """Seconds since it was taken."""
        return max(0.0, now_s - self.taken_s)

    def is_usable(self, now_s: float, limit_s: float) -> bool:
        """Live and not older than the limit: an old value is never shown as the present one."""
        return self.health is Health.LIVE and self.age_s(now_s) <= limit_s


def failed(channel: Channel, taken_s: float, error: SensorError) -> Reading:
    """The reading of a channel that did not answer."""
    return Reading(
        device=channel.device,
        source=channel.source,
        scope=channel.scope,
        taken_s=taken_s,
        health=Health.FAILED,
        error_kind=error.kind,
        error=str(error),
    )


class ProcessUse(msgspec.Struct, frozen=True, kw_only=True):
    """One process on one device, as the driver sees it. ``None`` means the driver does not say, 0 means none.

    ``sm_ratio`` is the share of time its kernels ran (0..1, several processes may add up to more than the device was
    busy); ``slice_ratio`` the share of the device that its MIG instance owns.
    """

    device: str
    pid: int
    memory_bytes: int | None = None
    sm_ratio: float | None = None
    slice_ratio: float | None = None
    instance: str = ""
