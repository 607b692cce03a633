"""The ``[power]`` table of an agent's configuration file."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from .sources.names import FAKE, HARDWARE, MODEL

Positive = Annotated[float, Meta(gt=0)]
SourceName = Literal["nvml", "jetson", "rapl", "hwmon", "model"]


class ModelConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What the machine (without GPUs) is declared to draw: idle, and with all CPUs busy.

    ``scope``: "host" counts every process; "tree" only the agent's jobs and itself, for several agents on one machine.
    """

    idle_w: Annotated[float, Meta(ge=0)]
    max_w: Positive
    scope: Literal["host", "tree"] = "host"

    def __post_init__(self) -> None:
        if self.max_w < self.idle_w:
            raise ValueError(f"max_w {self.max_w:g} is below idle_w {self.idle_w:g}; declare the busy machine's watts")


class PowerConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How power is measured. ``sources``: "auto" takes what works, the model only where nothing measures the host."""

    rate_hz: Annotated[float, Meta(ge=1, le=50)] = 10.0
    batch_s: Annotated[float, Meta(ge=0.2, le=300)] = 10.0
    sources: Literal["auto"] | tuple[SourceName, ...] = "auto"
    model: ModelConfig | None = None
    idle_rule: Literal["holder", "usage", "unowned"] = "holder"
    hang_s: Positive = 5.0  # a sensor silent for this long is killed and started anew
    sys_root: str = "/sys"  # another root only for tests and fakes
    fake: str = ""  # a scenario of made-up GPUs (fake_scenario.py) in the place of all sources; empty: measure

    def __post_init__(self) -> None:
        if self.sources != "auto" and MODEL in self.sources and self.model is None:
            raise ValueError('sources names "model", but model is missing; declare model.idle_w and model.max_w')

    @property
    def hardware(self) -> tuple[str, ...]:
        """The sources with a driver, which the sensor process is to try."""
        if self.fake:
            return (FAKE,)
        return HARDWARE if self.sources == "auto" else tuple(name for name in HARDWARE if name in self.sources)

    @property
    def may_model(self) -> bool:
        """Whether the declared model may stand in."""
        return self.model is not None and not self.fake and (self.sources == "auto" or MODEL in self.sources)
