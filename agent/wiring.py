"""How the agent's parts are put together: each function makes one room's, from those that it needs."""

from __future__ import annotations

import asyncio
import logging
import secrets
import socket
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from pathlib import Path

import msgspec

from heliotrope.foundation import tls
from heliotrope.foundation.clock import Clock
from heliotrope.foundation.errors import Denied, InvalidInput, NotFound
from heliotrope.foundation.identity import Identity, Role
from heliotrope.foundation.keyring import Keyring
from heliotrope.foundation.metricsport import Port, open_port
from heliotrope.foundation.model import Gpu, Inventory, Versions
from heliotrope.foundation.tickets import Ticket
from heliotrope.native import CODEC_VERSIONS, FRAME_VERSION

from . import gpus, inventory
from .capship import CapShipper
from .care.scrub import Scrub
from .checkpoints.pins import Pins
from .checkpoints.registry import CheckpointRegister
from .checkpoints.store import ChunkStore
from .config import AgentConfig
from .deeds.capping import Capping
from .deeds.fetching import Ends, Fetcher
from .deeds.moving import Moving
from .deeds.preparing import Preparer
from .deeds.running import Running
from .executor import Executor
from .handovers import Handovers
from .held import HeldJobs
from .jobs import pythonpath, systemd_launcher
from .jobs.launcher import Launcher
from .journal import Journal
from .link import Link
from .logship import LogShipper
from .luggage import Luggage
from .metrics.collector import AgentCollector, Node, Rooms
from .metrics.energy import EnergyTotals
from .power.batch import EnergyBatch
from .power.caps.driver import Driver
from .power.caps.keeper import Keeper, caps_folder
from .power.monitor import PowerMonitor
from .power.release import DriverRelease
from .pullprogress import PullProgress
from .renewal import Renewal
from .runner import Runner
from .session import Greeting, Session
from .spool import Spool, SpoolConfig
from .telemetry import Telemetry
from .transfer.connection import SocketOptions
from .transfer.handshake import Address
from .transfer.server import ServerOptions, TransferServer
from .transfer.traffic import Traffic
from .trust import Trust
from .vault import Lent, Vault

log = logging.getLogger("heliotrope.agent")

PROTOCOL_VERSIONS = (1,)


@dataclass
class Agent:
    """The parts that are started and stopped, in this order and the reverse."""

    spool: Spool
    keeper: Keeper
    monitor: PowerMonitor
    server: TransferServer
    runner: Runner
    executor: Executor
    capping: Capping
    link: Link
    session: Session
    renewal: Renewal
    scrub: Scrub
    metrics: Port | None


@dataclass(frozen=True)
class Ground:
    """What every room stands on."""

    config: AgentConfig
    state_dir: Path
    keyring: Keyring
    clock: Clock
    devices: tuple[Gpu, ...]

    @property
    def own(self) -> Identity:
        return self.keyring.current


@dataclass(frozen=True)
class Storage:
    """Jobs' folders, their checkpoints, and their outputs as they travel."""

    held: HeldJobs
    vault: Vault
    luggage: Luggage


