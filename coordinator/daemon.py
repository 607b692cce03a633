"""The coordinator process: ``wire`` builds everything in order, ``serve`` is its one loop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import grpc
import grpc.aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from heliotrope.foundation import failpoints, tickets, tls
from heliotrope.foundation.clock import Clock, SystemClock
from heliotrope.foundation.errors import Conflict, Denied, InvalidInput
from heliotrope.foundation.identity import Identity, Role
from heliotrope.foundation.keyring import Keyring
from heliotrope.foundation.metricsport import Port, open_port
from heliotrope.foundation.sdnotify import Notifier
from heliotrope.v1 import fleet_pb2, fleet_pb2_grpc, identity_pb2, identity_pb2_grpc, operator_pb2, operator_pb2_grpc

from . import livefeeds
from .bundles import BundleStore
from .config import CoordinatorConfig
from .engine import Engine
from .forecasts.clock import TraceClock
from .forecasts.feeder import Feeder
from .forecasts.live.kept import Cache
from .forecasts.site import SiteForecast, open_site
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
from .state.database import Database

log = logging.getLogger("heliotrope.coordinator")

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


def run(config: CoordinatorConfig, folder: Path) -> None:
    """Until SIGTERM or SIGINT. ``folder``: what relative paths of the configuration are relative to."""
    failpoints.arm()
    asyncio.run(serve(config, folder))


async def serve(config: CoordinatorConfig, folder: Path) -> None:
    """The one loop: ready, fed to the watchdog while the state thread beats, stopped in reverse order."""
    coordinator = wire_up(config, folder, SystemClock())
    coordinator.engine.start()
    await coordinator.warden.refresh()  # before anybody is let in: what was revoked stays out over a restart
    await coordinator.server.start()
    coordinator.feeder.start()
    warden = asyncio.create_task(coordinator.warden.run())
    if coordinator.metrics is not None:
        coordinator.metrics.start()
    notifier = Notifier.from_environment()
    notifier.ready(f"serving on {coordinator.address}")
    log.info("coordinator ready on %s", coordinator.address)
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    interval_s = (notifier.watchdog_interval_s or 20.0) / 2
    while not stopping.is_set():
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stopping.wait(), interval_s)
        # The state thread answers, or the watchdog is left to bite.
        await coordinator.engine.run(lambda _tx: None, ensure=False)
        notifier.watchdog()
    notifier.stopping()
    warden.cancel()
    await asyncio.to_thread(coordinator.feeder.stop)
    if coordinator.metrics is not None:
        coordinator.metrics.stop()
    coordinator.sessions.close_all()
    await coordinator.server.stop(grace=2.0)
    coordinator.engine.stop()
    coordinator.database.close()


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
    changes, sessions, relays = Changes(loop), Sessions(), Relays()
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
    saga = Saga(world)
    jobs, nodes, ledger = JobManager(world, saga), NodeManager(world, saga), LedgerManager(world)
    caps, replication = PowerCapManager(world), ReplicationManager(world)
    planner = PlannerManager(world, saga)
    # The saga first: what it ends this pass, the job manager and the planner may act on in the same pass.
    drains = DrainManager(world, saga)
    sealing, ahead = Sealing(world, lambda: keyring.current), AheadManager(world, planner)
    repairs = RepairManager(world)
    engine = Engine(database, [saga, nodes, drains, jobs, planner, ahead, replication, repairs, caps, sealing])
    feeder = _feeder(config, folder, state_dir, world, engine, database)
    calls = OpenCalls()
    warden = Warden(engine=engine, issuer=issuer, keyring=keyring, calls=calls, sessions=sessions, clock=clock)
    logs = LogStore(state_dir / "logs", config.log_limit_bytes)
    bundles = BundleStore(state_dir / "bundles", config.bundle_limit_bytes)
    intake = Intake(
        world=world,
        engine=engine,
        saga=saga,
        jobs=jobs,
        nodes=nodes,
        ledger=ledger,
        caps=caps,
        replication=replication,
        logs=logs,
    )
    fleet = FleetServicer(
        world=world,
        engine=engine,
        sessions=sessions,
        jobs=jobs,
        nodes=nodes,
        intake=intake,
        bundles=bundles,
        relays=relays,
        warden=warden,
    )
    operator = OperatorServicer(
        world=world,
        engine=engine,
        saga=saga,
        drains=drains,
        nodes=nodes,
        views=Views(world, own.name),
        bundles=bundles,
        logs=logs,
        relays=relays,
        changes=changes,
        caps=PowerCapDesk(engine, caps, changes),
        ledger=LedgerExport(engine, sealing, own.name.fleet),
    )
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


def open_sites(config: CoordinatorConfig, folder: Path, state_dir: Path, clock: Clock) -> dict[str, SiteForecast]:
    """The sites' forecasts on their common clock. Raises InvalidInput naming the site and the field."""
    if not config.sites:
        raise InvalidInput("field sites: none is configured; add at least one [[sites]]")
    livefeeds.check(config, folder)
    trace_clock = _trace_clock(config, state_dir, clock)
    sites: dict[str, SiteForecast] = {}
    for site in config.sites:
        if site.name in sites:
            raise InvalidInput(f"field sites: {site.name!r} is configured twice; remove one")
        sites[site.name] = open_site(site, trace_clock, folder)
    for link in config.links:
        for field, name in (("source", link.source), ("destination", link.destination)):
            if name not in sites:
                raise InvalidInput(f"field links.{field}: no site {name!r}; configured are {', '.join(sorted(sites))}")
    for name in config.stage_ahead.sites:
        if name not in sites:
            raise InvalidInput(f"field stage_ahead.sites: no site {name!r}; configured are {', '.join(sorted(sites))}")
    return sites


def _trace_clock(config: CoordinatorConfig, state_dir: Path, clock: Clock) -> TraceClock:
    """Real time, or the demonstration's clock; its origin is kept, so that a restart goes on where it was."""
    now = clock.utc()
    if not config.trace.start:
        if config.trace.scale != 1.0:
            raise InvalidInput("field trace.start: a scale other than 1 needs the trace's starting time")
        return TraceClock(start_trace_utc=now, start_real_utc=now, scale=1.0)
    try:
        start = datetime.fromisoformat(config.trace.start)
    except ValueError as error:
        raise InvalidInput(
            f"field trace.start: {config.trace.start!r} is not RFC 3339; write 2026-06-21T06:00:00Z"
        ) from error
    if start.tzinfo is None:
        raise InvalidInput(f"field trace.start: {config.trace.start!r} has no time zone; append Z for UTC")
    state_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    origin = state_dir / "trace-origin"
    if not origin.exists():
        origin.write_text(now.isoformat(), encoding="ascii")
    real = datetime.fromisoformat(origin.read_text(encoding="ascii"))
    return TraceClock(start_trace_utc=start, start_real_utc=real, scale=config.trace.scale)


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
