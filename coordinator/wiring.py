"""Puts the coordinator's parts together, in the order in which each needs the ones before it."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import grpc
import grpc.aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from heliotrope.foundation import tickets, tls
from heliotrope.foundation.clock import Clock
from heliotrope.foundation.errors import Conflict, Denied
from heliotrope.foundation.identity import Identity, Role
from heliotrope.foundation.keyring import Keyring
from heliotrope.foundation.metricsport import Port, open_port
from heliotrope.v1 import fleet_pb2, fleet_pb2_grpc, identity_pb2, identity_pb2_grpc, operator_pb2, operator_pb2_grpc

from . import livefeeds
from .bundles import BundleStore
from .config import CoordinatorConfig
from .engine import Engine, Manager
from .forecasts.feeder import Feeder
from .forecasts.live.kept import Cache
from .issuer import Issuer
from .logstore import LogStore
from .managers.ahead import AheadManager
from .managers.drains import DrainManager
from .managers.forecasts import ForecastDesk
from .managers.jobs import JobManager
from .managers.ledger import LedgerManager
from .managers.nodes import NodeManager
from .managers.planner import PlannerManager
from .managers.powercaps import PowerCapManager
from .managers.repairs import RepairManager
from .managers.replication import ReplicationManager
from .managers.saga import Saga
from .managers.sealing import Sealing
from .managers.world import Startup, TicketRequest, World
from .metrics.collector import CoordinatorCollector
from .server.calls import OpenCalls
from .server.changes import Changes
from .server.fleet import FleetServicer
from .server.guard import Guard
from .server.identities import IdentityServicer
from .server.intake import Intake
from .server.ledger_export import LedgerExport
from .server.operator import OperatorServicer
from .server.powercaps import PowerCapDesk
from .server.relays import Relays
from .server.sessions import Sessions
from .server.views import Views
from .server.warden import Warden
from .sites import open_sites
from .state.database import Database

ALL_TIME_MS = 1 << 62
MESSAGE_LIMIT_BYTES = 16 * 1024**2


@dataclass
class Coordinator:
    """The parts that are started and stopped."""

    engine: Engine
    database: Database
    sessions: Sessions
    server: grpc.aio.Server
    warden: Warden
    address: str
    feeder: Feeder
    metrics: Port | None


@dataclass(frozen=True)
class Managers:
    """They share the state and the world, and know each other only where a field says so."""

    saga: Saga
    nodes: NodeManager
    drains: DrainManager
    jobs: JobManager
    planner: PlannerManager
    ahead: AheadManager
    replication: ReplicationManager
    repairs: RepairManager
    caps: PowerCapManager
    sealing: Sealing
    ledger: LedgerManager  # only takes what comes: it has no passes

    def in_order(self) -> list[Manager]:
        """The saga first: what it ends this pass, the job manager and the planner may act on in the same pass."""
        first: list[Manager] = [self.saga, self.nodes, self.drains, self.jobs, self.planner, self.ahead]
        return [*first, self.replication, self.repairs, self.caps, self.sealing]


def wire_up(config: CoordinatorConfig, folder: Path, clock: Clock) -> Coordinator:
    """Everything, in the order in which each part needs the ones before it."""
    loop = asyncio.get_running_loop()
    keyring = Keyring(folder / config.identity, clock=clock)
    own = keyring.current
    if own.name.role is not Role.COORDINATOR:
        raise Denied(f"field identity: {own.name} is no coordinator's; `heliotrope ca issue --role coordinator`")
    issuer = Issuer.open(config.enrolment, folder, own, clock)
    state_dir = (folder / config.state_dir).resolve()
    # Sites before anything with effects: a missing trace must not leave a half-started coordinator.
    sites = open_sites(config, folder, state_dir, clock)
    database = Database.in_folder(state_dir)
    changes, sessions = Changes(loop), Sessions()
    world = World(
        clock=clock,
        config=config,
        sites=sites,
        sign_ticket=lambda request: sign_ticket(keyring.current, clock, request),
        wake=lambda node_id: _threadsafe(loop, sessions, node_id),
        changed=changes.notify,
        started_at_s=clock.boottime_s(),
        startup=_startup(database),
    )
    _resume_meters(world, database)
    managers = _managers(world, keyring)
    engine = Engine(database, managers.in_order())
    feeder = _feeder(config, folder, state_dir, world, engine, database)
    calls = OpenCalls()
    warden = Warden(engine=engine, issuer=issuer, keyring=keyring, calls=calls, sessions=sessions, clock=clock)
    fleet, operator = _services(world, engine, managers, warden, sessions, changes, own, state_dir)
    identities = IdentityServicer(engine=engine, issuer=issuer, warden=warden, clock=clock)
    server = _server(Guard(own.name.fleet, warden.admit, calls), fleet, operator, identities)
    address = _listen(server, config, keyring)
    metrics = open_port(
        config.metrics,
        folder,
        identity=lambda: keyring.current,
        admit=warden.admit,
        collect=CoordinatorCollector(world, engine, sessions, lambda: keyring.current, state_dir).collect,
        registry=world.meters.registry,
    )
    return Coordinator(engine, database, sessions, server, warden, address, feeder, metrics)


def _managers(world: World, keyring: Keyring) -> Managers:
    saga = Saga(world)
    planner = PlannerManager(world, saga)
    return Managers(
        saga=saga,
        nodes=NodeManager(world, saga),
        drains=DrainManager(world, saga),
        jobs=JobManager(world, saga),
        planner=planner,
        ahead=AheadManager(world, planner),
        replication=ReplicationManager(world),
        repairs=RepairManager(world),
        caps=PowerCapManager(world),
        sealing=Sealing(world, lambda: keyring.current),
        ledger=LedgerManager(world),
    )


def _services(
    world: World,
    engine: Engine,
    managers: Managers,
    warden: Warden,
    sessions: Sessions,
    changes: Changes,
    own: Identity,
    state_dir: Path,
) -> tuple[FleetServicer, OperatorServicer]:
    """What agents and what operators call."""
    config = world.config
    logs = LogStore(state_dir / "logs", config.log_limit_bytes)
    bundles = BundleStore(state_dir / "bundles", config.bundle_limit_bytes)
    relays = Relays()
    intake = Intake(
        world=world,
        engine=engine,
        saga=managers.saga,
        jobs=managers.jobs,
        nodes=managers.nodes,
        ledger=managers.ledger,
        caps=managers.caps,
        replication=managers.replication,
        logs=logs,
    )
    fleet = FleetServicer(
        world=world,
        engine=engine,
        sessions=sessions,
        jobs=managers.jobs,
        nodes=managers.nodes,
        intake=intake,
        bundles=bundles,
        relays=relays,
        warden=warden,
    )
    operator = OperatorServicer(
        world=world,
        engine=engine,
        saga=managers.saga,
        drains=managers.drains,
        nodes=managers.nodes,
        views=Views(world, own.name),
        bundles=bundles,
        logs=logs,
        relays=relays,
        changes=changes,
        caps=PowerCapDesk(engine, managers.caps, changes),
        ledger=LedgerExport(engine, managers.sealing, own.name.fleet),
    )
    return fleet, operator


def _feeder(
    config: CoordinatorConfig, folder: Path, state_dir: Path, world: World, engine: Engine, database: Database
) -> Feeder:
    """The live feeds, with the sites as the cache of the last run knows them."""
    desk = ForecastDesk(world)
    plan = livefeeds.plan(config, folder, Cache(state_dir / "forecasts"), world.clock, engine, desk)
    with database.transaction() as tx:
        livefeeds.remembered(world.sites, plan, world.clock, tx, desk)
    return livefeeds.feeder(plan)


def _startup(database: Database) -> Startup:
    """Whom to hear before this database is believed."""
    with database.transaction() as tx:
        return Startup(
            job_ids=frozenset(job.job_id for job in tx.jobs.all(ended=False)),
            awaited_nodes={node.node_id for node in tx.nodes.all() if not node.forgotten},
        )


def _resume_meters(world: World, database: Database) -> None:
    """The ledger's sums go on where they stood; all else counts from this start."""
    with database.transaction() as tx:
        for sums in tx.ledger.sums(ALL_TIME_MS, 0, ALL_TIME_MS):
            world.meters.booked(
                sums.site,
                sums.energy_uj,
                sums.renewable_uj,
                sums.unknown_carbon_uj,
                sums.carbon_ng,
                sums.carbon_static_ng,
            )
    database.on_commit = world.meters.committed


