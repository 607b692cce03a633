"""The story that ``heliotrope agent --fake SCENARIO`` tells: GPUs, their power over time, and what goes wrong when.

Pure arithmetic: the same second always gives the same watts, and a counter is their exact integral.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from heliotrope.foundation import config as configuration
from heliotrope.foundation.errors import InvalidInput

Watts = Annotated[float, Meta(ge=0, le=20_000)]
Seconds = Annotated[float, Meta(ge=0)]
_FOR_EVER_S = 1e12  # JSON knows no infinity


class Span(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Seconds after the agent's start, the end excluded."""

    start_s: Seconds
    end_s: Seconds

    def __post_init__(self) -> None:
        if self.end_s <= self.start_s:
            raise ValueError(f"end_s {self.end_s:g} is not after start_s {self.start_s:g}; correct one of them")

    def has(self, at_s: float) -> bool:
        return self.start_s <= at_s < self.end_s


class FakeGpu(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One GPU. Its power goes up and down as a sine between ``idle_w`` and ``busy_w`` once in ``period_s``.

    ``resets_s``: when its energy counter starts again at 0. ``lost``: when it is off the bus. A GPU may have no counter
    (an old one) or no power (then power is derived from the counter).
    """

    uuid: Annotated[str, Meta(pattern="^FAKE-")]  # nobody shall ever take it for a real one
    model: Annotated[str, Meta(pattern="^(?i:fake)")] = "fake GPU"
    memory_bytes: Annotated[int, Meta(gt=0)] = 80 * 1024**3
    idle_w: Watts = 70.0
    busy_w: Watts = 350.0
    period_s: Annotated[float, Meta(gt=0)] = 60.0
    scope: Literal["gpu", "module"] = "gpu"
    has_counter: bool = True
    has_power: bool = True
    resets_s: tuple[Seconds, ...] = ()
    lost: tuple[Span, ...] = ()

    def __post_init__(self) -> None:
        if self.busy_w < self.idle_w:
            raise ValueError(f"busy_w {self.busy_w:g} is below idle_w {self.idle_w:g}; correct one of them")
        if not (self.has_counter or self.has_power):
            raise ValueError("has_counter and has_power are both false; a GPU that says nothing cannot be measured")

    def power_at_w(self, at_s: float) -> float:
        """Power [W] at that second."""
        middle_w, swing_w = (self.busy_w + self.idle_w) / 2, (self.busy_w - self.idle_w) / 2
        return middle_w - swing_w * math.cos(2 * math.pi * at_s / self.period_s)

    def energy_j(self, at_s: float) -> float:
        """Joules from second 0 on: the integral of :meth:`power_at_w`."""
        middle_w, swing_w = (self.busy_w + self.idle_w) / 2, (self.busy_w - self.idle_w) / 2
        turn = 2 * math.pi / self.period_s
        return middle_w * at_s - swing_w / turn * math.sin(turn * at_s)

    def counter_j(self, at_s: float) -> float:
        """What the counter shows: joules since its last reset."""
        reset_s = max((reset_s for reset_s in self.resets_s if reset_s <= at_s), default=0.0)
        return max(0.0, self.energy_j(at_s) - self.energy_j(reset_s))

    def is_lost(self, at_s: float) -> bool:
        return any(span.has(at_s) for span in self.lost)


class FakeScenario(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """GPUs and the faults of their driver. ``hangs``: a call begun then returns at the end; ``reloads``: no driver."""

    gpus: Annotated[tuple[FakeGpu, ...], Meta(min_length=1, max_length=64)]
    hangs: tuple[Span, ...] = ()
    reloads: tuple[Span, ...] = ()
    about: str = ""

    def __post_init__(self) -> None:
        uuids = [gpu.uuid for gpu in self.gpus]
        if len(set(uuids)) < len(uuids):
            raise ValueError("two gpus have the same uuid; give each its own")

    def driver_away(self, at_s: float) -> bool:
        return any(span.has(at_s) for span in self.reloads)

    def hang_left_s(self, at_s: float) -> float:
        """For how long a call that is made now does not return; 0.0 when it does at once."""
        return max((span.end_s - at_s for span in self.hangs if span.has(at_s)), default=0.0)


def _gpus(count: int) -> tuple[FakeGpu, ...]:
    return tuple(FakeGpu(uuid=f"FAKE-GPU-{index}", period_s=60.0 + 7 * index) for index in range(count))


SCENARIOS = {
    "gpu": FakeScenario(gpus=_gpus(1), about="one GPU"),
    "eight-gpus": FakeScenario(gpus=_gpus(8), about="a server with eight GPUs"),
    "module": FakeScenario(
        gpus=(FakeGpu(uuid="FAKE-GPU-0", model="fake GH200", scope="module", idle_w=150.0, busy_w=900.0),),
        about="a GH200, of which only the whole module is metered",
    ),
    "no-counter": FakeScenario(
        gpus=(FakeGpu(uuid="FAKE-GPU-0", has_counter=False),), about="an old GPU that has no energy counter"
    ),
    "lost-gpu": FakeScenario(
        gpus=(_gpus(1)[0], FakeGpu(uuid="FAKE-GPU-1", lost=(Span(60.0, _FOR_EVER_S),))),
        about="two GPUs, one of them falls off the bus after a minute",
    ),
    "counter-reset": FakeScenario(
        gpus=(FakeGpu(uuid="FAKE-GPU-0", resets_s=(60.0, 180.0)),), about="a GPU whose counter starts again at 0, twice"
    ),
    "hang": FakeScenario(
        gpus=_gpus(2), hangs=(Span(60.0, 90.0),), about="a driver that does not answer for half a minute"
    ),
    "driver-reload": FakeScenario(
        gpus=_gpus(2), reloads=(Span(60.0, 90.0),), about="a driver that is unloaded for half a minute"
    ),
}


def load(name: str) -> FakeScenario:
    """A scenario by its name, or from a TOML or JSON file. Raises InvalidInput with the names there are."""
    if name in SCENARIOS:
        return SCENARIOS[name]
    if Path(name).suffix in (".toml", ".json"):
        return configuration.load(Path(name), FakeScenario)
    told = "; ".join(f"{known} ({scenario.about})" for known, scenario in SCENARIOS.items())
    raise InvalidInput(f"field fake: there is no scenario {name!r}; name a .toml or .json file, or one of: {told}")
