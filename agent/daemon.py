"""The agent process: ``wire_up`` builds everything in order, ``serve`` is its one loop."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
import secrets
import signal
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from pathlib import Path

import msgspec

from heliotrope.foundation import failpoints, identity, tls
from heliotrope.foundation.clock import Clock, SystemClock
from heliotrope.foundation.errors import Conflict, Denied, InvalidInput, NotFound, Unreachable
from heliotrope.foundation.identity import Identity, Role
from heliotrope.foundation.model import Inventory, Versions
from heliotrope.foundation.sdnotify import Notifier
from heliotrope.foundation.tickets import Ticket, TicketVerifier
from heliotrope.native import CODEC_VERSIONS, FRAME_VERSION
from heliotrope.v1 import fleet_pb2 as pb

from . import gpus, inventory
from .checkpoints.pins import Pins
from .checkpoints.registry import CheckpointRegister
from .checkpoints.store import ChunkStore
from .config import AgentConfig
from .deeds.moving import Ends, Moving
from .deeds.preparing import Preparer
from .deeds.running import Running
from .executor import Executor
from .held import HeldJobs
from .jobs import pythonpath, systemd_launcher
from .journal import Journal
from .link import Link
from .logship import LogShipper
from .luggage import Luggage
from .orders import Command
from .power.monitor import PowerMonitor
from .runner import Runner
from .session import Greeting, Session
from .spool import Spool, SpoolConfig
from .telemetry import Telemetry
from .transfer.handshake import Address
from .transfer.result import Progress
from .transfer.server import ServerOptions, TransferServer
from .vault import Lent, Vault

log = logging.getLogger("heliotrope.agent")

PROTOCOL_VERSIONS = (1,)
PROGRESS_INTERVAL_S = 0.25


@dataclass
class Agent:
    """The parts that are started and stopped, in this order and the reverse."""

    spool: Spool
    monitor: PowerMonitor
    server: TransferServer
    runner: Runner
    executor: Executor
    link: Link
    session: Session


class Signer:
    """The coordinator's certificate, for checking tickets; known once a session was opened."""

    def __init__(self, own: Identity) -> None:
        self._own = own
        self._verifier: TicketVerifier | None = None

    def learn(self, welcome: pb.Welcome) -> None:
        """Raises Denied when the certificate is not a coordinator's of this fleet."""
        self._verifier = TicketVerifier(self._own.ca_pem, welcome.coordinator_certificate_pem)

    def __call__(self, blob: bytes) -> Ticket:
        if self._verifier is None:
            raise Unreachable("cannot check a ticket: this agent has not met its coordinator yet; it is tried again")
        return self._verifier(blob)


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
        stopping = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stopping.set)
        session = asyncio.create_task(agent.session.run())
        notifier.ready(f"transfers on port {agent.server.address[1]}")
        log.info("agent ready, transfers on port %d", agent.server.address[1])
        interval_s = (notifier.watchdog_interval_s or 20.0) / 2
        while not stopping.is_set() and not session.done():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stopping.wait(), interval_s)
            notifier.watchdog()
        notifier.stopping()
        await close(agent, session)


async def close(agent: Agent, session: asyncio.Task[None]) -> None:
    """In reverse order; a defect that ended the session comes out here."""
    session.cancel()
    await agent.executor.close()
    await agent.link.close()
    await agent.runner.close()
    await asyncio.to_thread(agent.server.stop)
    await asyncio.to_thread(agent.monitor.stop)
    agent.spool.close()
    with contextlib.suppress(asyncio.CancelledError):
        await session


@contextlib.contextmanager
def only_one(state_dir: Path) -> Iterator[None]:
    """Two agents over one state would start every job twice. Raises Conflict."""
    handle = os.open(state_dir / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(handle)
        raise Conflict(f"cannot start the agent: another one uses {state_dir}; stop it first") from error
    try:
        yield
    finally:
        os.close(handle)


def wire_up(config: AgentConfig, folder: Path, state_dir: Path, clock: Clock) -> Agent:
    """Everything, in the order in which each part needs the ones before it."""
    own = identity.load(folder / config.identity)
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
    signer = Signer(own)
    server = TransferServer(
        tls.server_context(own),
        _listen(config.transfer.listen),
        name=own.name,
        verify_ticket=signer,
        open_source=partial(_open_source, vault, luggage),
        open_base=vault.open_base,
        options=ServerOptions(
            memory_bytes=int(config.transfer.memory_bytes), rate=config.transfer.rate_limit_bytes_per_s or None
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
        clock=clock,
        reconnect_s=config.reconnect_s,
        on_welcome=signer.learn,
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
    moving = Moving(
        held=held,
        vault=vault,
        runner=runner,
        preparer=preparer,
        config=config.transfer,
        reserve_bytes=config.store.reserve_bytes,
        clock=clock,
        ends=lambda: Ends(own.name, tls.client_context(own), signer),
        on_progress=_Progress(asyncio.get_running_loop(), session, clock),
        relay=link.relay,
        luggage=luggage,
    )
    executor = Executor(
        journal=Journal(state_dir / "commands"), running=running, moving=moving, clock=clock, send=session.send_result
    )
    session.use(executor)
    known = inventory.collect(config, devices, _advertised(config), state_dir)
    return Agent(spool, monitor, server, runner, executor, link, session)


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
