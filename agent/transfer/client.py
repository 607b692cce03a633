"""The receiving agent's side: pull a checkpoint from another agent to a folder here.

    dial -> manifest -> plan -> { receivers: ask, take } -> { decoders: decode, check, write } -> seal -> read back
    -> rename

A checkpoint is VERIFIED by reading everything back from the files that the job will open and computing the
manifest's digest anew. Digests checked while decoding would cost less (this costs 0.3 core-seconds per GB), but do
not see a chunk written to the wrong place, a folder's wrong mode, or another process writing there.
"""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable
from pathlib import Path

from heliotrope.agent.checkpoints.reader import CheckpointReader
from heliotrope.agent.checkpoints.store import ChunkStore
from heliotrope.foundation.clock import Clock, SystemClock
from heliotrope.foundation.identity import Name

from .dialler import Dialler
from .handshake import Address, Admit, VerifyTicket, anyone
from .pulling import Pull
from .result import OnProgress, PullOptions, PullResult

_SYSTEM_CLOCK = SystemClock()


def pull(
    address: Address,
    context: ssl.SSLContext,
    *,
    name: Name,
    ticket: bytes | Callable[[], bytes],
    verify_ticket: VerifyTicket,
    reference: str,
    destination: Path,
    store: ChunkStore | None = None,
    base: CheckpointReader | None = None,
    options: PullOptions | None = None,
    cancel: threading.Event | None = None,
    on_progress: OnProgress | None = None,
    admit: Admit = anyone,
    clock: Clock = _SYSTEM_CLOCK,
) -> PullResult:
    """Fetch the checkpoint ``reference`` from the agent at ``address`` to ``destination``; returns when it is there,
    verified.

    ``name``: this node's; ``ticket``: the move's, or a function that gives the newest; ``base``: an older checkpoint
    held here, for deltas and for chunks that did not change; ``store``: other bytes held here; ``admit`` refuses a
    revoked source, also while it sends. A destination that is
    this very checkpoint is success; a cut or cancelled pull goes on where it was when called again.

    Raises Denied (ticket, certificates), Unreachable (nothing came for ``give_up_s``), OutOfSpace (the partial
    folder is removed), Conflict (cancelled; another transfer or another checkpoint is at the destination), Corrupt,
    NotFound (the source's word).
    """
    cancel = cancel or threading.Event()
    options = options or PullOptions()
    tickets = ticket if callable(ticket) else lambda: ticket
    dialler = Dialler(
        address,
        context,
        name=name,
        ticket=tickets,
        verify_ticket=verify_ticket,
        options=options,
        cancel=cancel,
        clock=clock,
        admit=admit,
    )
    return Pull(
        dialler,
        reference,
        destination,
        store=store,
        base=base,
        options=options,
        cancel=cancel,
        on_progress=on_progress,
        clock=clock,
    ).run()
