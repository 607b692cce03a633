"""The hello: versions are negotiated, a wrong site or clock is named, and the node's record is made."""

from __future__ import annotations

from datetime import datetime, timedelta

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from heliotrope.foundation.errors import Incompatible, InvalidInput
from heliotrope.foundation.model import Inventory, JobReport, Record, Versions
from heliotrope.v1 import common_pb2
from heliotrope.v1 import fleet_pb2 as pb

from ..managers.world import Boot, World
from ..state.model import Node

PROTOCOL_VERSIONS = (1,)


class Hello(Record):
    """The message of this name, without the reports."""

    site: str
    versions: Versions = Versions()
    boot_id: str = ""
    instance_id: str = ""
    inventory: Inventory = Inventory()
    spool_id: str = ""
    spool_acknowledged: int = 0
    utc: datetime | None = None
    handover_count: int = 0
    boottime_s: float | None = None


def check(world: World, node_id: str, hello: Hello) -> tuple[Node, common_pb2.Versions]:
    """The node's record and the versions to speak. Raises Incompatible or InvalidInput naming the field."""
    shared = set(PROTOCOL_VERSIONS) & set(hello.versions.protocol)
    if not shared:
        raise Incompatible(
            f"cannot accept node {node_id}: it speaks protocol {list(hello.versions.protocol)}, this coordinator "
            f"{list(PROTOCOL_VERSIONS)}; upgrade the older side ({hello.versions.software or 'unnamed version'})"
        )
    if hello.site not in world.sites:
        known = ", ".join(sorted(world.sites))
        raise InvalidInput(
            f"field site: node {node_id} says it is at {hello.site!r}; the coordinator's configuration knows {known}"
        )
    now = world.utc()
    skew_s = (hello.utc - now).total_seconds() if hello.utc else 0.0
    node = Node(
        node_id=node_id,
        site=hello.site,
        inventory=hello.inventory,
        software=hello.versions.software,
        boot_id=hello.boot_id,
        instance_id=hello.instance_id,
        last_seen_utc=now,
        clock_skew_s=skew_s,
        frame_version=max(hello.versions.frame, default=0),
    )
    chosen = common_pb2.Versions(protocol=[max(shared)], frame=hello.versions.frame[:1], codec=hello.versions.codec[:1])
    return node, chosen


def welcome(
    world: World, chosen: common_pb2.Versions, certificate_pem: bytes, position: int, handover_count: int
) -> pb.Welcome:
    """What the agent needs before it can begin."""
    interval = Duration()
    interval.FromNanoseconds(round(world.config.heartbeat_interval_s * 1e9))
    utc = Timestamp()
    utc.FromDatetime(world.utc())
    return pb.Welcome(
        chosen=chosen,
        heartbeat_interval=interval,
        coordinator_certificate_pem=certificate_pem,
        spool_acknowledged=position,
        utc=utc,
        handover_count=handover_count,
    )


def boot(world: World, hello: Hello) -> Boot | None:
    """When the node was booted; None from an agent that does not say how long ago that is."""
    if hello.boottime_s is None or not hello.boot_id:
        return None
    return Boot(hello.boot_id, world.utc() - timedelta(seconds=hello.boottime_s))


def summary(node: Node, reports: tuple[JobReport, ...]) -> tuple[str, str, int, float]:
    """What the log says of a hello."""
    return node.node_id, node.site, len(reports), node.clock_skew_s