def sign_ticket(own: Identity, clock: Clock, request: TicketRequest) -> bytes:
    """A transfer ticket, signed with the coordinator's key."""
    return tickets.sign(
        tickets.Ticket(
            fleet=own.name.fleet,
            job_id=request.job_id,
            migration_id=request.migration_id,
            epoch=request.epoch,
            source_node=request.source_node,
            destination_node=request.destination_node,
            byte_limit=request.byte_limit,
            expires_utc=clock.utc() + timedelta(seconds=request.lifetime_s),
            standstill=request.standstill,
        ),
        own,
    )


def _threadsafe(loop: asyncio.AbstractEventLoop, sessions: Sessions, node_id: str) -> None:
    with contextlib.suppress(RuntimeError):  # the loop is closed: there is no session to wake
        loop.call_soon_threadsafe(sessions.wake, node_id)


def _server(
    guard: Guard, fleet: FleetServicer, operator: OperatorServicer, identities: IdentityServicer
) -> grpc.aio.Server:
    options = [
        *tls.SERVER_OPTIONS,
        ("grpc.max_receive_message_length", MESSAGE_LIMIT_BYTES),
        ("grpc.max_send_message_length", MESSAGE_LIMIT_BYTES),
    ]
    server = grpc.aio.server(interceptors=[guard], options=options)
    fleet_pb2_grpc.add_FleetServiceServicer_to_server(fleet, server)
    operator_pb2_grpc.add_OperatorServiceServicer_to_server(operator, server)
    identity_pb2_grpc.add_IdentityServiceServicer_to_server(identities, server)
    names = [
        fleet_pb2.DESCRIPTOR.services_by_name["FleetService"].full_name,
        operator_pb2.DESCRIPTOR.services_by_name["OperatorService"].full_name,
        identity_pb2.DESCRIPTOR.services_by_name["IdentityService"].full_name,
    ]
    checks = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(checks, server)
    for name in ["", *names]:
        checks._server_status[name] = health_pb2.HealthCheckResponse.SERVING
    reflection.enable_server_reflection([*names, health.SERVICE_NAME, reflection.SERVICE_NAME], server)
    return server


def _listen(server: grpc.aio.Server, config: CoordinatorConfig, keyring: Keyring) -> str:
    """The address. Raises Conflict when it cannot be had."""
    host, _, _ = config.listen.rpartition(":")
    try:
        port = server.add_secure_port(config.listen, tls.grpc_server_credentials(lambda: keyring.current))
    except RuntimeError as error:
        raise Conflict(f"cannot listen on {config.listen}: {error}; is another coordinator running there?") from error
    return f"{host}:{port}"