def wire_up(config: AgentConfig, folder: Path, state_dir: Path, clock: Clock) -> Agent:
    """Everything, in the order in which each part needs the ones before it. Raises Denied for another's identity."""
    devices = gpus.made_up(config.power.fake) if config.power.fake else gpus.find()
    ground = Ground(config, state_dir, Keyring(folder / config.identity, clock=clock), clock, devices)
    if ground.own.name.role is not Role.AGENT:
        raise Denied(f"field identity: {ground.own.name} is no agent's; `heliotrope ca issue --role agent`")
    loop = asyncio.get_running_loop()
    storage = _storage(ground)
    trust = Trust(state_dir / "revocations.json", ground.own, clock)
    server = _server(ground, storage, trust)
    launcher = systemd_launcher.choose(
        config.jobs.launcher,
        config.jobs.devices,
        hidden=(state_dir / "jobs", state_dir / "pins", state_dir / "output-pins"),
    )
    runner = Runner(
        held=storage.held,
        vault=storage.vault,
        launcher=launcher,
        config=config.jobs,
        clock=clock,
        pythonpath_dir=pythonpath.install(state_dir / "pythonpath"),
        devices=ground.devices,
        on_change=lambda report: session.send_report(report),  # noqa: PLW0108 - the session is made below
    )
    totals = EnergyTotals(clock) if config.metrics.listen else None
    spool, monitor = _telemetry(ground, storage.held, runner, totals)
    caps_dir = caps_folder(state_dir)
    keeper = Keeper(caps_dir, Driver(caps_dir, config.power.sys_root), clock)
    link = Link(config.coordinator, ground.own)
    here = _inventory(ground)
    session = _session(ground, link, here, runner, Telemetry(monitor, spool), keeper, trust)
    traffic = Traffic()
    fetcher = _fetcher(ground, storage, trust, traffic, PullProgress(loop, session.send_progress, clock))
    capping = Capping(keeper)
    executor = _executor(ground, storage, runner, launcher, session, link, fetcher, capping, here)
    session.use(executor)
    scrub = Scrub(
        storage.vault,
        state_dir,
        rate_bytes_per_s=config.store.scrub_rate_bytes_per_s,
        period_s=config.store.scrub_period_s,
        clock=clock,
        on_change=partial(_threadsafe, loop, runner.tell),
    )

    def renewed(own: Identity) -> None:
        server.use(tls.server_context(own))
        link.use(own)
        session.reopen()

    renewal = Renewal(ground.keyring, link.renew, renewed, clock)
    metrics = None
    if totals is not None:
        node = Node(ground.keyring, config.site, state_dir, clock)
        rooms = Rooms(node, storage.held, storage.vault.store, runner, monitor, keeper, server, traffic, spool, session)
        metrics = _metrics(ground, folder, AgentCollector(rooms, totals, loop), trust)
    return Agent(spool, keeper, monitor, server, runner, executor, capping, link, session, renewal, scrub, metrics)


def _session(
    ground: Ground,
    link: Link,
    here: Callable[[], Inventory],
    runner: Runner,
    telemetry: Telemetry,
    keeper: Keeper,
    trust: Trust,
) -> Session:
    return Session(
        link=link,
        greeting=_greeting(ground.config, here),
        runner=runner,
        telemetry=telemetry,
        logs=LogShipper(),
        caps=CapShipper(keeper),
        handovers=Handovers(ground.state_dir / "handovers.json"),
        clock=ground.clock,
        reconnect_s=ground.config.reconnect_s,
        trust=trust,
    )


def _fetcher(ground: Ground, storage: Storage, trust: Trust, traffic: Traffic, on_progress: PullProgress) -> Fetcher:
    return Fetcher(
        store=storage.vault.store,
        config=ground.config.transfer,
        reserve_bytes=ground.config.store.reserve_bytes,
        clock=ground.clock,
        ends=lambda: Ends(ground.own.name, tls.client_context(ground.own), trust.verify_ticket, trust.admit),
        on_progress=on_progress,
        traffic=traffic,
    )


def _metrics(ground: Ground, folder: Path, collector: AgentCollector, trust: Trust) -> Port | None:
    return open_port(
        ground.config.metrics, folder, identity=lambda: ground.own, admit=trust.admit, collect=collector.collect
    )


def _storage(ground: Ground) -> Storage:
    state_dir, settings = ground.state_dir, ground.config.store
    held = HeldJobs(state_dir / "jobs")
    store = ChunkStore(state_dir / "store", quota_bytes=int(settings.quota_bytes), reserve_bytes=settings.reserve_bytes)
    vault = Vault(CheckpointRegister(state_dir / "checkpoints"), Pins(state_dir / "pins"), store, held)
    outputs = Vault(
        CheckpointRegister(state_dir / "outputs"), Pins(state_dir / "output-pins"), store, held, kind=".outputs"
    )
    return Storage(held, vault, Luggage(held, outputs))


def _server(ground: Ground, storage: Storage, trust: Trust) -> TransferServer:
    settings = ground.config.transfer
    sockets = SocketOptions(congestion=settings.congestion or None)
    sockets.check()
    return TransferServer(
        tls.server_context(ground.own),
        _listen(settings.listen),
        name=ground.own.name,
        verify_ticket=trust.verify_ticket,
        open_source=partial(_open_source, storage.vault, storage.luggage),
        open_base=storage.vault.open_base,
        admit=trust.admit,
        options=ServerOptions(
            memory_bytes=int(settings.memory_bytes),
            rate=settings.rates().rate(ground.clock),
            standstill_exempt=settings.standstill_exempt,
            socket=sockets,
        ),
        clock=ground.clock,
    )


