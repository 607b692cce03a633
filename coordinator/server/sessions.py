"""Live sessions: which node is connected, and its queue of messages to send."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from heliotrope.foundation.errors import Denied
from heliotrope.v1 import fleet_pb2 as pb

# A session that does not drain its queue is broken: it is closed rather than grown.
QUEUE_LIMIT = 10_000
PROBE_S = 5.0  # how long an older session may take to show that it is alive: slow links answer in this time


@dataclass
class LiveSession:
    """One agent's stream."""

    node_id: str
    session_id: str
    instance_id: str
    hostname: str
    outgoing: asyncio.Queue[pb.CoordinatorMessage | None] = field(
        default_factory=lambda: asyncio.Queue(maxsize=QUEUE_LIMIT)
    )
    sent: set[str] = field(default_factory=set)  # orders sent on this stream: at least once, not again and again
    orders_wait: asyncio.Event = field(default_factory=asyncio.Event)
    heard: asyncio.Event = field(default_factory=asyncio.Event)  # set by whatever comes from the agent
    closed: asyncio.Event = field(default_factory=asyncio.Event)

    def send(self, message: pb.CoordinatorMessage) -> None:
        try:
            self.outgoing.put_nowait(message)
        except asyncio.QueueFull:
            self.close()

    async def answers(self, timeout_s: float) -> bool:
        """Whether the agent at the other end is alive: it is asked, and anything that it says is an answer."""
        self.heard.clear()
        self.send(pb.CoordinatorMessage(probe=pb.Probe()))
        heard, closed = (asyncio.create_task(event.wait()) for event in (self.heard, self.closed))
        try:
            done, _ = await asyncio.wait((heard, closed), timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (heard, closed):
                task.cancel()
        # Not the event itself: whoever watches for silence clears it at once.
        return heard in done and not self.closed.is_set()

    def close(self) -> None:
        self.closed.set()
        while self.outgoing.full():
            self.outgoing.get_nowait()
        self.outgoing.put_nowait(None)


class Sessions:
    """The register of live sessions; touched by the event loop only."""

    def __init__(self) -> None:
        self._by_node: dict[str, LiveSession] = {}

    def __len__(self) -> int:
        """Open sessions; from any thread."""
        return len(self._by_node)

    async def make_way(self, newer: LiveSession) -> None:
        """Raises Denied, naming both hosts, if another live machine already is this node.

        An agent process that comes back replaces its own older session at once. One of another process (restarted, or
        on a copy of the node's disk) waits until the older one has not answered: of a process that died that is known
        as soon as its connection breaks, of a machine that vanished after PROBE_S.
        """
        older = self._by_node.get(newer.node_id)
        if older is None or (older.instance_id == newer.instance_id and newer.instance_id):
            return
        if await older.answers(PROBE_S):
            raise Denied(
                f"cannot accept node {newer.node_id} from host {newer.hostname or 'unnamed'}: host "
                f"{older.hostname or 'unnamed'} is connected as this node and answers; stop one of the two agents, or "
                "join this machine under a name of its own: heliotrope ca join-token"
            )

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

    def broadcast(self, message: pb.CoordinatorMessage) -> None:
        for session in list(self._by_node.values()):
            session.send(message)

    def close_all(self) -> None:
        for session in list(self._by_node.values()):
            session.close()
