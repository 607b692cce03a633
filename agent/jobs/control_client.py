"""The agent's end of a supervisor's control socket: one JSON line there, one back."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

from heliotrope.foundation.errors import Conflict, Unreachable

from .lines import short_address

_ANSWER_S = 10.0
_LIMIT_BYTES = 1024 * 1024


async def call(socket_path: Path, message: dict[str, Any]) -> dict[str, Any]:
    """Ask one thing. Raises Unreachable (no supervisor, or no answer in time), Conflict (it refused, and why)."""
    try:
        async with asyncio.timeout(_ANSWER_S):
            with short_address(str(socket_path)) as address:
                reader, writer = await asyncio.open_unix_connection(address, limit=_LIMIT_BYTES)
            try:
                writer.write(json.dumps(message).encode() + b"\n")
                line = await reader.readline()
            finally:
                writer.close()
    except (OSError, TimeoutError, ValueError) as error:
        cause = str(error) or f"no answer in {_ANSWER_S:.0f} s"
        raise Unreachable(f"cannot reach the supervisor at {socket_path}: {cause}; see its log") from error
    if not line:
        raise Unreachable(f"cannot reach the supervisor at {socket_path}: it hung up; see its log")
    answer: dict[str, Any] = json.loads(line)
    if not answer["ok"]:
        raise Conflict(f"cannot {message['op']}: {answer['error']}")
    return answer
