"""SVG, drawn by hand: text in, text out. Colours are classes, so that the page's style sheet can turn the light off."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from html import escape


@dataclass(frozen=True)
class Scale:
    """A straight line from values to pixels. A domain without extent maps to the middle of the range."""

    low: float
    high: float
    first_px: float
    last_px: float

    def __call__(self, value: float) -> float:
        if self.high == self.low:
            return (self.first_px + self.last_px) / 2
        return self.first_px + (value - self.low) / (self.high - self.low) * (self.last_px - self.first_px)

    def clamp(self, value: float) -> float:
        """The pixel of the value, or of the nearer end of the domain."""
        return self(min(max(value, self.low), self.high))


def ticks(low: float, high: float, count: int = 6) -> list[float]:
    """Round values (1, 2 or 5 times a power of ten apart) that cover the inside of [low, high]."""
    if not high > low:
        return [low]
    rough = (high - low) / max(count, 1)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next((nice * power for nice in (1.0, 2.0, 5.0) if nice * power >= rough * 0.999), 10.0 * power)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [round(index * step, 12) for index in range(first, last + 1)]


@dataclass
class Svg:
    """A picture under construction."""

    width: float
    height: float
    label: str
    _parts: list[str] = field(default_factory=list)

    def rect(self, x: float, y: float, width: float, height: float, css: str, title: str = "") -> None:
        size = f'x="{_n(x)}" y="{_n(y)}" width="{_n(max(width, 0.0))}" height="{_n(max(height, 0.0))}"'
        self._add("rect", size, css, title)

    def line(self, x1: float, y1: float, x2: float, y2: float, css: str, title: str = "") -> None:
        self._add("line", f'x1="{_n(x1)}" y1="{_n(y1)}" x2="{_n(x2)}" y2="{_n(y2)}"', css, title)

    def circle(self, x: float, y: float, radius: float, css: str, title: str = "") -> None:
        self._add("circle", f'cx="{_n(x)}" cy="{_n(y)}" r="{_n(radius)}"', css, title)

    def text(self, x: float, y: float, text: str, css: str = "label", anchor: str = "start") -> None:
        position = f'x="{_n(x)}" y="{_n(y)}" text-anchor="{anchor}"'
        self._parts.append(f'<text {position} class="{css}">{escape(text)}</text>')

    def path(self, points: Iterable[tuple[float, float] | None], css: str, title: str = "") -> None:
        """A line through the points; None interrupts it, as what is not known does."""
        words: list[str] = []
        pen_down = False
        for point in points:
            if point is not None:
                words.append(f"{'L' if pen_down else 'M'}{_n(point[0])} {_n(point[1])}")
            pen_down = point is not None
        if words:
            self._add("path", f'd="{" ".join(words)}"', css, title)

    def area(self, upper: Sequence[tuple[float, float]], lower: Sequence[tuple[float, float]], css: str) -> None:
        """What lies between two lines."""
        points = " ".join(f"{_n(x)},{_n(y)}" for x, y in (*upper, *reversed(lower)))
        if points:
            self._add("polygon", f'points="{points}"', css, "")

    def render(self) -> str:
        """The element, to stand in a page."""
        size = f'viewBox="0 0 {_n(self.width)} {_n(self.height)}"'
        head = (
            f'<svg {size} role="img" aria-label="{escape(self.label, quote=True)}" xmlns="http://www.w3.org/2000/svg">'
        )
        return "\n".join([head, *self._parts, "</svg>"])

    def _add(self, kind: str, attributes: str, css: str, title: str) -> None:
        inner = f"<title>{escape(title)}</title>" if title else ""
        self._parts.append(f'<{kind} {attributes} class="{escape(css, quote=True)}">{inner}</{kind}>')


def _n(value: float) -> str:
    """A number without noise: a tenth of a pixel is enough."""
    if not math.isfinite(value):
        raise ValueError(f"cannot draw at {value}: not a finite coordinate")
    return f"{value:.1f}".rstrip("0").rstrip(".")
