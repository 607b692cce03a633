"""The operators' calls about power caps: order, then wait for what the node answers."""

from __future__ import annotations

import asyncio

from heliotrope.foundation import errors, wire
from heliotrope.foundation.errors import DeadlineExceeded
from heliotrope.foundation.model import PowerCapEvent
from heliotrope.v1 import common_pb2
from heliotrope.v1 import operator_pb2 as pb

from ..engine import Engine
from ..managers.powercaps import CapRequest, PowerCapManager
from ..state.database import Transaction
from .changes import Changes

ANSWER_S = 25.0  # the command line's own deadline is a little later
_LOOK_S = 0.5
LIST_LIMIT = 100


class PowerCapDesk:
    """Its three calls, less who may make them and whether they were made before."""

    def __init__(self, engine: Engine, manager: PowerCapManager, changes: Changes) -> None:
        self._engine = engine
        self._manager = manager
        self._changes = changes

    def cap(self, tx: Transaction, request: pb.CapNodeRequest, operator: str) -> str:
        """Write the order; its id."""
        return self._manager.cap(tx, wire.from_message(request, CapRequest), operator)

    def uncap(self, tx: Transaction, request: pb.UncapNodeRequest, operator: str) -> str:
        """Write the order; its id."""
        return self._manager.uncap(tx, request.node_id, request.device, request.message, operator)

    async def answer(self, cap_id: str) -> pb.PowerCapEventList:
        """Wait for it. Raises what the node refused with, and DeadlineExceeded when it says nothing."""
        try:
            async with asyncio.timeout(ANSWER_S):
                while not (events := await self._engine.run(lambda tx: self._manager.answer(tx, cap_id), ensure=False)):
                    await self._changes.wait(timeout_s=_LOOK_S)
        except TimeoutError as error:
            raise DeadlineExceeded(
                f"cannot say what came of order {cap_id}: the node has not answered in {ANSWER_S:.0f} s; the order "
                "stands, see: heliotrope node caps"
            ) from error
        for event in events:
            if event.error is not None:
                raise errors.by_name(event.error.kind)(event.error.message)
        return listed(events)

    async def list(self, request: pb.ListPowerCapEventsRequest) -> pb.PowerCapEventList:
        """The audit, newest first."""

        def read(tx: Transaction) -> list[PowerCapEvent]:
            if request.node_id:
                tx.nodes.get(request.node_id)
            return tx.power_caps.latest(node_id=request.node_id, limit=request.limit_count or LIST_LIMIT)

        return listed(await self._engine.run(read, ensure=False))


def listed(events: list[PowerCapEvent]) -> pb.PowerCapEventList:
    return pb.PowerCapEventList(events=[wire.to_message(event, common_pb2.PowerCapEvent) for event in events])