def _telemetry(
    ground: Ground, held: HeldJobs, runner: Runner, totals: EnergyTotals | None
) -> tuple[Spool, PowerMonitor]:
    told = _Once()
    quota_bytes = int(ground.config.spool_quota_bytes)
    spool = Spool(ground.state_dir / "spool", ground.clock, SpoolConfig(quota_bytes=quota_bytes))

    def take(batch: EnergyBatch) -> None:
        if totals is not None:
            totals.add(batch)
        told.drop(spool.append(batch))

    monitor = PowerMonitor(
        ground.config.power,
        runner.pids,
        ground.clock,
        take,
        holders=lambda: _holders(held, runner),
        release=DriverRelease(ground.state_dir, ground.clock),
    )
    return spool, monitor


def _inventory(ground: Ground) -> Callable[[], Inventory]:
    """What this node offers; the free disk as it is when asked."""
    state_dir = ground.state_dir
    known = inventory.collect(ground.config, ground.devices, _advertised(ground.config), state_dir)
    return lambda: msgspec.structs.replace(known, disk_free_bytes=inventory.free_bytes(state_dir))


def _greeting(config: AgentConfig, here: Callable[[], Inventory]) -> Greeting:
    versions = Versions(
        protocol=PROTOCOL_VERSIONS,
        frame=(FRAME_VERSION,),
        codec=tuple(CODEC_VERSIONS),
        software=metadata.version("heliotrope"),
    )
    return Greeting(versions=versions, site=config.site, instance_id=secrets.token_hex(8), inventory=here)


def _executor(
    ground: Ground,
    storage: Storage,
    runner: Runner,
    launcher: Launcher,
    session: Session,
    link: Link,
    fetcher: Fetcher,
    capping: Capping,
    here: Callable[[], Inventory],
) -> Executor:
    held, vault, luggage, clock = storage.held, storage.vault, storage.luggage, ground.clock
    preparer = Preparer(
        held=held,
        config=ground.config,
        state_dir=ground.state_dir,
        launcher=launcher,
        inventory=here,
        fetch_bundle=link.fetch_bundle,
        running=lambda: {job_id for job_id, _ in runner.leases()},
        node_id=ground.own.name.id,
        clock=clock,
    )
    running = Running(
        held=held,
        vault=vault,
        runner=runner,
        preparer=preparer,
        clock=clock,
        ask_lease=session.ask_lease,
        luggage=luggage,
    )
    moving = Moving(
        held=held,
        vault=vault,
        runner=runner,
        preparer=preparer,
        fetcher=fetcher,
        clock=clock,
        relay=link.relay,
        luggage=luggage,
    )
    return Executor(
        journal=Journal(ground.state_dir / "commands"),
        running=running,
        moving=moving,
        capping=capping,
        clock=clock,
        send=session.send_result,
    )


def _threadsafe(loop: asyncio.AbstractEventLoop, tell: Callable[[str], None], job_id: str) -> None:
    loop.call_soon_threadsafe(tell, job_id)


def _open_source(vault: Vault, luggage: Luggage, ticket: Ticket, reference: str) -> Lent:
    """What a peer asks for is a checkpoint, else a job's outputs. Raises NotFound, Denied."""
    try:
        return vault.open_source(ticket, reference)
    except NotFound:
        return luggage.open_source(ticket, reference)


class _Once:
    """Says once that the spool refuses batches, and once that it takes them again."""

    def __init__(self) -> None:
        self._refused = False

    def drop(self, sequence: int) -> None:
        if (sequence == 0) is not self._refused:
            self._refused = sequence == 0
            log.warning(
                "the spool %s", "has no room: energy records are being lost" if self._refused else "has room again"
            )


def _holders(held: HeldJobs, runner: Runner) -> dict[str, list[str]]:
    """GPU -> the running jobs that it was given to."""
    found: dict[str, list[str]] = {}
    for job_id, _ in runner.leases():
        job = held.find(job_id)
        for uuid in job.gpu_uuids if job else ():
            found.setdefault(uuid, []).append(job_id)
    return found


def _listen(text: str) -> Address:
    host, _, port = text.rpartition(":")
    if not port.isdigit():
        raise InvalidInput(f"field transfer.listen: {text!r} is not HOST:PORT; write 0.0.0.0:7443")
    return host.strip("[]"), int(port)


def _advertised(config: AgentConfig) -> tuple[str, ...]:
    if config.transfer.advertise:
        return config.transfer.advertise
    _, port = _listen(config.transfer.listen)
    return (f"{socket.gethostname()}:{port}",)
