"""Orders for agents, built from records; nothing here decides."""

from __future__ import annotations

from heliotrope.foundation.errors import Conflict
from heliotrope.foundation.model import Checkpoint

from ..state import model, order_model
from ..state.database import Transaction
from ..state.model import Copy, Job, Migration
from ..state.order_model import Command, Order
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


def prepare(world: World, tx: Transaction, job: Job, migration: Migration, source_node: str) -> order_model.Prepare:
    """Files, environment, devices, disk and the way to the source."""
    copies = tx.jobs.copies(job.job_id)
    state_bytes = max((copy.checkpoint.state_bytes for copy in copies), default=0)
    fingerprint = job.fingerprint if job.spec.policy.same_fingerprint else ""
    order = order_model.Prepare(
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
    *,
    outputs: Checkpoint | None = None,
    standstill: bool = False,
) -> order_model.Pull:
    """Fetch ``checkpoint`` from ``source_node``, and the job's ``outputs`` that lie there; ``standstill``: the job
    stands meanwhile.
    """
    state_bytes = checkpoint.state_bytes + (outputs.state_bytes if outputs else 0)
    return order_model.Pull(
        checkpoint=checkpoint,
        source_addresses=tx.nodes.get(source_node).inventory.transfer_addresses,
        source_node=source_node,
        ticket=ticket(world, job, migration, source_node, state_bytes, standstill=standstill),
        standstill=standstill,
        outputs=outputs,
    )


def pull_replica(
    world: World, tx: Transaction, job: Job, checkpoint: Checkpoint, node_id: str, rate_limit_bytes_per_s: int
) -> order_model.Pull:
    """Fetch ``checkpoint`` from the job's holder to ``node_id``, in no hurry; a limit of 0 is none."""
    settings = world.config.replication
    request = TicketRequest(
        job_id=job.job_id,
        migration_id="replica",
        epoch=job.epoch,
        source_node=job.node_id,
        destination_node=node_id,
        byte_limit=ticket_bytes(checkpoint.state_bytes),
        lifetime_s=settings.timeout_s,
    )
    return order_model.Pull(
        checkpoint=checkpoint,
        source_addresses=tx.nodes.get(job.node_id).inventory.transfer_addresses,
        source_node=job.node_id,
        ticket=world.sign_ticket(request),
        standstill=False,
        rate_limit_bytes_per_s=rate_limit_bytes_per_s,
        replica=True,
        spec=job.spec,
    )


def start(job: Job, checkpoint: Checkpoint | None, attempt: int = 0) -> order_model.Start:
    """Run the job from ``checkpoint`` (None: from its beginning)."""
    policy = job.spec.policy
    lease_s = policy.lease_s if policy.disconnect == "stop" else None
    return order_model.Start(
        spec=job.spec,
        bundle_digest=job.bundle_digest,
        bundle_bytes=job.bundle_bytes,
        checkpoint=checkpoint,
        attempt=attempt,
        lease_s=lease_s,
    )


def ticket(
    world: World, job: Job, migration: Migration, source_node: str, state_bytes: int, *, standstill: bool = False
) -> bytes:
    """Permission for the destination to read this job's checkpoints at the source."""
    return world.sign_ticket(
        TicketRequest(
            job_id=job.job_id,
            migration_id=migration.migration_id,
            epoch=job.epoch,
            source_node=source_node,
            destination_node=migration.destination_node,
            byte_limit=ticket_bytes(state_bytes),
            lifetime_s=world.config.saga.sending_timeout_s,
            standstill=standstill,
        )
    )


def ticket_bytes(state_bytes: int) -> int:
    """What a ticket for a checkpoint of that size allows."""
    return round(state_bytes * TICKET_ALLOWANCE_RATIO) + TICKET_ALLOWANCE_BYTES


def newest_copy(
    world: World, tx: Transaction, job: Job, *, prefer: str = "", avoid: tuple[str, ...] = ()
) -> Copy | None:
    """The newest verified checkpoint at a connected node: at ``prefer`` if it is there, else rather not in ``avoid``.

    None: start from the beginning, as the job never made one, or all are lost and its policy says so. Raises Conflict
    when a newer one lies on nodes that are only away (:meth:`World.given_up`): starting an older one would throw work
    away, so that is an operator's decision. Also when all are lost, unless policy.on_loss is "restart".
    """
    copies = tx.jobs.copies(job.job_id)
    for key in sorted({copy.checkpoint.key for copy in copies}, reverse=True):
        holders = [copy for copy in copies if copy.checkpoint.key == key]
        reachable = [copy for copy in holders if copy.node_id in world.present]
        if reachable:
            return min(reachable, key=lambda copy: (copy.node_id != prefer, copy.node_id in avoid, copy.node_id))
        awaited = sorted(copy.node_id for copy in holders if not world.given_up(job, copy.node_id))
        if awaited:
            raise Conflict(
                f"cannot start job {job.job_id}: its newest checkpoint lies on {', '.join(awaited)}, which is not "
                "connected; bring it back, or `heliotrope node forget` it to go on from an older copy"
            )
    if job.spec.policy.on_loss == "restart" or not (copies or job.has_checkpointed):
        return None
    raise Conflict(
        f"cannot start job {job.job_id}: no node that holds a checkpoint of it is connected; bring one back, or cancel "
        'it and submit it again (policy.on_loss = "restart" lets a job begin again by itself)'
    )
