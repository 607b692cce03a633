"""Checkpoint requests of one run: open, delivered, answered; repeating an id changes nothing (stdlib only)."""

from __future__ import annotations

from typing import Any

OPEN, DELIVERED, ANSWERED, FAILED = "open", "delivered", "answered", "failed"
_UNANSWERED = (OPEN, DELIVERED)


class CheckpointRequest:
    """One request and where it stands."""

    def __init__(self, request_id: str, stop: bool) -> None:
        self.request_id = request_id
        self.stop = stop
        self.state = OPEN
        self.name = ""  # of the checkpoint that answered it
        self.step: int | None = None
        self.error = ""  # why it waits, or why it failed

    def record(self) -> dict[str, Any]:
        """As it goes over the control socket."""
        return {
            "request_id": self.request_id,
            "stop": self.stop,
            "state": self.state,
            "name": self.name,
            "step": self.step,
            "error": self.error,
        }


class CheckpointRequests:
    """All requests of a run in the order they came. An answer to one also answers every one delivered before it."""

    def __init__(self) -> None:
        self._all: dict[str, CheckpointRequest] = {}

    def add(self, request_id: str, stop: bool) -> tuple[CheckpointRequest, bool]:
        """The request of that id, and whether it is new."""
        known = self._all.get(request_id)
        if known is not None:
            return known, False
        self._all[request_id] = CheckpointRequest(request_id, stop)
        return self._all[request_id], True

    def unanswered(self) -> list[CheckpointRequest]:
        """Those that still wait, oldest first."""
        return [request for request in self._all.values() if request.state in _UNANSWERED]

    def outstanding(self) -> CheckpointRequest | None:
        """The oldest one delivered and not answered."""
        return next((request for request in self._all.values() if request.state == DELIVERED), None)

    def answer(self, request_id: str, name: str, step: int | None) -> list[CheckpointRequest]:
        """A whole checkpoint answers this request and those delivered before it. Returns them; empty if none waited."""
        if request_id not in self._all or self._all[request_id].state not in _UNANSWERED:
            return []
        answered = []
        for request in self._all.values():
            if request.state == DELIVERED or (request.request_id == request_id and request.state == OPEN):
                request.state, request.name, request.step, request.error = ANSWERED, name, step, ""
                answered.append(request)
            if request.request_id == request_id:
                break
        return answered

    def fail(self, request_id: str, error: str) -> CheckpointRequest | None:
        """The job said that it cannot; None if that request does not wait."""
        request = self._all.get(request_id)
        if request is None or request.state not in _UNANSWERED:
            return None
        request.state, request.error = FAILED, error
        return request

    def records(self) -> list[dict[str, Any]]:
        """All, oldest first, at most the last hundred."""
        return [request.record() for request in list(self._all.values())[-100:]]
