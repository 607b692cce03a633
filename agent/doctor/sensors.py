"""What measures power here, tried by the very code that will measure, and what a missing permission hides."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from ..power.config import PowerConfig
from ..power.reading import Channel
from ..power.sources.detect import detect
from ..power.sources.overlap import covers_host
from .finding import Finding, error, ok, warning
from .subject import Subject


def findings(subject: Subject) -> Iterator[Finding]:
    power = subject.agent.power if subject.agent else PowerConfig()
    if power.fake:
        yield made_up(power.fake)
        return
    sys_root = Path(power.sys_root) if subject.agent else subject.sys_root
    sources, problems = detect(power.hardware, sys_root=sys_root, monotonic_s=subject.clock.monotonic_s)
    channels: list[Channel] = []
    for source in sources:
        names = [channel.label or channel.device for channel in source.channels]
        readings = source.read()
        failed = sum(1 for one in readings if one.energy_j is None and one.power_w is None)
        text = f"{len(names)} meters: {', '.join(names)}"
        yield ok(f"sensors.{source.name}", text, channel_count=len(names), failed_count=failed)
        channels += source.channels
        source.close()
    hidden = unreadable_rapl(sys_root)
    if hidden:
        yield rapl(hidden)
    # A counter that may not be read was named above, with the permission that it takes.
    for problem in (one for one in problems if not (hidden and "ermission" in one)):
        yield warning("sensors.problem", problem, "Mend it, or leave the source out of power.sources.")
    yield host(channels, power, is_node=subject.agent is not None)


def made_up(scenario: str) -> Finding:
    return warning(
        "sensors.fake",
        f"power and GPUs are made up (scenario {scenario}); nothing is measured here",
        "Take power.fake out of the configuration (or --fake from the command) to measure.",
        scenario=scenario,
    )


def unreadable_rapl(sys_root: Path) -> list[str]:
    """RAPL counters that are there and that this process may not read."""
    found = sorted((sys_root / "class" / "powercap").glob("intel-rapl:*/energy_uj"))
    return [path.parent.name for path in found if not os.access(path, os.R_OK, effective_ids=True)]


def rapl(zones: list[str]) -> Finding:
    return warning(
        "sensors.rapl_permission",
        f"{len(zones)} RAPL counters may not be read by uid {os.geteuid()}",
        "Run the agent with CAP_DAC_READ_SEARCH (the shipped unit grants it) or as root.",
        zones=zones,
    )


def host(channels: list[Channel], power: PowerConfig, *, is_node: bool) -> Finding:
    """Something must say what the machine itself draws, or all of it is unknown."""
    if covers_host(channels):
        return ok("sensors.host", "the machine's own draw is measured")
    if power.may_model and power.model is not None:
        text = f"nothing measures the machine itself; the declared model stands in, {power.model.idle_w:g} W idle to "
        text += f"{power.model.max_w:g} W, marked as estimated"
        return ok("sensors.host", text, idle_w=power.model.idle_w, max_w=power.model.max_w)
    remedy = "Declare power.model.idle_w and power.model.max_w, or grant what a sensor needs."
    if channels:
        return warning("sensors.host", "only GPUs are measured, the machine itself is not", remedy)
    if not is_node:
        return warning("sensors.host", "nothing measures power here; a node would need something to", remedy)
    return error("sensors.host", "nothing measures power here; energy and carbon stay unknown", remedy)
