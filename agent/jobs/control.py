"""The control socket: what the agent asks of a supervisor, one JSON line each way (standard library only).

Every operation may be repeated: a second call changes nothing and gives the same answer.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .lines import Peer

if TYPE_CHECKING:  # the supervisor makes this object and is its only user
    from .supervision import Supervisor


class Control:
    """Answers the agent's lines."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self._operations: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
            "status": self._status,
            "renew": self._renew,
            "checkpoint": self._checkpoint,
            "cancel": self._cancel,
            "answer": self._answer,
            "stop": self._stop,
            "kill": self._kill,
        }

    def handle(self, peer: Peer, message: dict[str, Any]) -> None:
        """Do one operation and answer it: ``{"ok": true, ...}`` or ``{"ok": false, "error": ...}``."""
        operation = self._operations.get(str(message.get("op")))
        try:
            if operation is None:
                raise ValueError(f"field op: {message.get('op')!r} is none of {', '.join(self._operations)}")
            answer = {"ok": True, **operation(message)}
        except (ValueError, KeyError, TypeError) as error:
            answer = {"ok": False, "error": str(error)}
        peer.send(answer)

    def _status(self, message: dict[str, Any]) -> dict[str, Any]:
        supervisor = self._supervisor
        return {
            "status": supervisor.status,
            "ready": supervisor.channel.ready,
            "lease_deadline_boottime_s": supervisor.lease.deadline_s,
            "requests": supervisor.channel.requests.records(),
        }

    def _renew(self, message: dict[str, Any]) -> dict[str, Any]:
        deadline_s = message["deadline_boottime_s"]
        if deadline_s is not None and not (isinstance(deadline_s, (int, float)) and math.isfinite(deadline_s)):
            raise ValueError(f"field deadline_boottime_s: {deadline_s!r} is neither a time nor null")
        if self._supervisor.cause == "lease":
            raise ValueError("the lease is over, the job is being ended")
        self._supervisor.lease.renew(deadline_s)
        return {"lease_deadline_boottime_s": deadline_s}

    def _checkpoint(self, message: dict[str, Any]) -> dict[str, Any]:
        if self._supervisor.parameters.request_mode == "none":
            raise ValueError('the job file says request = "none": the job takes no requests')
        request_id = message["request_id"]
        if not isinstance(request_id, str) or not 0 < len(request_id) <= 200:
            raise ValueError("field request_id: not a text of 1 to 200 characters")
        return {"request": self._supervisor.channel.request(request_id, message["stop"] is True).record()}

    def _cancel(self, message: dict[str, Any]) -> dict[str, Any]:
        request = self._supervisor.channel.cancel(str(message["request_id"]))
        return {"cancelled": request is not None}

    def _answer(self, message: dict[str, Any]) -> dict[str, Any]:
        step = message.get("step")
        self._supervisor.channel.answer(str(message["request_id"]), str(message["name"]), step)
        return {}

    def _stop(self, message: dict[str, Any]) -> dict[str, Any]:
        grace_s = float(message["grace_s"])
        if not (math.isfinite(grace_s) and grace_s >= 0):
            raise ValueError(f"field grace_s: {grace_s} is not a number of seconds from 0")
        cause = message.get("cause", "stop")
        if cause not in ("stop", "limit"):
            raise ValueError(f"field cause: {cause!r} is neither stop nor limit")
        self._supervisor.terminate(cause, grace_s, str(message.get("error", "")))
        return {}

    def _kill(self, message: dict[str, Any]) -> dict[str, Any]:
        self._supervisor.terminate("kill", 0.0)
        return {}
