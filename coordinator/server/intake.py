"""What an agent's messages change, one method per kind; each is acknowledged after it is committed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from heliotrope.foundation import wire
from heliotrope.foundation.errors import InvalidInput
from heliotrope.foundation.model import CommandResult, JobReport, LogPiece, PowerCap, PowerCapEvent
from heliotrope.v1 import common_pb2
from heliotrope.v1 import fleet_pb2 as pb

from ..engine import Engine
from ..logstore import LogStore
from ..managers.jobs import JobManager
from ..managers.ledger import LedgerManager
from ..managers.nodes import NodeManager
from ..managers.powercaps import PowerCapManager
from ..managers.replication import ReplicationManager
from ..managers.saga import Saga
from ..managers.telemetry import EnergyBatch
from ..managers.world import Transferring, World
from ..state.database import Transaction
from ..state.model import replace
from ..state.order_model import CapPower, CommandState, UncapPower
from .sessions import LiveSession


class Intake:
    """Takes messages of live sessions into the state."""

    def __init__(
        self,
        *,
        world: World,
        engine: Engine,
        saga: Saga,
        jobs: JobManager,
        nodes: NodeManager,
        ledger: LedgerManager,
        caps: PowerCapManager,
        replication: ReplicationManager,
        logs: LogStore,
    ) -> None:
        self._world = world
        self._engine = engine
        self._saga = saga
        self._jobs = jobs
        self._nodes = nodes
        self._ledger = ledger
        self._caps = caps
        self._replication = replication
        self._logs = logs
        self._handlers: dict[str, Callable[[LiveSession, Any], Awaitable[None]]] = {
            "heartbeat": self._on_heartbeat,
            "job_report": self._on_job_report,
            "command_result": self._on_command_result,
            "energy_batch": self._on_energy_batch,
            "log_piece": self._on_log_piece,
            "pull_progress": self._on_pull_progress,
            "power_cap_event": self._on_power_cap_event,
        }

    async def take(self, session: LiveSession, kind: str, message: Any) -> None:
        """Returns once the change is committed and its answer queued. Raises InvalidInput for a second hello."""
        handler = self._handlers.get(kind)
        if handler is None:
            raise InvalidInput(f"field kind: node {session.node_id} sent {kind} in the middle of a session")
        begun_s = self._world.clock.monotonic_s()
        await handler(session, message)
        self._world.meters.message_taken(kind, self._world.clock.monotonic_s() - begun_s)

    async def _on_heartbeat(self, session: LiveSession, message: pb.Heartbeat) -> None:
        leases = [(lease.job_id, lease.epoch) for lease in message.leases]
        caps = tuple(wire.from_message(cap, PowerCap) for cap in message.power_caps)

        def change(tx: Transaction) -> Any:
            present = self._world.present.get(session.node_id)
            if present is not None:
                present.power_w = message.power_w if message.HasField("power_w") else None
                present.power_estimated = message.power_estimated
                present.job_power_w = dict(message.job_power_w)
                present.disk_free_bytes = message.disk_free_bytes
                present.power_caps = caps
                present.heard_utc = self._world.utc()
            return *self._nodes.grant(tx, session.node_id, leases), tx.marks.handover_count()

        granted, refused, handover_count = await self._engine.run(change, ensure=False)
        grant = pb.LeaseGrant(
            heartbeat_id=message.heartbeat_id,
            granted=[pb.Lease(job_id=job_id, epoch=epoch) for job_id, epoch in granted],
            refused=[pb.Lease(job_id=job_id, epoch=epoch) for job_id, epoch in refused],
            handover_count=handover_count,
        )
        session.send(pb.CoordinatorMessage(lease_grant=grant))

    async def _on_job_report(self, session: LiveSession, message: pb.JobReport) -> None:
        report = wire.from_message(message, JobReport)
        await self._engine.run(lambda tx: self._jobs.on_report(tx, session.node_id, report))

    async def _on_command_result(self, session: LiveSession, message: pb.CommandResult) -> None:
        result = wire.from_message(message, CommandResult)

        def change(tx: Transaction) -> None:
            command = tx.commands.find(result.command_id)
            if command is None or command.node_id != session.node_id:
                return
            if command.state is CommandState.CANCELLED:
                self._replication.on_late_result(tx, command, result)
            if command.state is not CommandState.OPEN:
                return
            tx.commands.close(replace(command, state=CommandState.DONE, result=result))
            round_trip_s = (self._world.utc() - command.created_utc).total_seconds()
            outcome = result.error.kind if result.error else "done"
            done = partial(self._world.meters.command_done, type(command.order).__name__, outcome, round_trip_s)
            tx.after_commit(done)
            if isinstance(command.order, CapPower | UncapPower):
                self._caps.on_result(tx, command, result)
            elif command.migration_id:
                self._saga.on_result(tx, command, result)
            elif not self._replication.on_result(tx, command, result):
                self._jobs.on_result(tx, command, result)

        await self._engine.run(change)
        acknowledgement = pb.Acknowledgement(command_id=result.command_id)
        session.send(pb.CoordinatorMessage(acknowledgement=acknowledgement))

    async def _on_power_cap_event(self, session: LiveSession, message: common_pb2.PowerCapEvent) -> None:
        event = wire.from_message(message, PowerCapEvent)
        await self._engine.run(lambda tx: self._caps.on_event(tx, session.node_id, event), ensure=False)
        acknowledgement = pb.Acknowledgement(power_cap_event_id=event.event_id)
        session.send(pb.CoordinatorMessage(acknowledgement=acknowledgement))

    async def _on_energy_batch(self, session: LiveSession, message: pb.EnergyBatch) -> None:
        batch = wire.from_message(message, EnergyBatch)
        position = await self._engine.run(lambda tx: self._ledger.on_batch(tx, session.node_id, batch), ensure=False)
        acknowledgement = pb.Acknowledgement(spool_sequence=position)
        session.send(pb.CoordinatorMessage(acknowledgement=acknowledgement))

    async def _on_log_piece(self, session: LiveSession, message: pb.LogPiece) -> None:
        known = await self._engine.run(lambda tx: tx.jobs.run(message.job_id, message.epoch), ensure=False)
        if known is None or known.node_id != session.node_id:
            return  # an agent speaks only for the runs it holds or held
        position = self._logs.append(wire.from_message(message, LogPiece))
        place = pb.LogPosition(
            job_id=message.job_id,
            epoch=message.epoch,
            attempt=message.attempt,
            stream=message.stream,
            bytes=position,
        )
        session.send(pb.CoordinatorMessage(acknowledgement=pb.Acknowledgement(log_position=place)))

    async def _on_pull_progress(self, session: LiveSession, message: pb.PullProgress) -> None:
        progress = Transferring(message.done_bytes, message.total_bytes, message.rate_bytes_per_s, message.left_s)

        if not message.migration_id:
            return  # a replica's: nobody watches it

        def change(_tx: Transaction) -> None:
            self._world.transferring[message.migration_id] = progress

        await self._engine.run(change, ensure=False)
        self._world.changed()
