"""Deeds on files and checkpoints: prepare, pull, release, send outputs."""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path

from heliotrope.foundation import failpoints
from heliotrope.foundation.clock import Clock
from heliotrope.foundation.errors import Corrupt, HeliotropeError, Unreachable
from heliotrope.foundation.identity import Name
from heliotrope.foundation.model import Checkpoint, CommandResult, PullReport, RunState
from heliotrope.foundation.tickets import Ticket

from ..config import TransferConfig
from ..held import HeldJobs
from ..luggage import Luggage
from ..orders import Command, Prepare, Pull, Release, SendOutputs
from ..outputs import archive
from ..runner import Runner
from ..transfer.client import pull
from ..transfer.dialler import Dialler
from ..transfer.handshake import Address
from ..transfer.result import Progress, PullOptions, PullResult
from ..vault import Vault
from .preparing import Preparer

failpoints.register("agent.pull.transferring")

# Received checkpoints that stay: the one to start from and the one before it, which deltas are made against.
RECEIVED_KEPT = 2


@dataclass(frozen=True)
class Ends:
    """What a transfer needs of this node."""

    name: Name
    context: ssl.SSLContext
    verify_ticket: Callable[[bytes], Ticket]


class Moving:
    """See the messages of these names in fleet.proto."""

    def __init__(
        self,
        *,
        held: HeldJobs,
        vault: Vault,
        runner: Runner,
        preparer: Preparer,
        config: TransferConfig,
        reserve_bytes: int,
        clock: Clock,
        ends: Callable[[], Ends],
        on_progress: Callable[[Command, Progress], None],
        relay: Callable[[str, AsyncIterator[bytes]], Awaitable[None]],
        luggage: Luggage,
    ) -> None:
        self._held = held
        self._vault = vault
        self._runner = runner
        self._preparer = preparer
        self._config = config
        self._reserve_bytes = reserve_bytes
        self._clock = clock
        self._ends = ends
        self._on_progress = on_progress
        self._relay = relay
        self._luggage = luggage

    async def prepare(self, command: Command, order: Prepare) -> CommandResult:
        self._preparer.check_devices(order.spec, order.fingerprint)
        self._preparer.check_room(order.disk_bytes + 2 * order.bundle.size_bytes, order.spec.resources.memory_bytes)
        if order.source_addresses:
            await self._reach(order)
        await self._preparer.ensure(command.job_id, order.spec, order.bundle)
        return self._done(command)

    async def pull(self, command: Command, order: Pull) -> CommandResult:
        """The checkpoint, then the outputs if the order names some; what is here already is not fetched again."""
        result = await self._pull_checkpoint(command, order)
        if order.outputs is not None and not self._luggage.has(command.job_id, order.outputs):
            incoming = self._luggage.incoming(command.job_id)
            brought = await self._pull_tree(command, order, order.outputs, incoming)
            await asyncio.to_thread(self._luggage.put, command.job_id, order.outputs)
            result = brought if result is None else _together(result, brought)
        return self._done(command, order, result)

    async def _pull_checkpoint(self, command: Command, order: Pull) -> PullResult | None:
        checkpoint = order.checkpoint
        if self._vault.find(command.job_id, checkpoint) is not None:
            return None
        target = self._held.received(command.job_id, checkpoint.epoch, checkpoint.sequence)
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
        result = await self._pull_tree(command, order, checkpoint, target)
        await asyncio.to_thread(self._vault.adopt, command.job_id, checkpoint, target, result.manifest)
        self._vault.prune(command.job_id, RECEIVED_KEPT, spare=(checkpoint.key,))
        return result

    async def _pull_tree(self, command: Command, order: Pull, wanted: Checkpoint, target: Path) -> PullResult:
        cancel = threading.Event()
        try:
            result = await asyncio.to_thread(self._pull_from_any, command, order, wanted, target, cancel)
        except asyncio.CancelledError:
            cancel.set()
            raise
        if result.manifest_digest != wanted.manifest_digest:
            raise Corrupt(
                f"cannot take the checkpoint: its manifest is {result.manifest_digest.hex()[:16]}, announced was "
                f"{wanted.manifest_digest.hex()[:16]}; the move is given up"
            )
        return result

    async def release(self, command: Command, _order: Release) -> CommandResult:
        """Delete the job here, unless a newer epoch made this node its holder again."""
        held = self._held.find(command.job_id)
        if held is None or held.epoch > command.epoch:
            return self._done(command)
        await self._runner.fence(command.job_id, command.epoch, grace_s=0.0)
        self._runner.forget(command.job_id)
        await asyncio.to_thread(self._vault.forget_job, command.job_id)
        await asyncio.to_thread(self._luggage.forget_job, command.job_id)
        await asyncio.to_thread(self._held.remove, command.job_id)
        return self._done(command)

    async def send_outputs(self, command: Command, order: SendOutputs) -> CommandResult:
        async def pieces() -> AsyncIterator[bytes]:
            # In here, so that also "the job was released" reaches whoever waits at the other end.
            held = self._held.get(command.job_id)
            async for piece in archive(self._held.work(command.job_id), order.paths or held.spec.outputs):
                yield piece

        await self._relay(order.relay_id, pieces())
        return self._done(command)

    # -- inside

    async def _reach(self, order: Prepare) -> None:
        """The two agents meet: TLS, names and ticket, over the address that a pull would use."""
        complaints = []
        for address in order.source_addresses:
            try:
                await asyncio.to_thread(self._greet, _address(address), order.ticket)
            except Unreachable as error:
                complaints.append(str(error))
            else:
                return
        raise Unreachable(f"cannot reach the source {order.source_node}: " + "; ".join(complaints))

    def _greet(self, address: Address, ticket: bytes) -> None:
        ends = self._ends()
        dialler = Dialler(
            address,
            ends.context,
            name=ends.name,
            ticket=lambda: ticket,
            verify_ticket=ends.verify_ticket,
            options=PullOptions(),
            cancel=threading.Event(),
            clock=self._clock,
        )
        dialler().close()

    def _pull_from_any(
        self, command: Command, order: Pull, wanted: Checkpoint, target: Path, cancel: threading.Event
    ) -> PullResult:
        last: HeliotropeError = Unreachable(f"node {order.source_node} advertises no address; set transfer.advertise")
        for address in order.source_addresses:
            try:
                return self._pull_from(address, command, order, wanted, target, cancel)
            except Unreachable as error:
                last = error
        raise last

    def _pull_from(
        self, address: str, command: Command, order: Pull, wanted: Checkpoint, target: Path, cancel: threading.Event
    ) -> PullResult:
        ends = self._ends()

        def progressed(progress: Progress) -> None:
            if progress.done_bytes:
                failpoints.hit("agent.pull.transferring")
            self._on_progress(command, progress)

        return pull(
            _address(address),
            ends.context,
            name=ends.name,
            ticket=order.ticket,
            verify_ticket=ends.verify_ticket,
            reference=wanted.manifest_digest.hex(),
            destination=target,
            store=self._vault.store,
            base=self._vault.newest_reader(command.job_id),
            options=PullOptions(
                connections=self._config.connections or None,
                memory_bytes=int(self._config.memory_bytes),
                reserve_bytes=self._reserve_bytes,
                give_up_s=self._config.give_up_s,
                rate=self._config.rate_limit_bytes_per_s or None,
                owner=self._preparer.owner_of(command.job_id),
            ),
            cancel=cancel,
            on_progress=progressed,
            clock=self._clock,
        )

    def _done(self, command: Command, pulled: Pull | None = None, result: PullResult | None = None) -> CommandResult:
        report = None
        if result is not None:
            report = PullReport(
                state_bytes=result.state_bytes,
                wire_bytes=result.wire_bytes,
                reused_bytes=result.reused_bytes,
                duration_s=result.network_s,
                connections=result.connections,
                cuts=result.cuts,
            )
        return CommandResult(
            command_id=command.command_id,
            checkpoint=pulled.checkpoint if pulled else None,
            run_state=RunState.UNSPECIFIED,
            pull=report,
            finished_utc=self._clock.utc(),
        )


def _together(first: PullResult, second: PullResult) -> PullResult:
    """One report of two transfers, one after the other."""
    return replace(
        first,
        state_bytes=first.state_bytes + second.state_bytes,
        wire_bytes=first.wire_bytes + second.wire_bytes,
        reused_bytes=first.reused_bytes + second.reused_bytes,
        network_s=first.network_s + second.network_s,
        cuts=first.cuts + second.cuts,
    )


def _address(text: str) -> Address:
    host, _, port = text.rpartition(":")
    return host.strip("[]"), int(port)
