"""Quantities as a person reads them: one decimal, a unit, and never a number for what is unknown."""

from __future__ import annotations


def seconds(value: float | None) -> str:
    return "unlimited" if value is None else f"{value:.1f} s"


def or_never(value: float | None) -> str:
    return "never" if value is None else seconds(value)


def percent(value: float | None) -> str:
    return "unknown" if value is None else f"{100 * value:.1f} %"


def basis(quantile: float | None) -> str:
    return "is a point forecast" if quantile is None else f"is its {quantile:.0%} quantile"


def watts(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.1f} W"


def joules(value: float | None) -> str:
    if value is None:
        return "unknown"
    for limit, factor, unit in ((1e4, 1.0, "J"), (3.6e6, 1e3, "kJ")):
        if abs(value) < limit:
            return f"{value / factor:.1f} {unit}"
    return f"{value / 3.6e6:.2f} kWh"


def size(value: float) -> str:
    for factor, unit in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if value >= factor:
            return f"{value / factor:.2f} {unit}"
    return f"{value:.0f} B"
