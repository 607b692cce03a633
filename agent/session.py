"""The session with the coordinator: hello, then messages both ways until it breaks, then again.

Everything that must not be lost lies on disk (results in the journal, energy in the spool, output in log files, runs in
their folders); the session only carries it and may break at any point.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import grpc.aio

from heliotrope.foundation import wire
from heliotrope.foundation.clock import Clock, boot_id
from heliotrope.foundation.errors import HeliotropeError, Unreachable
from heliotrope.foundation.model import CommandResult, Inventory, JobReport, LogStream, Versions
from heliotrope.foundation.revocation import Revocation
from heliotrope.v1 import common_pb2
from heliotrope.v1 import fleet_pb2 as pb

from . import orders
from .capship import CapShipper
from .executor import Executor
from .handovers import Handovers
from .jobs.runs import Run
from .link import Link
from .logship import LogShipper
from .runner import Runner
from .telemetry import Telemetry
from .trust import Trust

log = logging.getLogger("heliotrope.agent.session")

RECONNECT_LIMIT_S = 30.0
LEASE_ANSWER_S = 30.0
SHIP_INTERVAL_S = 0.3
WELCOME_S = 20.0
# As the coordinator counts (coordinator/server/fleet.py): every heartbeat is answered, so silence is a cut, also one
# that lets the connection look open from here.
SILENT_INTERVALS = 4
SILENT_LEAST_S = 6.0


@dataclass(frozen=True)
class Greeting:
    """What the hello says besides the jobs; ``inventory`` is collected anew for each."""

    versions: Versions
    site: str
    instance_id: str
    inventory: Callable[[], Inventory]


class Session:
    """Keeps a session open; one at a time."""

    def __init__(
        self,
        *,
        link: Link,
        greeting: Greeting,
        runner: Runner,
        telemetry: Telemetry,
        logs: LogShipper,
        caps: CapShipper,
        handovers: Handovers,
        clock: Clock,
        reconnect_s: float,
        trust: Trust,
    ) -> None:
        self._link = link
        self._greeting = greeting
        self._runner = runner
        self._telemetry = telemetry
        self._logs = logs
        self._caps = caps
        self._handovers = handovers
        self._clock = clock
        self._reconnect_s = reconnect_s
        self._trust = trust
        self._executor: Executor | None = None
        self._outgoing: asyncio.Queue[pb.AgentMessage | None] | None = None
        self._heartbeat_id = 0
        self._sent_at_s: dict[int, float] = {}
        self._grants: dict[tuple[str, int], asyncio.Future[float]] = {}
        self.connected = False
        self.heard_s: float | None = None  # of the coordinator's newest message, on the monotonic clock
        self._moving_on = False
        self._hurry = asyncio.Event()

    def use(self, executor: Executor) -> None:
        """The executor sends through the session and takes from it: one of the two must come first."""
        self._executor = executor

    async def run(self) -> None:
        """For ever: connect, serve, back off."""
        back_off_s = self._reconnect_s
        while True:
            begun_s = self._clock.monotonic_s()
            try:
                await self._serve()
                if self._moving_on:
                    log.info("opening the session again, with the new identity")
                    continue
                log.warning("the coordinator closed the session")
            except grpc.aio.AioRpcError as error:
                log.warning("no session with %s: %s", self._link.address, error.details())
            except Unreachable as error:
                log.warning("no session with %s: %s", self._link.address, error)
                await self._link.reconnect()
            except HeliotropeError as error:
                log.error("no session with %s: %s", self._link.address, error)
            finally:
                self._leave()
            if self._clock.monotonic_s() - begun_s > RECONNECT_LIMIT_S:
                back_off_s = self._reconnect_s
            await self._back_off(back_off_s)
            back_off_s = min(back_off_s * 1.5, RECONNECT_LIMIT_S)

    def reopen(self) -> None:
        """End the stream in good order and open another at once: the link has a new identity to show."""
        self._hurry.set()
        if self._outgoing is not None:
            self._outgoing.put_nowait(None)
            self._outgoing, self._moving_on = None, True

    # -- what the other parts send

    def send_result(self, result: CommandResult) -> None:
        """Lost without a session: the journal has it, and the next session sends it."""
        self._send(pb.AgentMessage(command_result=wire.to_message(result, pb.CommandResult)))

    def send_report(self, report: JobReport) -> None:
        """The output first: whoever sees that a run ended then sees its last words."""
        for _, run in self._runner.running_folders():
            if run.request.job_id == report.job_id and not report.state.alive:
                self._ship_log(run)
        self._send(pb.AgentMessage(job_report=wire.to_message(report, pb.JobReport)))

    def send_progress(self, progress: pb.PullProgress) -> None:
        self._send(pb.AgentMessage(pull_progress=progress))

    async def ask_lease(self, job_id: str, epoch: int) -> float:
        """The boot time at which a granted renewal was sent. Raises Unreachable without an answer or a grant."""
        future = self._grants.setdefault((job_id, epoch), asyncio.get_running_loop().create_future())
        self._heartbeat()
        try:
            return await asyncio.wait_for(asyncio.shield(future), LEASE_ANSWER_S)
        except TimeoutError as error:
            raise Unreachable(f"cannot start job {job_id}: the coordinator did not grant its lease") from error
        finally:
            self._grants.pop((job_id, epoch), None)

    async def _back_off(self, wait_s: float) -> None:
        """Cut short by a new identity: with that one the coordinator may answer otherwise."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._hurry.wait(), wait_s)

    # -- one session

    async def _serve(self) -> None:
        self._moving_on = False
        self._hurry.clear()
        outgoing: asyncio.Queue[pb.AgentMessage | None] = asyncio.Queue()
        try:
            await self._converse(outgoing)
        finally:
            outgoing.put_nowait(None)  # lets go of what feeds the stream, also when it was refused

    async def _converse(self, outgoing: asyncio.Queue[pb.AgentMessage | None]) -> None:
        call = self._link.stub.Session(_drain(outgoing))
        outgoing.put_nowait(pb.AgentMessage(hello=self._hello()))
        first = await _within(WELCOME_S, call)
        if first is grpc.aio.EOF or first.WhichOneof("kind") != "welcome":
            raise Unreachable("the coordinator did not answer the hello; it is tried again")
        welcome = first.welcome
        self._trust.learn_signers([welcome.coordinator_certificate_pem])
        self._handovers.learn(welcome.handover_count)
        if self._hurry.is_set():  # the identity changed since this stream was dialled: not to be used any more
            self._moving_on = True
            call.cancel()
            return
        self._outgoing, self.connected = outgoing, True
        log.info("session with %s open", self._link.address)
        self._telemetry.restart(welcome.spool_acknowledged)
        self._logs.restart()
        self._caps.restart()
        assert self._executor is not None
        self._executor.resend()
        interval_s = max(welcome.heartbeat_interval.ToMilliseconds() / 1000, 0.1)
        tasks = [asyncio.create_task(self._beat(interval_s)), asyncio.create_task(self._ship())]
        try:
            silence_s = max(SILENT_INTERVALS * interval_s, SILENT_LEAST_S)
            while (message := await _within(silence_s, call)) is not grpc.aio.EOF:
                self.heard_s = self._clock.monotonic_s()
                await self._take(message)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            call.cancel()

    def _leave(self) -> None:
        self._outgoing, self.connected = None, False
        self._sent_at_s.clear()

    def _hello(self) -> pb.Hello:
        greeting = self._greeting
        hello = pb.Hello(
            versions=wire.to_message(greeting.versions, common_pb2.Versions),
            site=greeting.site,
            boot_id=boot_id(),
            instance_id=greeting.instance_id,
            inventory=wire.to_message(greeting.inventory(), pb.Inventory),
            jobs=[wire.to_message(report, pb.JobReport) for report in self._runner.reports()],
            spool_id=self._telemetry.spool_id,
            spool_acknowledged=self._telemetry.acknowledged,
            handover_count=self._handovers.count,
            boottime_s=self._clock.boottime_s(),
        )
        hello.utc.FromDatetime(self._clock.utc())
        return hello

    async def _take(self, message: pb.CoordinatorMessage) -> None:
        kind = message.WhichOneof("kind")
        if kind == "command":
            assert self._executor is not None
            with contextlib.suppress(asyncio.InvalidStateError):
                self._executor.take(orders.from_wire(message.command))
        elif kind == "lease_grant":
            await self._granted(message.lease_grant)
        elif kind == "acknowledgement":
            self._acknowledged(message.acknowledgement)
        elif kind == "trust":
            self._trusted(message.trust)
        elif kind == "probe":
            self._heartbeat()

    def _trusted(self, message: pb.Trust) -> None:
        self._trust.learn_signers(message.coordinator_certificates_pem)
        self._trust.learn_revocations([wire.from_message(entry, Revocation) for entry in message.revocations])

    async def _granted(self, grant: pb.LeaseGrant) -> None:
        self._handovers.learn(grant.handover_count)
        sent_s = self._sent_at_s.pop(grant.heartbeat_id, None)
        if sent_s is None:
            return
        for lease in grant.granted:
            waiting = self._grants.get((lease.job_id, lease.epoch))
            if waiting is not None and not waiting.done():
                waiting.set_result(sent_s)
            await self._runner.renew(lease.job_id, lease.epoch, sent_s)
        for lease in grant.refused:
            log.warning("job %s: its lease of epoch %d was refused; stopping it", lease.job_id, lease.epoch)
            await self._runner.fence(lease.job_id, lease.epoch, grace_s=0.0)

    def _acknowledged(self, acknowledgement: pb.Acknowledgement) -> None:
        assert self._executor is not None
        if acknowledgement.command_id:
            self._executor.acknowledged(acknowledgement.command_id)
        if acknowledgement.spool_sequence:
            self._telemetry.acknowledge(acknowledgement.spool_sequence)
        if acknowledgement.power_cap_event_id:
            self._caps.acknowledge(acknowledgement.power_cap_event_id)
        if acknowledgement.HasField("log_position"):
            place = acknowledgement.log_position
            stream = LogStream(common_pb2.LogStream.Name(place.stream).removeprefix("LOG_STREAM_"))
            self._logs.acknowledge((place.job_id, place.epoch, place.attempt, stream), place.bytes)

    async def _beat(self, interval_s: float) -> None:
        while True:
            self._heartbeat()
            await asyncio.sleep(interval_s)

    def _heartbeat(self) -> None:
        """Leases that are held, and those that are waited for: their first asking may have gone down with a session."""
        self._heartbeat_id += 1
        power = self._telemetry.current()
        heartbeat = pb.Heartbeat(
            heartbeat_id=self._heartbeat_id,
            leases=[pb.Lease(job_id=job_id, epoch=epoch) for job_id, epoch in {*self._runner.leases(), *self._grants}],
            power_w=power.total_w if power.device_w else None,
            power_estimated=power.is_estimated,
            job_power_w=power.job_w,
            disk_free_bytes=self._greeting.inventory().disk_free_bytes,
            power_caps=[wire.to_message(cap, common_pb2.PowerCap) for cap in self._caps.active()],
        )
        self._sent_at_s[self._heartbeat_id] = self._clock.boottime_s()
        self._send(pb.AgentMessage(heartbeat=heartbeat))

    async def _ship(self) -> None:
        """Energy and output, as they come and as they are acknowledged."""
        while True:
            for batch in self._telemetry.pieces():
                self._send(pb.AgentMessage(energy_batch=batch))
            for event in self._caps.pieces():
                self._send(pb.AgentMessage(power_cap_event=wire.to_message(event, common_pb2.PowerCapEvent)))
            for _, run in self._runner.running_folders():
                self._ship_log(run)
            await asyncio.sleep(SHIP_INTERVAL_S)

    def _ship_log(self, run: Run) -> None:
        for piece in self._logs.pieces(run):
            self._send(pb.AgentMessage(log_piece=wire.to_message(piece, pb.LogPiece)))

    def _send(self, message: pb.AgentMessage) -> None:
        if self._outgoing is not None:
            self._outgoing.put_nowait(message)


async def _within(limit_s: float, call: Any) -> Any:
    """The next message of the stream. Raises Unreachable when none comes in time."""
    try:
        return await asyncio.wait_for(call.read(), limit_s)
    except TimeoutError as error:
        call.cancel()
        raise Unreachable(f"nothing came for {limit_s:.0f} s; the connection is made anew") from error


async def _drain(queue: asyncio.Queue[pb.AgentMessage | None]) -> AsyncIterator[pb.AgentMessage]:
    while (message := await queue.get()) is not None:
        yield message
