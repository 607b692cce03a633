"""Live sessions: which node is connected, and its queue of messages to send."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from heliotrope.v1 import fleet_pb2 as pb

# A session that does not drain its queue is broken: it is closed rather than grown.
QUEUE_LIMIT = 10_000


@dataclass
class LiveSession:
    """One agent's stream."""

    node_id: str
    instance_id: str
    outgoing: asyncio.Queue[pb.CoordinatorMessage | None] = field(
        default_factory=lambda: asyncio.Queue(maxsize=QUEUE_LIMIT)
    )
    sent: set[str] = field(default_factory=set)  # orders sent on this stream: at least once, not again and again
    heard: asyncio.Event = field(default_factory=asyncio.Event)  # something came since the last look
    orders_wait: asyncio.Event = field(default_factory=asyncio.Event)

    def send(self, message: pb.CoordinatorMessage) -> None:
        try:
            self.outgoing.put_nowait(message)
        except asyncio.QueueFull:
            self.close()

    def close(self) -> None:
        while self.outgoing.full():
            self.outgoing.get_nowait()
        self.outgoing.put_nowait(None)


class Sessions:
    """The register of live sessions; touched by the event loop only."""

    def __init__(self) -> None:
        self._by_node: dict[str, LiveSession] = {}

    def enter(self, session: LiveSession) -> None:
        """A newer session of a node closes the older one."""
        older = self._by_node.get(session.node_id)
        if older is not None:
            older.close()
        self._by_node[session.node_id] = session

    def leave(self, session: LiveSession) -> None:
        if self._by_node.get(session.node_id) is session:
            del self._by_node[session.node_id]

    def wake(self, node_id: str) -> None:
        """Orders wait for this node."""
        session = self._by_node.get(node_id)
        if session is not None:
            session.orders_wait.set()

    def close_all(self) -> None:
        for session in list(self._by_node.values()):
            session.close()
