"""Outputs on their way from an agent to the operator who asked: piped through, never stored."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from heliotrope.foundation.errors import DeadlineExceeded, Denied, by_name
from heliotrope.v1 import fleet_pb2 as pb

from ..managers.world import new_id

# Pieces of at most 1 MiB wait here when the operator reads more slowly than the agent sends.
PIECES_WAITING = 8
ANSWER_TIMEOUT_S = 60.0


@dataclass
class Relay:
    """One fetch."""

    relay_id: str
    node_id: str
    pieces: asyncio.Queue[bytes | Exception | None] = field(
        default_factory=lambda: asyncio.Queue(maxsize=PIECES_WAITING)
    )
    taken: bool = False


class Relays:
    """The open fetches."""

    def __init__(self) -> None:
        self._open: dict[str, Relay] = {}

    def open(self, node_id: str) -> Relay:
        relay = Relay(new_id("r"), node_id)
        self._open[relay.relay_id] = relay
        return relay

    def close(self, relay: Relay) -> None:
        self._open.pop(relay.relay_id, None)

    async def read(self, relay: Relay) -> AsyncIterator[bytes]:
        """The pieces as they come. Raises what the agent says went wrong, DeadlineExceeded if it says nothing."""
        while True:
            try:
                piece = await asyncio.wait_for(relay.pieces.get(), ANSWER_TIMEOUT_S)
            except TimeoutError as error:
                raise DeadlineExceeded(
                    f"cannot fetch from node {relay.node_id}: nothing came for {ANSWER_TIMEOUT_S:.0f} s; try again"
                ) from error
            if piece is None:
                return
            if isinstance(piece, Exception):
                raise piece
            yield piece

    async def feed(self, node_id: str, requests: AsyncIterator[pb.RelayOutputsRequest]) -> None:
        """An agent's answer. Raises Denied unless this node was asked for this relay, once."""
        relay: Relay | None = None
        async for request in requests:
            if relay is None:
                relay = self._open.get(request.relay_id)
                if relay is None or relay.node_id != node_id or relay.taken:
                    raise Denied(f"cannot relay outputs: node {node_id} was not asked for {request.relay_id!r}")
                relay.taken = True
            if request.HasField("error"):
                await relay.pieces.put(by_name(request.error.kind)(request.error.message))
                return
            if request.data:
                await relay.pieces.put(request.data)
        if relay is not None:
            await relay.pieces.put(None)
