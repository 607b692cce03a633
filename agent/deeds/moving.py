"""Deeds on files and checkpoints: prepare, pull, release, send outputs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace

from heliotrope.foundation.clock import Clock
from heliotrope.foundation.errors import HeliotropeError
from heliotrope.foundation.model import CommandResult, PullReport, RunState

from ..checkpoints.damage import reference_name
from ..held import HeldJobs
from ..luggage import Luggage
from ..orders import Command, Prepare, Pull, Release, Repair, SendOutputs
from ..outputs import archive
from ..runner import Runner
from ..transfer.result import PullResult
from ..vault import Vault
from .fetching import Fetcher
from .preparing import Preparer

log = logging.getLogger("heliotrope.agent.moving")

NO_PEER = "no connected node holds this checkpoint whole: bring one back that does, or let the job write a new one"

# Received checkpoints that stay: the one to start from and the one before it, which deltas are made against.
RECEIVED_KEPT = 2


class Moving:
    """See the messages of these names in fleet.proto."""

    def __init__(
        self,
        *,
        held: HeldJobs,
        vault: Vault,
        runner: Runner,
        preparer: Preparer,
        fetcher: Fetcher,
        clock: Clock,
        relay: Callable[[str, AsyncIterator[bytes]], Awaitable[None]],
        luggage: Luggage,
    ) -> None:
        self._held = held
        self._vault = vault
        self._runner = runner
        self._preparer = preparer
        self._fetcher = fetcher
        self._clock = clock
        self._relay = relay
        self._luggage = luggage

    async def prepare(self, command: Command, order: Prepare) -> CommandResult:
        self._preparer.check_devices(order.spec, order.fingerprint)
        self._preparer.check_room(order.disk_bytes + 2 * order.bundle.size_bytes, order.spec.resources.memory_bytes)
        if order.source_addresses:
            await self._fetcher.reach(order)
        await self._preparer.ensure(command.job_id, order.spec, order.bundle)
        return self._done(command)

    async def pull(self, command: Command, order: Pull) -> CommandResult:
        """The checkpoint, then the outputs if the order names some; what is here already is not fetched again."""
        result = await self._pull_checkpoint(command, order)
        if order.outputs is not None and not self._luggage.has(command.job_id, order.outputs):
            incoming = self._luggage.incoming(command.job_id)
            owner = self._preparer.owner_of(command.job_id)
            brought = await self._fetcher.fetch(command, order, order.outputs, incoming, base=None, owner=owner)
            await asyncio.to_thread(self._luggage.put, command.job_id, order.outputs)
            result = brought if result is None else _together(result, brought)
        return self._done(command, order, result)

    async def _pull_checkpoint(self, command: Command, order: Pull) -> PullResult | None:
        checkpoint = order.checkpoint
        if self._vault.find(command.job_id, checkpoint) is not None:
            return None
        if self._vault.is_damaged(command.job_id, checkpoint):
            await self._mend(command, order)
            return None
        if order.replica and order.spec is not None:
            self._preparer.admit(command.job_id, order.spec)
        target = self._held.received(command.job_id, checkpoint.epoch, checkpoint.sequence)
        base = self._vault.newest_reader(command.job_id)
        owner = self._preparer.owner_of(command.job_id)
        result = await self._fetcher.fetch(command, order, checkpoint, target, base=base, owner=owner)
        await asyncio.to_thread(self._vault.adopt, command.job_id, checkpoint, target, result.manifest)
        self._vault.prune(command.job_id, RECEIVED_KEPT, spare=(checkpoint.key,))
        if order.replica:
            self._runner.tell(command.job_id)  # what it replaces is gone; no run of the job here would say so
        return result

    async def repair(self, command: Command, order: Repair) -> CommandResult:
        """What came of it also stays beside the damage, for who asks this node."""
        checkpoint = order.checkpoint
        if not self._vault.is_damaged(command.job_id, checkpoint):
            return self._done(command)
        name = reference_name(command.job_id, checkpoint.epoch, checkpoint.sequence)
        if not order.source_node:
            self._vault.damage.note(name, NO_PEER)
            return self._done(command)
        try:
            await self._mend(command, order)
        except HeliotropeError as error:
            self._vault.damage.note(name, f"could not be mended from {order.source_node}: {error}")
            raise
        return self._done(command)

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

    async def _mend(self, command: Command, order: Pull | Repair) -> None:
        """Beside the damaged copy a whole one grows, of its own good chunks and the peer's; then it takes its place."""
        checkpoint = order.checkpoint
        place = self._held.received(command.job_id, checkpoint.epoch, checkpoint.sequence)
        target = place.with_name(f"{place.name}.mended")
        owner = self._preparer.owner_of(command.job_id)
        result = await self._fetcher.fetch(command, order, checkpoint, target, base=None, owner=owner)
        await asyncio.to_thread(self._vault.mend, command.job_id, checkpoint, target, result.manifest)
        log.info(
            "job %s: checkpoint %d.%d mended from %s, %d bytes fetched",
            command.job_id,
            checkpoint.epoch,
            checkpoint.sequence,
            order.source_node,
            result.fetched_bytes,
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
