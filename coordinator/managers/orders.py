"""Orders for agents, built from records; nothing here decides."""

from __future__ import annotations

from heliotrope.foundation.errors import Conflict
from heliotrope.foundation.model import Checkpoint

from ..state import model
from ..state.database import Transaction
from ..state.model import Command, Copy, Job, Migration, Order
from .world import TicketRequest, World, new_id

# A transfer repeats what a cut lost, and frames have headers: what a ticket allows over the state's size.
TICKET_ALLOWANCE_RATIO = 2.0
TICKET_ALLOWANCE_BYTES = 64 * 1024**2


def command(world: World, job: Job, node_id: str, order: Order, **fields: object) -> Command:
    """A new order in the outbox form."""
    made = Command(
        command_id=new_id("c"),
        node_id=node_id,
        job_id=job.job_id,
        epoch=job.epoch,
        order=order,
        created_utc=world.utc(),
    )
    return model.replace(made, **fields)


def prepare(world: World, tx: Transaction, job: Job, migration: Migration, source_node: str) -> model.Prepare:
    """Files, environment, devices, disk and the way to the source."""
    copies = tx.jobs.copies(job.job_id)
    state_bytes = max((copy.checkpoint.state_bytes for copy in copies), default=0)
    fingerprint = job.fingerprint if job.spec.policy.same_fingerprint else ""
    order = model.Prepare(
        spec=job.spec,
        bundle_digest=job.bundle_digest,
        bundle_bytes=job.bundle_bytes,
        # The staged and the final checkpoint, and the job's own next one while those are still there.
        disk_bytes=job.spec.resources.disk_bytes + 3 * state_bytes,
        fingerprint=fingerprint,
    )
    if not source_node or source_node == migration.destination_node:
        return order
    return model.replace(
        order,
        source_addresses=tx.nodes.get(source_node).inventory.transfer_addresses,
        source_node=source_node,
        ticket=ticket(world, job, migration, source_node, state_bytes),
    )


def pull(
    world: World,
    tx: Transaction,
    job: Job,
    migration: Migration,
    checkpoint: Checkpoint,
    source_node: str,
    outputs: Checkpoint | None = None,
) -> model.Pull:
    """Fetch ``checkpoint`` from ``source_node``, and the job's ``outputs`` that lie there."""
    state_bytes = checkpoint.state_bytes + (outputs.state_bytes if outputs else 0)
    return model.Pull(
        checkpoint=checkpoint,
        source_addresses=tx.nodes.get(source_node).inventory.transfer_addresses,
        source_node=source_node,
        ticket=ticket(world, job, migration, source_node, state_bytes),
        standstill=False,
        outputs=outputs,
    )


def start(job: Job, checkpoint: Checkpoint | None, attempt: int = 0) -> model.Start:
    """Run the job from ``checkpoint`` (None: from its beginning)."""
    policy = job.spec.policy
    lease_s = policy.lease_s if policy.disconnect == "stop" else None
    return model.Start(
        spec=job.spec,
        bundle_digest=job.bundle_digest,
        bundle_bytes=job.bundle_bytes,
        checkpoint=checkpoint,
        attempt=attempt,
        lease_s=lease_s,
    )


def ticket(world: World, job: Job, migration: Migration, source_node: str, state_bytes: int) -> bytes:
    """Permission for the destination to read this job's checkpoints at the source."""
    return world.sign_ticket(
        TicketRequest(
            job_id=job.job_id,
            migration_id=migration.migration_id,
            epoch=job.epoch,
            source_node=source_node,
            destination_node=migration.destination_node,
            byte_limit=round(state_bytes * TICKET_ALLOWANCE_RATIO) + TICKET_ALLOWANCE_BYTES,
            lifetime_s=world.config.saga.sending_timeout_s,
        )
    )


def newest_copy(
    world: World, tx: Transaction, job: Job, *, prefer: str = "", avoid: tuple[str, ...] = ()
) -> Copy | None:
    """The newest verified checkpoint at a connected node: at ``prefer`` if it is there, else rather not in ``avoid``.

    None when the job never made one. Raises Conflict when the newest lies only on nodes that are away: starting an
    older one would throw work away, so that is an operator's decision.
    """
    copies = tx.jobs.copies(job.job_id)
    if not copies:
        return None
    newest = [copy for copy in copies if copy.checkpoint.key == copies[0].checkpoint.key]
    reachable = [copy for copy in newest if copy.node_id in world.present]
    if not reachable:
        holders = ", ".join(sorted(copy.node_id for copy in newest))
        raise Conflict(
            f"cannot start job {job.job_id}: its newest checkpoint lies on {holders}, which is not connected; "
            "bring it back, or `heliotrope node forget` it to go on from an older copy"
        )
    return min(reachable, key=lambda copy: (copy.node_id != prefer, copy.node_id in avoid, copy.node_id))
