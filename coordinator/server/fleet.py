"""FleetService: the agents' side. The walk through a session is told in fleet.proto."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

import grpc.aio

from heliotrope.foundation import tls, wire
from heliotrope.foundation.errors import HeliotropeError, InvalidInput
from heliotrope.foundation.model import JobReport
from heliotrope.v1 import fleet_pb2 as pb
from heliotrope.v1 import fleet_pb2_grpc

from ..bundles import BundleStore
from ..engine import Engine
from ..managers.jobs import JobManager
from ..managers.nodes import NodeManager
from ..managers.world import World, new_id
from ..state.database import Transaction
from . import hello as greeting
from .commands import to_wire
from .intake import Intake
from .relays import Relays
from .sessions import LiveSession, Sessions
from .warden import Warden

log = logging.getLogger("heliotrope.coordinator.fleet")

PIECE_BYTES = 1024**2
# As the agents count (agent/session.py): a busy machine may miss a heartbeat or two.
SILENT_INTERVALS = 4
SILENT_LEAST_S = 6.0

Context = grpc.aio.ServicerContext[Any, Any]


class FleetServicer(fleet_pb2_grpc.FleetServiceServicer):
    """Sessions of agents, their jobs' files and outputs."""

    def __init__(
        self,
        *,
        world: World,
        engine: Engine,
        sessions: Sessions,
        jobs: JobManager,
        nodes: NodeManager,
        intake: Intake,
        bundles: BundleStore,
        relays: Relays,
        warden: Warden,
    ) -> None:
        self._world = world
        self._engine = engine
        self._sessions = sessions
        self._jobs = jobs
        self._nodes = nodes
        self._intake = intake
        self._bundles = bundles
        self._relays = relays
        self._warden = warden

    async def Session(
        self, request_iterator: AsyncIterator[pb.AgentMessage], context: Context
    ) -> AsyncIterator[pb.CoordinatorMessage]:
        node_id = tls.peer_name_from_context(context).id
        first = await anext(aiter(request_iterator), None)
        if first is None or first.WhichOneof("kind") != "hello":
            raise InvalidInput("field kind: the first message of a session must be hello")
        hello = wire.from_message(first.hello, greeting.Hello)
        node, chosen = greeting.check(self._world, node_id, hello)
        session = LiveSession(
            node_id=node_id,
            session_id=new_id("s"),
            instance_id=hello.instance_id,
            hostname=hello.inventory.hostname,
        )
        await self._sessions.make_way(session)
        reports = tuple(wire.from_message(report, JobReport) for report in first.hello.jobs)

        def enter(tx: Transaction) -> tuple[int, int]:
            self._nodes.on_hello(tx, node, session.session_id, hello.handover_count)
            self._jobs.on_hello(tx, node_id, reports)
            boot = greeting.boot(self._world, hello)
            if boot is not None:
                self._world.boots[node_id] = boot
            return tx.open_energy.mark(node_id, hello.spool_id).sequence, tx.marks.handover_count()

        tasks: list[asyncio.Task[None]] = []
        try:  # from here on: the call may be ended at any point, and the register must learn of it
            position, handover_count = await self._engine.run(enter)
            self._sessions.enter(session)
            log.info("node %s connected from site %s, %d jobs, clock skew %.3f s", *greeting.summary(node, reports))
            welcome = greeting.welcome(self._world, chosen, self._warden.certificate_pem, position, handover_count)
            session.send(pb.CoordinatorMessage(welcome=welcome))
            session.send(self._warden.trust())
            tasks.append(asyncio.create_task(self._read(session, request_iterator)))
            tasks.append(asyncio.create_task(self._send_orders(session)))
            tasks.append(asyncio.create_task(self._notice_silence(session)))
            while (message := await session.outgoing.get()) is not None:
                yield message
        finally:
            for task in tasks:
                task.cancel()
            self._sessions.leave(session)
            # Shielded: the end of the stream cancels this generator, and the register must still learn of it.
            gone = self._engine.run(lambda tx: self._nodes.on_gone(tx, node_id, session.session_id))
            await asyncio.shield(gone)
            log.info("node %s disconnected", node_id)

    async def _read(self, session: LiveSession, requests: AsyncIterator[pb.AgentMessage]) -> None:
        """Messages in the order they came; the stream's end, or an error, ends the session."""
        try:
            async for message in requests:
                session.heard.set()
                kind = message.WhichOneof("kind")
                if kind is None:
                    continue  # a kind of a newer protocol: N-1 must go on working
                await self._intake.take(session, kind, getattr(message, kind))
        except (HeliotropeError, grpc.aio.AioRpcError) as error:
            log.error("session of node %s: %s", session.node_id, error)
        except Exception:
            log.exception("session of node %s failed", session.node_id)
        finally:
            session.close()

    async def _notice_silence(self, session: LiveSession) -> None:
        """A cut may leave the connection open at this end alone: a node that sends no heartbeats has no session."""
        limit_s = max(SILENT_INTERVALS * self._world.config.heartbeat_interval_s, SILENT_LEAST_S)
        while True:
            session.heard.clear()
            try:
                await asyncio.wait_for(session.heard.wait(), limit_s)
            except TimeoutError:
                log.warning("session of node %s: nothing came for %.0f s; it is closed", session.node_id, limit_s)
                session.close()
                return

    async def _send_orders(self, session: LiveSession) -> None:
        """Every open order once per stream, in the order of writing; then whenever new ones are committed."""
        session.orders_wait.set()
        while True:
            await session.orders_wait.wait()
            session.orders_wait.clear()
            orders = await self._engine.run(lambda tx: tx.commands.open_for(session.node_id), ensure=False)
            for order in orders:
                if order.command_id not in session.sent:
                    session.sent.add(order.command_id)
                    session.send(pb.CoordinatorMessage(command=to_wire(order, self._world.utc())))

    async def FetchBundle(
        self, request: pb.FetchBundleRequest, context: Context
    ) -> AsyncIterator[pb.FetchBundleResponse]:
        job = await self._engine.run(lambda tx: tx.jobs.get(request.job_id), ensure=False)
        with self._bundles.path(job.bundle_digest).open("rb") as file:
            while data := await asyncio.to_thread(file.read, PIECE_BYTES):
                yield pb.FetchBundleResponse(data=data)

    async def RelayOutputs(
        self, request_iterator: AsyncIterator[pb.RelayOutputsRequest], context: Context
    ) -> pb.RelayOutputsResponse:
        node_id = tls.peer_name_from_context(context).id
        await self._relays.feed(node_id, request_iterator)
        return pb.RelayOutputsResponse()
