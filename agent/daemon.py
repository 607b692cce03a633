"""The agent process: ``wire_up`` builds everything in order, ``serve`` is its one loop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import signal
import socket
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from pathlib import Path

import msgspec

from heliotrope.foundation import failpoints, tls
from heliotrope.foundation.clock import Clock, SystemClock
from heliotrope.foundation.errors import Denied, InvalidInput, NotFound
from heliotrope.foundation.identity import Identity, Role
from heliotrope.foundation.keyring import Keyring
from heliotrope.foundation.model import Inventory, Versions
from heliotrope.foundation.sdnotify import Notifier
from heliotrope.foundation.tickets import Ticket
from heliotrope.native import CODEC_VERSIONS, FRAME_VERSION
from heliotrope.v1 import fleet_pb2 as pb

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
from .journal import Journal
from .link import Link
from .logship import LogShipper
from .luggage import Luggage
from .only_one import only_one
from .orders import Command
from .power.caps.driver import Driver
from .power.caps.keeper import Keeper, caps_folder
from .power.monitor import PowerMonitor
from .renewal import Renewal
from .runner import Runner
from .session import Greeting, Session
from .spool import Spool, SpoolConfig
from .telemetry import Telemetry
from .transfer.handshake import Address
from .transfer.result import Progress
from .transfer.server import ServerOptions, TransferServer
from .trust import Trust
from .vault import Lent, Vault

log = logging.getLogger("heliotrope.agent")

PROTOCOL_VERSIONS = (1,)
PROGRESS_INTERVAL_S = 0.25


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


def run(config: AgentConfig, folder: Path) -> None:
    """Until SIGTERM or SIGINT; jobs run on. ``folder``: what relative paths of the configuration are relative to."""
    failpoints.arm()
    asyncio.run(serve(config, folder))


async def serve(config: AgentConfig, folder: Path) -> None:
    """The one loop: adopt what runs, keep the session, feed the watchdog from here."""
    state_dir = (folder / config.state_dir).resolve()  # jobs are given absolute paths
    state_dir.mkdir(parents=True, exist_ok=True, mode=0o711)
    with only_one(state_dir):
        agent = wire_up(config, folder, state_dir, SystemClock())
        notifier = Notifier.from_environment()
        agent.server.start()
        agent.monitor.start()
        await agent.runner.adopt()
        await asyncio.to_thread(agent.keeper.adopt)
        agent.scrub.start()
        stopping = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stopping.set)
        session, renewal = asyncio.create_task(agent.session.run()), asyncio.create_task(agent.renewal.run())
        capping = asyncio.create_task(agent.capping.run())
        notifier.ready(f"transfers on port {agent.server.address[1]}")
        log.info("agent ready, transfers on port %d", agent.server.address[1])
        interval_s = (notifier.watchdog_interval_s or 20.0) / 2
        while not stopping.is_set() and not session.done() and not capping.done():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stopping.wait(), interval_s)
            notifier.watchdog()
        notifier.stopping()
        renewal.cancel()
        await close(agent, session, capping)


async def close(agent: Agent, session: asyncio.Task[None], capping: asyncio.Task[None]) -> None:
    """In reverse order; a defect that ended the session comes out here."""
    session.cancel()
    capping.cancel()
    await asyncio.to_thread(agent.scrub.stop)
    await agent.executor.close()
    # While the sensor still holds the driver open: its last client's leaving may change limits, too.
    await agent.capping.close()
    await agent.link.close()
    await agent.runner.close()
    await asyncio.to_thread(agent.server.stop)
    await asyncio.to_thread(agent.monitor.stop)
    agent.spool.close()
    for task in (session, capping):
        with contextlib.suppress(asyncio.CancelledError):
            await task


def wire_up(config: AgentConfig, folder: Path, state_dir: Path, clock: Clock) -> Agent:
    """Everything, in the order in which each part needs the ones before it."""
    keyring = Keyring(folder / config.identity, clock=clock)
    own = keyring.current
    if own.name.role is not Role.AGENT:
        raise Denied(f"field identity: {own.name} is no agent's; `heliotrope ca issue --role agent`")
    devices = gpus.find()
    held = HeldJobs(state_dir / "jobs")
    vault = Vault(
        CheckpointRegister(state_dir / "checkpoints"),
        Pins(state_dir / "pins"),
        ChunkStore(
            state_dir / "store",
            quota_bytes=int(config.store.quota_bytes),
            reserve_bytes=config.store.reserve_bytes,
        ),
        held,
    )
    trust = Trust(state_dir / "revocations.json", own, clock)
    luggage = Luggage(
        held,
        Vault(
            CheckpointRegister(state_dir / "outputs"),
            Pins(state_dir / "output-pins"),
            vault.store,
            held,
            kind=".outputs",
        ),
    )
    server = TransferServer(
        tls.server_context(own),
        _listen(config.transfer.listen),
        name=own.name,
        verify_ticket=trust.verify_ticket,
        open_source=partial(_open_source, vault, luggage),
        open_base=vault.open_base,
        admit=trust.admit,
        options=ServerOptions(
            memory_bytes=int(config.transfer.memory_bytes),
            rate=config.transfer.rates().rate(clock),
            standstill_exempt=config.transfer.standstill_exempt,
        ),
        clock=clock,
    )
    told = _Once()
    launcher = systemd_launcher.choose(
        config.jobs.launcher,
        config.jobs.devices,
        hidden=(state_dir / "jobs", state_dir / "pins", state_dir / "output-pins"),
    )
    runner = Runner(
        held=held,
        vault=vault,
        launcher=launcher,
        config=config.jobs,
        clock=clock,
        pythonpath_dir=pythonpath.install(state_dir / "pythonpath"),
        devices=devices,
        on_change=lambda report: session.send_report(report),  # noqa: PLW0108 - the session is made below
    )
    spool = Spool(state_dir / "spool", clock, SpoolConfig(quota_bytes=int(config.spool_quota_bytes)))
    monitor = PowerMonitor(
        config.power,
        runner.pids,
        clock,
        lambda batch: told.drop(spool.append(batch)),
        holders=lambda: _holders(held, runner),
    )
    caps_dir = caps_folder(state_dir)
    keeper = Keeper(caps_dir, Driver(caps_dir, config.power.sys_root), clock)
    link = Link(config.coordinator, own)

    def here() -> Inventory:
        return msgspec.structs.replace(known, disk_free_bytes=inventory.free_bytes(state_dir))

    session = Session(
        link=link,
        greeting=Greeting(
            versions=Versions(
                protocol=PROTOCOL_VERSIONS,
                frame=(FRAME_VERSION,),
                codec=tuple(CODEC_VERSIONS),
                software=metadata.version("heliotrope"),
            ),
            site=config.site,
            instance_id=secrets.token_hex(8),
            inventory=here,
        ),
        runner=runner,
        telemetry=Telemetry(monitor, spool),
        logs=LogShipper(),
        caps=CapShipper(keeper),
        handovers=Handovers(state_dir / "handovers.json"),
        clock=clock,
        reconnect_s=config.reconnect_s,
        trust=trust,
    )
    preparer = Preparer(
        held=held,
        config=config,
        state_dir=state_dir,
        launcher=launcher,
        inventory=here,
        fetch_bundle=link.fetch_bundle,
        running=lambda: {job_id for job_id, _ in runner.leases()},
        node_id=own.name.id,
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
    fetcher = Fetcher(
        store=vault.store,
        config=config.transfer,
        reserve_bytes=config.store.reserve_bytes,
        clock=clock,
        ends=lambda: Ends(own.name, tls.client_context(keyring.current), trust.verify_ticket, trust.admit),
        on_progress=_Progress(asyncio.get_running_loop(), session, clock),
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
    capping = Capping(keeper)
    executor = Executor(
        journal=Journal(state_dir / "commands"),
        running=running,
        moving=moving,
        capping=capping,
        clock=clock,
        send=session.send_result,
    )
    session.use(executor)
    known = inventory.collect(config, devices, _advertised(config), state_dir)
    loop = asyncio.get_running_loop()
    scrub = Scrub(
        vault,
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

    renewal = Renewal(keyring, link.renew, renewed, clock)
    return Agent(spool, keeper, monitor, server, runner, executor, capping, link, session, renewal, scrub)


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


class _Progress:
    """Transfer progress from its thread to the session, a few times a second."""

    def __init__(self, loop: asyncio.AbstractEventLoop, session: Session, clock: Clock) -> None:
        self._loop = loop
        self._session = session
        self._clock = clock
        self._last_s = 0.0

    def __call__(self, command: Command, progress: Progress) -> None:
        now_s = self._clock.monotonic_s()
        if now_s - self._last_s < PROGRESS_INTERVAL_S:
            return
        self._last_s = now_s
        message = pb.PullProgress(
            migration_id=command.migration_id,
            job_id=command.job_id,
            done_bytes=progress.done_bytes,
            total_bytes=progress.total_bytes,
            wire_bytes=progress.wire_bytes,
            rate_bytes_per_s=progress.rate_bytes_per_s,
            left_s=progress.left_s if progress.left_s is not None else float("inf"),
        )
        self._loop.call_soon_threadsafe(self._session.send_progress, message)


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
