"""The small charts below the time line, on its axis: intensity, power and loss."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from .drawing import Scale, Svg, ticks
from .recording import Recording
from .timeline import LEFT, RIGHT, WIDTH, Frame, frame, real_time_axis

Draw: TypeAlias = Callable[[Recording], str]

HEIGHT, TOP, BOTTOM = 170.0, 14.0, 30.0


def draw_intensity(recording: Recording) -> str:
    """Carbon intensity of each site's load, own generation included [g/kWh]."""
    svg, box = _chart(recording, "Carbon intensity per site")
    values = [v for one in recording.samples for v in one.intensity_g_per_kwh.values() if v is not None]
    y = _left_axis(svg, box, 0.0, max(values, default=1.0), "g/kWh")
    for index, site in enumerate(recording.sites):
        points = [
            None if (value := one.intensity_g_per_kwh.get(site)) is None else (box.x.clamp(one.at_s), y(value))
            for one in recording.samples
        ]
        svg.path(points, f"curve site{index}")
    return svg.render()


def draw_power(recording: Recording) -> str:
    """Power of the three sites' nodes, stacked [W]."""
    svg, box = _chart(recording, "Power per site, stacked")
    totals = [sum(one.power_w.values()) for one in recording.samples]
    y = _left_axis(svg, box, 0.0, max(totals, default=1.0), "W")
    base = [0.0] * len(recording.samples)
    for index, site in enumerate(recording.sites):
        upper = [low + one.power_w.get(site, 0.0) for low, one in zip(base, recording.samples, strict=True)]
        xs = [box.x.clamp(one.at_s) for one in recording.samples]
        svg.area(
            [(x, y(value)) for x, value in zip(xs, upper, strict=True)],
            [(x, y(value)) for x, value in zip(xs, base, strict=True)],
            f"area site{index}",
        )
        base = upper
    return svg.render()


def draw_loss(recording: Recording) -> str:
    """The training's loss: it goes on after a move where it was before."""
    svg, box = _chart(recording, "Training loss")
    known = [(one.at_s, one.loss) for one in recording.samples if one.loss is not None]
    losses = [loss for _, loss in known]
    y = _left_axis(svg, box, min(losses, default=0.0), max(losses, default=1.0), "loss")
    svg.path([(box.x.clamp(at_s), y(loss)) for at_s, loss in known], "curve plain")
    return svg.render()


def _chart(recording: Recording, label: str) -> tuple[Svg, Frame]:
    svg = Svg(WIDTH, HEIGHT, label)
    box = frame(recording, TOP, HEIGHT - BOTTOM)
    svg.rect(LEFT, TOP, WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM, "lane")
    real_time_axis(svg, box)
    return svg, box


def _left_axis(svg: Svg, box: Frame, low: float, high: float, unit: str) -> Scale:
    high = high if high > low else low + 1.0
    y = Scale(low, high + (high - low) * 0.05, box.bottom, box.top)
    for value in ticks(low, high, 4):
        svg.line(LEFT, y(value), WIDTH - RIGHT, y(value), "grid")
        svg.text(LEFT - 8, y(value) + 4, f"{value:g} {unit}", "tick", "end")
    return y
