"""Orders as messages."""

from __future__ import annotations

from datetime import datetime

from google.protobuf.message import Message

from heliotrope.foundation import wire
from heliotrope.v1 import fleet_pb2 as pb

from ..state import order_model
from ..state.order_model import Command, Order


def to_wire(command: Command, utc: datetime) -> pb.Command:
    """The message of an order, sent at ``utc``."""
    message: pb.Command = wire.to_message(command, pb.Command)
    order = command.order
    kind = str(order.__struct_config__.tag)
    body = getattr(message, kind)
    body.SetInParent()
    body.CopyFrom(_body(order, type(body)))
    if isinstance(order, order_model.CapPower):
        # What is left by one clock: the node's may be wrong, and the order may have waited for it.
        left_s = max(0.0, (order.expires_utc - utc).total_seconds())
        body.lifetime.FromNanoseconds(round(left_s * 1e9))
    return message


def _body(order: Order, kind: type[Message]) -> Message:
    body: Message = wire.to_message(order, kind)
    for start, target in _starts(order, body):
        target.bundle.digest = start.bundle_digest
        target.bundle.size_bytes = start.bundle_bytes
    return body


def _starts(order: Order, body: Message) -> list[tuple[order_model.Start | order_model.Prepare, pb.Start | pb.Prepare]]:
    """The parts that carry a bundle, beside their messages."""
    if isinstance(order, order_model.Start | order_model.Prepare):
        assert isinstance(body, pb.Start | pb.Prepare)
        return [(order, body)]
    if isinstance(order, order_model.Resume):
        assert isinstance(body, pb.Resume)
        return [(order.start, body.start)]
    return []
