"""Nodes and what the links between their sites were seen to carry."""

from __future__ import annotations

from sqlalchemy import Connection, insert, select

from heliotrope.foundation.errors import NotFound

from . import schema
from .model import LinkSample, Node
from .rows import decode, encode, moment, upsert


class Nodes:
    """The nodes' repository."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def put(self, node: Node) -> None:
        upsert(self._connection, schema.nodes, {"node_id": node.node_id, "record": encode(node)})

    def find(self, node_id: str) -> Node | None:
        query = select(schema.nodes.c.record).where(schema.nodes.c.node_id == node_id)
        found = self._connection.execute(query).scalar()
        return None if found is None else decode(found, Node)

    def get(self, node_id: str) -> Node:
        node = self.find(node_id)
        if node is None:
            raise NotFound(f"cannot find node {node_id!r}: no such node; `heliotrope node list` shows them")
        return node

    def all(self) -> list[Node]:
        query = select(schema.nodes.c.record).order_by(schema.nodes.c.node_id)
        return [decode(row, Node) for row in self._connection.execute(query).scalars()]

    def add_sample(self, sample: LinkSample) -> None:
        self._connection.execute(
            insert(schema.link_samples).values(
                source_site=sample.source_site,
                destination_site=sample.destination_site,
                utc=moment(sample.utc),
                bandwidth_bytes_per_s=sample.bandwidth_bytes_per_s,
                wire_bytes=sample.wire_bytes,
            )
        )

    def samples(self, source_site: str, destination_site: str, limit: int = 20) -> list[float]:
        """The newest bandwidths of a direction, in bytes per second, newest first."""
        table = schema.link_samples
        query = (
            select(table.c.bandwidth_bytes_per_s)
            .where(table.c.source_site == source_site, table.c.destination_site == destination_site)
            .order_by(table.c.sample_id.desc())
            .limit(limit)
        )
        return [float(value) for value in self._connection.execute(query).scalars()]
