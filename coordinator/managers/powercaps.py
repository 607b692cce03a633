"""Power caps: orders to nodes, and the audit of what came of them. The agent keeps the caps; nothing here ends one."""

from __future__ import annotations

import logging
import math
from datetime import timedelta
from functools import partial

import msgspec

from heliotrope.foundation.errors import DeadlineExceeded, InvalidInput, Unreachable
from heliotrope.foundation.model import CommandResult, Fault, PowerCap, PowerCapEvent, PowerCapEventKind, Record

from ..state.database import Transaction
from ..state.order_model import CapPower, Command, UncapPower
from .world import World, new_id

log = logging.getLogger("heliotrope.coordinator.powercaps")

LIFETIME_LIMIT_S = 7 * 86_400.0  # a lease that nobody renews for a week is a setting: make it one on the node
Kind = PowerCapEventKind
_ANSWERS = (Kind.SET, Kind.REFUSED, Kind.RELEASED)


class CapRequest(Record):
    """What an operator asks for. ``device`` "" is every GPU."""

    node_id: str
    device: str
    limit_w: float
    lifetime_s: float
    message: str = ""


class PowerCapManager:
    """Writes orders and their audit in one transaction."""

    def __init__(self, world: World) -> None:
        self._world = world

    def cap(self, tx: Transaction, request: CapRequest, operator: str) -> str:
        """Order a cap; its id. Raises InvalidInput naming the field, NotFound, Unreachable for a node that is away."""
        if not (math.isfinite(request.limit_w) and request.limit_w > 0):
            raise InvalidInput(f"field limit_w: {request.limit_w} is no power; give watts above 0")
        if not 1 <= request.lifetime_s <= LIFETIME_LIMIT_S:
            raise InvalidInput(
                f"field lifetime: {request.lifetime_s:g} s is not from 1 s to {LIFETIME_LIMIT_S / 86_400:g} days; "
                "order a cap that is to last longer again before its end"
            )
        self._check_present(tx, request.node_id)
        order = CapPower(
            cap_id=new_id("p"),
            device=request.device,
            limit_w=request.limit_w,
            expires_utc=self._world.utc() + timedelta(seconds=request.lifetime_s),
            operator=operator,
            message=request.message,
        )
        self._send(tx, request.node_id, order)
        return order.cap_id

    def uncap(self, tx: Transaction, node_id: str, device: str, message: str, operator: str) -> str:
        """Order the end of caps; the order's id. Raises NotFound, Unreachable."""
        self._check_present(tx, node_id)
        order = UncapPower(cap_id=new_id("p"), device=device, operator=operator, message=message)
        self._send(tx, node_id, order)
        return order.cap_id

    def answer(self, tx: Transaction, cap_id: str) -> list[PowerCapEvent]:
        """What the node answered to an order; empty while it has not."""
        return [event for event in tx.power_caps.of_cap(cap_id) if event.kind in _ANSWERS]

    def on_result(self, tx: Transaction, command: Command, result: CommandResult) -> None:
        """An order was done or refused."""
        order = command.order
        assert isinstance(order, CapPower | UncapPower)
        if result.error is not None:
            self._note(tx, command.node_id, order, Kind.REFUSED, message=result.error.message, error=result.error)
        elif isinstance(order, CapPower):
            for cap in result.power_caps:
                self._note(tx, command.node_id, order, Kind.SET, cap=cap, message=order.message)
        else:
            for cap in result.power_caps:
                was = msgspec.structs.replace(cap, previous_w=cap.requested_w)
                self._note(tx, command.node_id, order, Kind.RELEASED, cap=was, message=f"{cap.cap_id} ended")
            if not result.power_caps:
                self._note(tx, command.node_id, order, Kind.RELEASED, message="there was no cap to end")
        tx.commands.prune("")  # done orders of no job: the audit has them
        tx.after_commit(self._world.changed)

    def on_event(self, tx: Transaction, node_id: str, event: PowerCapEvent) -> None:
        """What a node says of its caps by itself. Who speaks, the session says."""
        event = event.of_node(node_id)
        log.info("node %s: power cap %s of %s: %s", node_id, event.cap_id, event.device, event.kind)
        tx.power_caps.add(event)
        tx.after_commit(self._world.changed)

    def ensure(self, tx: Transaction) -> bool:
        """An order whose time is over before its node took it is withdrawn: it must not begin late."""
        for command in tx.commands.open_of_job(""):
            order = command.order
            if isinstance(order, CapPower) and order.expires_utc <= self._world.utc():
                tx.commands.cancel(command.command_id)
                text = f"node {command.node_id} did not take the order before its time was over"
                error = Fault(kind=DeadlineExceeded.__name__, message=text)
                self._note(tx, command.node_id, order, Kind.REFUSED, message=text, error=error)
                tx.after_commit(self._world.changed)
        return False

    def _check_present(self, tx: Transaction, node_id: str) -> None:
        node = tx.nodes.get(node_id)
        if node.node_id not in self._world.present:
            raise Unreachable(
                f"cannot change power caps of node {node_id}: it is not connected; what caps it has end "
                "there by themselves"
            )

    def _send(self, tx: Transaction, node_id: str, order: CapPower | UncapPower) -> None:
        kind = Kind.ORDERED if isinstance(order, CapPower) else Kind.RELEASE_ORDERED
        self._note(tx, node_id, order, kind, message=order.message)
        command = Command(
            command_id=new_id("c"), node_id=node_id, job_id="", epoch=0, order=order, created_utc=self._world.utc()
        )
        tx.commands.add(command)
        tx.after_commit(partial(self._world.wake, node_id))

    def _note(
        self,
        tx: Transaction,
        node_id: str,
        order: CapPower | UncapPower,
        kind: PowerCapEventKind,
        *,
        cap: PowerCap | None = None,
        message: str = "",
        error: Fault | None = None,
    ) -> None:
        device = cap.device if cap is not None else order.device
        requested_w = order.limit_w if isinstance(order, CapPower) else None
        expires_utc = order.expires_utc if isinstance(order, CapPower) else None
        log.info("node %s: power cap %s by %s: %s %s", node_id, order.cap_id, order.operator, kind, message)
        tx.power_caps.add(
            PowerCapEvent(
                event_id=f"{order.cap_id}.{kind.lower()}.{device}",
                cap_id=order.cap_id,
                device=device,
                kind=kind,
                utc=self._world.utc(),
                requested_w=requested_w,
                found_w=cap.previous_w if cap is not None else None,
                limit_w=cap.limit_w if cap is not None else None,
                enforced_w=cap.enforced_w if cap is not None else None,
                expires_utc=cap.expires_utc if cap is not None and requested_w is not None else expires_utc,
                operator=order.operator,
                message=message,
                error=error,
                node_id=node_id,
            )
        )
