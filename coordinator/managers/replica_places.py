"""Where a replica goes: rather another site than another machine, a node that could run the job, one with a base."""

from __future__ import annotations

from ..state.database import Transaction
from ..state.model import Job, Node
from .world import World

# The replica, the one before it that stays until it is verified, and as much again for what the node itself does.
ROOM_RATIO = 3


def choose(world: World, tx: Transaction, job: Job, taken: set[str]) -> Node | None:
    """The best node for one more replica of a running job, None while there is none."""
    held = {copy.node_id for copy in tx.jobs.copies(job.job_id)}
    state_bytes = max((copy.checkpoint.state_bytes for copy in tx.jobs.copies(job.job_id)), default=0)
    counts = [replica.node_id for replica in tx.replicas.all()]
    preferred = job.spec.checkpoint.replicate_to
    taken_sites = {node.site for node in tx.nodes.all() if node.node_id in taken}

    def order(node: Node) -> tuple[object, ...]:
        return (
            preferred.index(node.site) if node.site in preferred else len(preferred),
            node.site == job.site,
            node.site in taken_sites,
            not _could_run(job, node),
            node.node_id not in held,  # what is there already need not be sent, or is a base for deltas
            counts.count(node.node_id),
            node.node_id,
        )

    suitable = [
        node
        for node in tx.nodes.all()
        if node.node_id not in {job.node_id, *taken} and _may_hold(world, job, node, state_bytes)
    ]
    return min(suitable, key=order, default=None)


def choose_at(world: World, tx: Transaction, job: Job, site: str, prefer: str) -> Node | None:
    """A node of that site which could hold a copy and run the job from it, ``prefer`` first; None if there is none."""
    state_bytes = max((copy.checkpoint.state_bytes for copy in tx.jobs.copies(job.job_id)), default=0)
    suitable = [
        node
        for node in tx.nodes.all()
        if node.site == site
        and node.node_id != job.node_id
        and _may_hold(world, job, node, state_bytes)
        and _could_run(job, node)
    ]
    return min(suitable, key=lambda node: (node.node_id != prefer, node.node_id), default=None)


def refuse(world: World, job: Job, node_id: str, message: str) -> None:
    """Leave the node alone for a while."""
    world.refuse_for_a_while(_key(job), node_id, message)


def _may_hold(world: World, job: Job, node: Node, state_bytes: int) -> bool:
    presence = world.present.get(node.node_id)
    if presence is None or node.draining or node.forgotten or node.node_id in world.refusals(_key(job)):
        return False
    policy = job.spec.policy
    if node.site in policy.sites_forbidden or (policy.sites_allowed and node.site not in policy.sites_allowed):
        return False  # where a job may not run its data may not lie
    return presence.disk_free_bytes >= ROOM_RATIO * state_bytes


def _could_run(job: Job, node: Node) -> bool:
    wanted = job.spec.resources
    model = wanted.gpu_model or job.gpu_model
    suitable = [gpu for gpu in node.inventory.gpus if model in ("", gpu.model)]
    return len(suitable) >= wanted.gpu_count and node.inventory.cpu_count >= wanted.cpu_count


def _key(job: Job) -> str:
    """Beside the refusals of places to run: a node that cannot be reached for a replica is not worse for a start."""
    return f"replica of {job.job_id}"
