"""Records as the operator's messages."""

from __future__ import annotations

import math

import msgspec
from google.protobuf.timestamp_pb2 import Timestamp

from heliotrope.foundation import wire
from heliotrope.foundation.identity import Name
from heliotrope.v1 import common_pb2
from heliotrope.v1 import operator_pb2 as pb

from ..managers.links import SAMPLES_NEEDED, link
from ..managers.world import World
from ..state.database import Transaction
from ..state.model import Job, Migration, Node, StoredDecision
from . import drains, feedviews, losses, waiting


class Views:
    """What operators see, built in the state thread from one transaction."""

    def __init__(self, world: World, name: Name) -> None:
        self._world = world
        self._name = name

    @property
    def fleet_name(self) -> str:
        return self._name.fleet

    def fleet(self, tx: Transaction) -> pb.Fleet:
        """The whole picture."""
        now = self._world.utc()
        forecast = next(iter(self._world.sites.values()), None)
        picture = pb.Fleet(
            fleet=self._name.fleet,
            trace_scale=self._world.config.trace.scale,
            sites=[self.site(tx, name) for name in sorted(self._world.sites)],
            nodes=[self.node(tx, node) for node in tx.nodes.all()],
            jobs=[self.job(tx, job, brief=True) for job in tx.jobs.all()],
            migrations=[self.migration(one) for one in tx.migrations.open()],
        )
        picture.utc.FromDatetime(now)
        picture.trace_utc.FromDatetime(forecast.clock.trace(now) if forecast else now)
        return picture

    def site(self, tx: Transaction, name: str) -> pb.Site:
        forecast = self._world.sites[name]
        config = forecast.config
        now = self._world.utc()
        window = config.window
        site = pb.Site(
            name=name,
            latitude_deg=config.latitude,
            longitude_deg=config.longitude,
            window_rule=msgspec.json.encode(window).decode(),
            pue_ratio=config.pue,
            links=[self._link(tx, name, other) for other in sorted(self._world.sites) if other != name],
        )
        intensity, renewable = forecast.intensity_now_g_per_kwh(now), forecast.renewable_ratio(now)
        if not math.isnan(intensity):
            site.intensity_g_per_kwh = intensity
        if not math.isnan(renewable):
            site.renewable_ratio = renewable
        remaining_s, next_s = forecast.window_remaining_s(now), forecast.next_window_in_s(now)
        if remaining_s > 0:
            site.window_remaining.FromMilliseconds(round(remaining_s * 1000))
        if next_s is not None:
            site.next_window_in.FromMilliseconds(round(next_s * 1000))
        feedviews.fill(site, forecast, now)
        return site

    def _link(self, tx: Transaction, source: str, destination: str) -> pb.LinkState:
        samples = len(tx.nodes.samples(source, destination))
        return pb.LinkState(
            destination_site=destination,
            bandwidth_bytes_per_s=link(tx, self._world.config, source, destination).bandwidth_bytes_per_s,
            bandwidth_source="learnt" if samples >= SAMPLES_NEEDED else "declared",
            sample_count=samples,
        )

    def node(self, tx: Transaction, node: Node) -> pb.Node:
        message: pb.Node = wire.to_message(node, pb.Node)
        inventory = node.inventory
        message.hostname = inventory.hostname
        message.slot_count = inventory.slot_count
        message.gpu_count = len(inventory.gpus)
        message.gpu_models.extend(sorted({gpu.model for gpu in inventory.gpus}))
        message.fingerprint_parts.update(inventory.fingerprint_parts)
        message.job_ids.extend(job.job_id for job in tx.jobs.on_node(node.node_id))
        drain = drains.status(self._world, tx, node)
        if drain is not None:
            message.drain.CopyFrom(drain)
        presence = self._world.present.get(node.node_id)
        message.connected = presence is not None
        message.disk_free_bytes = presence.disk_free_bytes if presence else inventory.disk_free_bytes
        if presence is not None:
            if presence.power_w is not None:
                message.power_w = presence.power_w
            message.power_estimated = presence.power_estimated
            message.last_seen.FromDatetime(self._world.utc())
            message.power_caps.extend(wire.to_message(cap, common_pb2.PowerCap) for cap in presence.power_caps)
        return message

    def job(self, tx: Transaction, job: Job, *, brief: bool = False) -> pb.Job:
        """``brief``: without the sites that were looked at for a waiting job."""
        message: pb.Job = wire.to_message(job, pb.Job)
        message.runs.extend(wire.to_message(run, pb.Run) for run in tx.jobs.runs(job.job_id))
        message.replicas.extend(wire.to_message(one, pb.Replica) for one in tx.replicas.of_job(job.job_id))
        message.staged_ahead.extend(wire.to_message(one, pb.StagedAhead) for one in tx.staged_ahead.of_job(job.job_id))
        message.losses.extend(losses.loss(self._world, tx, job, one) for one in tx.losses.of_job(job.job_id))
        copies = tx.jobs.copies(job.job_id)
        if copies:
            message.checkpoint.CopyFrom(wire.to_message(copies[0].checkpoint, type(message.checkpoint)))
        found = waiting.why(tx, job, brief=brief)
        if found is not None:
            message.waiting.CopyFrom(found)
        presence = self._world.present.get(job.node_id)
        if presence is not None and job.job_id in presence.job_power_w:
            message.power_w = presence.job_power_w[job.job_id]
        return message

    def migration(self, migration: Migration) -> pb.Migration:
        message: pb.Migration = wire.to_message(migration, pb.Migration)
        transfer = self._world.transferring.get(migration.migration_id)
        if transfer is not None and transfer.total_bytes:
            message.progress_ratio = transfer.done_bytes / transfer.total_bytes
            message.rate_bytes_per_s = transfer.rate_bytes_per_s
            if math.isfinite(transfer.left_s):
                message.left.FromMilliseconds(round(transfer.left_s * 1000))
        return message

    @staticmethod
    def decision(decision: StoredDecision) -> pb.Decision:
        message: pb.Decision = wire.to_message(decision, pb.Decision)
        return message

    def decision_and_outcome(self, tx: Transaction, decision: StoredDecision) -> pb.Decision:
        """With what its migration took, once that has ended."""
        message = self.decision(decision)
        for one in tx.migrations.all(job_id=decision.job_id):
            if one.decision_id == decision.decision_id and one.step.ended:
                message.realised.CopyFrom(_realised(one))
        return message


def _realised(migration: Migration) -> pb.Realised:
    realised = pb.Realised(
        migration_id=migration.migration_id,
        step=migration.step.value,
        wire_bytes=migration.wire_bytes,
        standstill_wire_bytes=migration.standstill_wire_bytes,
    )
    if migration.standstill_s is not None:
        realised.standstill.FromNanoseconds(round(migration.standstill_s * 1e9))
    expected = migration.expected
    if expected is not None:
        realised.expected_standstill.FromNanoseconds(round(expected.standstill_s * 1e9))
        realised.expected_wire_bytes = expected.wire_bytes
        realised.expected_standstill_wire_bytes = expected.standstill_wire_bytes
    return realised


def moment(message: Timestamp) -> bool:
    """Whether a Timestamp was given at all."""
    return bool(message.seconds or message.nanos)
