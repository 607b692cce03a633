"""A span of time as an option: ``90s``, ``30m``, ``1h30m``, ``2d``, or a bare number of seconds."""

from __future__ import annotations

import re
from typing import Any

import click

from heliotrope.foundation import spans


class Duration(click.ParamType[float]):
    """An option's value in seconds, more than 0."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, float):
            return value
        text = str(value)
        try:
            return spans.parse_s(f"{text}s" if re.fullmatch(r"\d+(?:\.\d+)?", text) else text)
        except ValueError:
            self.fail(f"{value!r} is no duration; write 90s, 30m, 1h30m or 2d", param, ctx)


DURATION = Duration()
