"""OperatorService: what people and programs ask of the fleet."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any, TypeVar

import grpc.aio

from heliotrope.foundation import jobspec, tls, wire
from heliotrope.foundation.errors import Conflict, InvalidInput, NotFound, Unreachable
from heliotrope.foundation.jobspec import JobSpec
from heliotrope.foundation.model import JobState, MigrationKind
from heliotrope.v1 import operator_pb2 as pb
from heliotrope.v1 import operator_pb2_grpc

from ..bundles import BundleStore
from ..engine import Engine
from ..logstore import LogStore
from ..managers import orders
from ..managers.drains import DrainManager
from ..managers.nodes import NodeManager
from ..managers.saga import Saga
from ..managers.world import World, new_id
from ..state import order_model
from ..state.database import Transaction
from ..state.model import Job, Node, Wanted, replace
from . import drains, reports
from .changes import Changes
from .ledger_export import LedgerExport
from .logs import follow
from .powercaps import PowerCapDesk
from .relays import Relays
from .views import Views, moment

Context = grpc.aio.ServicerContext[Any, Any]

LIST_LIMIT = 100
DIGEST_BYTES = 32
SITE_LISTS = ("allowed", "preferred", "forbidden")
A = TypeVar("A")


class OperatorServicer(operator_pb2_grpc.OperatorServiceServicer):
    """The operators' side; roles are checked around it (:mod:`.guard`)."""

    def __init__(
        self,
        *,
        world: World,
        engine: Engine,
        saga: Saga,
        drains: DrainManager,
        nodes: NodeManager,
        views: Views,
        bundles: BundleStore,
        logs: LogStore,
        relays: Relays,
        changes: Changes,
        caps: PowerCapDesk,
        ledger: LedgerExport,
    ) -> None:
        self._world = world
        self._engine = engine
        self._saga = saga
        self._drains = drains
        self._nodes = nodes
        self._views = views
        self._bundles = bundles
        self._logs = logs
        self._relays = relays
        self._changes = changes
        self._caps = caps
        self._ledger = ledger

    # -- reading

    async def GetFleet(self, request: pb.GetFleetRequest, context: Context) -> pb.Fleet:
        return await self._engine.run(self._views.fleet, ensure=False)

    async def WatchFleet(self, request: pb.WatchFleetRequest, context: Context) -> AsyncIterator[pb.Fleet]:
        interval_s = max(request.interval.ToMilliseconds() / 1000, 0.1) if request.HasField("interval") else 1.0
        while True:
            yield await self._engine.run(self._views.fleet, ensure=False)
            await asyncio.sleep(interval_s)
            await self._changes.wait(timeout_s=max(interval_s, 1.0))

    async def GetJob(self, request: pb.GetJobRequest, context: Context) -> pb.Job:
        return await self._engine.run(lambda tx: self._views.job(tx, tx.jobs.resolve(request.job)), ensure=False)

    async def GetMigration(self, request: pb.GetMigrationRequest, context: Context) -> pb.Migration:
        return await self._engine.run(
            lambda tx: self._views.migration(tx.migrations.get(request.migration_id)), ensure=False
        )

    async def ListMigrations(self, request: pb.ListMigrationsRequest, context: Context) -> pb.MigrationList:
        def read(tx: Transaction) -> pb.MigrationList:
            job_id = tx.jobs.resolve(request.job).job_id if request.job else ""
            found = tx.migrations.all(job_id=job_id, limit=request.limit_count or LIST_LIMIT)
            return pb.MigrationList(migrations=[self._views.migration(one) for one in found])

        return await self._engine.run(read, ensure=False)

    async def GetDecision(self, request: pb.GetDecisionRequest, context: Context) -> pb.Decision:
        def read(tx: Transaction) -> pb.Decision:
            decision = tx.decisions.find(request.decision_id)
            if decision is None:
                decision = tx.decisions.latest(tx.jobs.resolve(request.decision_id).job_id)
            if decision is None:
                raise NotFound(f"cannot explain job {request.decision_id}: nothing was decided about it yet")
            return self._views.decision_and_outcome(tx, decision)

        return await self._engine.run(read, ensure=False)

    async def ListDecisions(self, request: pb.ListDecisionsRequest, context: Context) -> pb.DecisionList:
        def read(tx: Transaction) -> pb.DecisionList:
            job_id = tx.jobs.resolve(request.job).job_id if request.job else ""
            found = tx.decisions.all(job_id=job_id, limit=request.limit_count or LIST_LIMIT)
            return pb.DecisionList(decisions=[self._views.decision(one) for one in found])

        return await self._engine.run(read, ensure=False)

    async def GetReport(self, request: pb.GetReportRequest, context: Context) -> pb.Report:
        start = wire.timestamp_utc(request.start) if moment(request.start) else None
        end = wire.timestamp_utc(request.end) if moment(request.end) else None

        def read(tx: Transaction) -> pb.Report:
            job = tx.jobs.resolve(request.job) if request.job else None
            fleet, points = self._views.fleet_name, request.points
            return reports.report(self._world, tx, start=start, end=end, job=job, fleet=fleet, points=points)

        return await self._engine.read(read)

    async def ExportLedger(self, request: pb.ExportLedgerRequest, context: Context) -> AsyncIterator[pb.LedgerPiece]:
        async for piece in self._ledger.pieces(request.node_id):
            yield piece

    # -- jobs

    async def SubmitJob(self, request_iterator: AsyncIterator[pb.SubmitJobRequest], context: Context) -> pb.Job:
        requests = aiter(request_iterator)
        first = await anext(requests, None)
        if first is None or not first.HasField("header"):
            raise InvalidInput("field header: the first message of a submission must carry it")
        header = first.header
        spec = wire.from_message(header.spec, JobSpec)
        jobspec.check(spec)
        self._check_sites(spec)
        caller = f"{tls.peer_name_from_context(context)} SubmitJob"
        digest, size_bytes = bytes(header.bundle.digest), header.bundle.size_bytes
        if len(digest) != DIGEST_BYTES:
            raise InvalidInput(
                f"field bundle.digest: {len(digest)} bytes; it is the archive's BLAKE3, {DIGEST_BYTES} bytes"
            )
        if not self._bundles.has(digest):
            with self._bundles.receive(digest, size_bytes, spec.name) as upload:
                upload.write(first.data)
                async for request in requests:
                    await asyncio.to_thread(upload.write, request.data)
                await asyncio.to_thread(upload.finish)

        def change(tx: Transaction) -> pb.Job:
            known = tx.requests.find(caller, header.request_id)
            if known is not None:
                return self._views.job(tx, tx.jobs.get(known))
            now = self._world.utc()
            job = Job(job_id=new_id("j"), spec=spec, bundle_digest=digest, bundle_bytes=size_bytes, submitted_utc=now)
            tx.jobs.put(job)
            tx.requests.add(caller, header.request_id, job.job_id, now)
            return self._views.job(tx, job)

        return await self._engine.run(change)

    def _check_sites(self, spec: JobSpec) -> None:
        """A site that the fleet does not have is a typing mistake, not a wish."""
        named = {f"policy.sites_{kind}": getattr(spec.policy, f"sites_{kind}") for kind in SITE_LISTS}
        for field, sites in {**named, "checkpoint.replicate_to": spec.checkpoint.replicate_to}.items():
            for site in sites:
                if site not in self._world.sites:
                    known = ", ".join(sorted(self._world.sites))
                    raise InvalidInput(f"job: field {field}: no site {site!r}; the fleet has {known}")

    async def MoveJob(self, request: pb.MoveJobRequest, context: Context) -> pb.Migration:
        def change(tx: Transaction) -> pb.Migration:
            job = tx.jobs.resolve(request.job)
            node = self._destination(tx, job, request.destination)
            if job.state is not JobState.RUNNING:
                raise Conflict(f"cannot move job {job.job_id}: it is {job.state}; only a running job is moved")
            if not job.spec.policy.movable:
                raise Conflict(f"cannot move job {job.job_id}: its job file says policy.movable = false")
            migration = self._saga.begin(tx, MigrationKind.MOVE, job, node, cause="operator")
            return self._views.migration(migration)

        def again(tx: Transaction, migration_id: str) -> pb.Migration:
            return self._views.migration(tx.migrations.get(migration_id))

        return await self._once(
            context, "MoveJob", request.request_id, change, again, lambda message: str(message.migration_id)
        )

    async def PauseJob(self, request: pb.ChangeJobRequest, context: Context) -> pb.Job:
        return await self._want(context, request, Wanted.PAUSE)

    async def ResumeJob(self, request: pb.ChangeJobRequest, context: Context) -> pb.Job:
        return await self._want(context, request, Wanted.RUN)

    async def CancelJob(self, request: pb.ChangeJobRequest, context: Context) -> pb.Job:
        return await self._want(context, request, Wanted.CANCEL)

    async def WatchLogs(self, request: pb.WatchLogsRequest, context: Context) -> AsyncIterator[pb.LogChunk]:
        job = await self._engine.run(lambda tx: tx.jobs.resolve(request.job), ensure=False)
        async for chunk in follow(self._engine, self._logs, job.job_id, request):
            yield chunk

    async def FetchOutputs(self, request: pb.FetchOutputsRequest, context: Context) -> AsyncIterator[pb.OutputChunk]:
        def find(tx: Transaction) -> tuple[Job, str]:
            job = tx.jobs.resolve(request.job)
            runs = tx.jobs.runs(job.job_id)
            node_id = job.node_id or (runs[-1].node_id if runs else "")
            if not node_id:
                raise Conflict(
                    f"cannot fetch outputs of job {job.job_id}: it has not run yet; see `heliotrope job show`"
                )
            if node_id not in self._world.present:
                raise Unreachable(f"cannot fetch outputs of job {job.job_id}: its node {node_id} is not connected")
            return job, node_id

        job, node_id = await self._engine.run(find, ensure=False)
        relay = self._relays.open(node_id)
        order = order_model.SendOutputs(relay_id=relay.relay_id, paths=tuple(request.paths))

        def send(tx: Transaction) -> None:
            tx.commands.add(orders.command(self._world, job, node_id, order))
            tx.after_commit(partial(self._world.wake, node_id))

        await self._engine.run(send, ensure=False)
        try:
            async for data in self._relays.read(relay):
                yield pb.OutputChunk(data=data)
        finally:
            self._relays.close(relay)

    async def _want(self, context: Context, request: pb.ChangeJobRequest, wanted: Wanted) -> pb.Job:
        def change(tx: Transaction) -> pb.Job:
            job = tx.jobs.resolve(request.job)
            if job.state.ended:
                if wanted is Wanted.CANCEL:
                    return self._views.job(tx, job)
                verb = "pause" if wanted is Wanted.PAUSE else "resume"
                raise Conflict(f"cannot {verb} job {job.job_id}: it is {job.state}")
            job = replace(job, wanted=wanted)
            tx.jobs.put(job)
            return self._views.job(tx, job)

        def again(tx: Transaction, job_id: str) -> pb.Job:
            return self._views.job(tx, tx.jobs.get(job_id))

        return await self._once(
            context, f"Want{wanted}", request.request_id, change, again, lambda message: str(message.job_id)
        )

    def _destination(self, tx: Transaction, job: Job, name: str) -> Node:
        """A node by id, or the freest connected node of a site. Raises NotFound, Conflict."""
        if name in self._world.sites:
            nodes = [node for node in tx.nodes.all() if node.site == name and self._world.in_service(node)]
            nodes = [node for node in nodes if node.node_id != job.node_id]
            if not nodes:
                raise Conflict(
                    f"cannot move job {job.job_id} to site {name}: it has no other connected node in service"
                )
            return min(nodes, key=lambda node: (len(tx.jobs.on_node(node.node_id)), node.node_id))
        node = tx.nodes.find(name)
        if node is None:
            raise NotFound(f"field destination: {name!r} is neither a node nor a site; see `heliotrope node list`")
        if node.node_id == job.node_id:
            raise Conflict(f"cannot move job {job.job_id} to node {name}: it runs there already")
        if not self._world.in_service(node):
            why = self._world.out_of_service_because(node)
            raise Conflict(f"cannot move job {job.job_id} to node {name}: it {why}")
        return node

    # -- nodes

    async def DrainNode(self, request: pb.DrainNodeRequest, context: Context) -> pb.Node:
        def change(tx: Transaction) -> pb.Node:
            node = tx.nodes.get(request.node_id)
            if not request.enable:
                return self._views.node(tx, self._drains.end(tx, node))
            drain = drains.wish(request, self._world.utc())
            return self._views.node(tx, self._drains.begin(tx, node, drain, request.message))

        return await self._change_node(context, "DrainNode", request.request_id, change)

    async def ForgetNode(self, request: pb.ForgetNodeRequest, context: Context) -> pb.Node:
        return await self._change_node(
            context,
            "ForgetNode",
            request.request_id,
            lambda tx: self._views.node(tx, self._nodes.forget(tx, tx.nodes.get(request.node_id))),
        )

    async def ReadmitNode(self, request: pb.ReadmitNodeRequest, context: Context) -> pb.Node:
        return await self._change_node(
            context,
            "ReadmitNode",
            request.request_id,
            lambda tx: self._views.node(tx, self._nodes.readmit(tx, tx.nodes.get(request.node_id))),
        )

    async def _change_node(
        self, context: Context, method: str, request_id: str, change: Callable[[Transaction], pb.Node]
    ) -> pb.Node:
        def again(tx: Transaction, node_id: str) -> pb.Node:
            return self._views.node(tx, tx.nodes.get(node_id))

        return await self._once(context, method, request_id, change, again, lambda message: str(message.node_id))

    async def CapNode(self, request: pb.CapNodeRequest, context: Context) -> pb.PowerCapEventList:
        return await self._order(context, "CapNode", request.request_id, partial(self._caps.cap, request=request))

    async def UncapNode(self, request: pb.UncapNodeRequest, context: Context) -> pb.PowerCapEventList:
        return await self._order(context, "UncapNode", request.request_id, partial(self._caps.uncap, request=request))

    async def ListPowerCapEvents(self, request: pb.ListPowerCapEventsRequest, context: Context) -> pb.PowerCapEventList:
        return await self._caps.list(request)

    async def _order(
        self, context: Context, method: str, request_id: str, write: Callable[..., str]
    ) -> pb.PowerCapEventList:
        """Order once, and wait for the answer of that order, also when the request is repeated."""
        operator = tls.peer_name_from_context(context).id
        cap_id = await self._once(
            context, method, request_id, lambda tx: write(tx, operator=operator), lambda _tx, known: known, str
        )
        return await self._caps.answer(cap_id)

    async def _once(
        self,
        context: Context,
        method: str,
        request_id: str,
        change: Callable[[Transaction], A],
        again: Callable[[Transaction, str], A],
        object_id: Callable[[A], str],
    ) -> A:
        """Run a change unless this caller's request id was seen: then answer with what it made."""
        # Of this caller and of this call: the same id for another verb is another request.
        caller = f"{tls.peer_name_from_context(context)} {method}"

        def run(tx: Transaction) -> A:
            known = tx.requests.find(caller, request_id)
            if known is not None:
                return again(tx, known)
            answer = change(tx)
            tx.requests.add(caller, request_id, object_id(answer), self._world.utc())
            return answer

        return await self._engine.run(run)
