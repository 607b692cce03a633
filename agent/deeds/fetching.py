"""Checkpoints from another node: dialled at the addresses that the order names, fetched by the transfer core."""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from heliotrope.foundation import failpoints
from heliotrope.foundation.clock import Clock
from heliotrope.foundation.errors import Corrupt, HeliotropeError, Unreachable
from heliotrope.foundation.identity import Name
from heliotrope.foundation.model import Checkpoint
from heliotrope.foundation.tickets import Ticket

from ..checkpoints.reader import CheckpointReader
from ..checkpoints.restore import Owner
from ..checkpoints.store import ChunkStore
from ..config import TransferConfig
from ..orders import Command, Prepare, Pull, Repair
from ..transfer.budget import Limiter
from ..transfer.client import pull
from ..transfer.dialler import Dialler
from ..transfer.handshake import Address, Admit
from ..transfer.result import Progress, PullOptions, PullResult
from ..transfer.traffic import Pulling, Traffic

failpoints.register("agent.pull.transferring")


@dataclass(frozen=True)
class Ends:
    """What a transfer needs of this node."""

    name: Name
    context: ssl.SSLContext
    verify_ticket: Callable[[bytes], Ticket]
    admit: Admit


@dataclass(frozen=True)
class Wanted:
    """A checkpoint, or what travels like one: the manifest's digest, and where it is to lie, whose."""

    digest: bytes
    target: Path
    base: CheckpointReader | None
    owner: Owner | None


class Fetcher:
    """Fetches for one node; all that it receives shares one rate limit."""

    def __init__(
        self,
        *,
        store: ChunkStore | None,
        config: TransferConfig,
        reserve_bytes: int,
        clock: Clock,
        ends: Callable[[], Ends],
        on_progress: Callable[[Command, Progress], None],
        traffic: Traffic | None = None,
    ) -> None:
        self._store = store
        self._config = config
        self._reserve_bytes = reserve_bytes
        self._clock = clock
        self._ends = ends
        self._on_progress = on_progress
        self._traffic = traffic or Traffic()
        self._limiter = Limiter(config.rates().rate(clock), clock)

    async def fetch(
        self,
        command: Command,
        order: Pull | Repair,
        checkpoint: Checkpoint,
        target: Path,
        *,
        base: CheckpointReader | None,
        owner: Owner | None,
    ) -> PullResult:
        """``checkpoint``, one that the order names, at ``target``, verified to be the one announced.

        Raises Corrupt when it is another, Unreachable when no address of the source answers, and what ``pull`` raises.
        """
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o755)

        def work(cancel: threading.Event) -> PullResult:
            wanted = Wanted(checkpoint.manifest_digest, target, base, owner)
            with self._traffic.pull(command.job_id) as pulling:
                pulling.result = self._from_any(command, order, wanted, cancel, pulling)
                return pulling.result

        result = await _in_thread(work)
        if result.manifest_digest != checkpoint.manifest_digest:
            raise Corrupt(
                f"cannot take the checkpoint: its manifest is {result.manifest_digest.hex()[:16]}, announced was "
                f"{checkpoint.manifest_digest.hex()[:16]}; the move is given up"
            )
        return result

    async def reach(self, order: Prepare) -> None:
        """The two agents meet: TLS, names and ticket, over the address that a pull would use. Raises Unreachable."""
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
            admit=ends.admit,
        )
        dialler().close()

    def _from_any(
        self,
        command: Command,
        order: Pull | Repair,
        wanted: Wanted,
        cancel: threading.Event,
        pulling: Pulling,
    ) -> PullResult:
        last: HeliotropeError = Unreachable(f"node {order.source_node} advertises no address; set transfer.advertise")
        for address in order.source_addresses:
            try:
                return self._from(address, command, order, wanted, cancel, pulling)
            except Unreachable as error:
                last = error
        raise last

    def _from(
        self,
        address: str,
        command: Command,
        order: Pull | Repair,
        wanted: Wanted,
        cancel: threading.Event,
        pulling: Pulling,
    ) -> PullResult:
        ends = self._ends()

        def progressed(progress: Progress) -> None:
            pulling.advance(progress)
            if progress.done_bytes:
                failpoints.hit("agent.pull.transferring")
            if command.migration_id:  # the live view shows migrations
                self._on_progress(command, progress)

        return pull(
            _address(address),
            ends.context,
            name=ends.name,
            ticket=order.ticket,
            verify_ticket=ends.verify_ticket,
            reference=wanted.digest.hex(),
            destination=wanted.target,
            store=self._store,
            base=wanted.base,
            options=PullOptions(
                connections=self._config.connections or None,
                memory_bytes=int(self._config.memory_bytes),
                reserve_bytes=self._reserve_bytes,
                give_up_s=self._config.give_up_s,
                limiter=self._limiter_of(order),
                owner=wanted.owner,
            ),
            cancel=cancel,
            on_progress=progressed,
            admit=ends.admit,
            clock=self._clock,
        )

    def _limiter_of(self, order: Pull | Repair) -> Limiter | None:
        """The node's; none for a job that stands, where both ends say so; below it the order's own."""
        if isinstance(order, Repair):
            return self._limiter
        shared = None if self._config.standstill_exempt and order.standstill else self._limiter
        if not order.rate_limit_bytes_per_s:
            return shared
        return Limiter(float(order.rate_limit_bytes_per_s), self._clock, shared)


async def _in_thread(work: Callable[[threading.Event], PullResult]) -> PullResult:
    """``work`` in a thread; a cancelled task is over only when the thread is, so that the next may begin at once."""
    cancel = threading.Event()
    running = asyncio.ensure_future(asyncio.to_thread(work, cancel))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        cancel.set()
        await asyncio.gather(running, return_exceptions=True)
        raise


def _address(text: str) -> Address:
    host, _, port = text.rpartition(":")
    return host.strip("[]"), int(port)
