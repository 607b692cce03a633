"""The node's GPUs: listed once at start, given to jobs exclusively and by UUID.

Listing runs in a process of its own with a time limit, because a driver call can hang for ever. Index order changes
over reboots, so nothing here speaks of indices.
"""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from collections.abc import Sequence

from heliotrope.foundation.errors import Conflict
from heliotrope.foundation.model import Gpu

from .held import HeldJob
from .power import fake_scenario

log = logging.getLogger("heliotrope.agent.gpus")

LISTING_TIMEOUT_S = 20.0


def find() -> tuple[Gpu, ...]:
    """The GPUs that the driver shows; none where there is no driver, or where it does not answer in time."""
    command = [sys.executable, "-m", "heliotrope.agent.gpu_listing"]
    try:
        listing = subprocess.run(command, capture_output=True, timeout=LISTING_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        log.error("cannot list GPUs: the driver did not answer in %.0f s; check it with nvidia-smi", LISTING_TIMEOUT_S)
        return ()
    if listing.returncode:
        log.info("no GPUs: %s", listing.stderr.decode(errors="replace").strip().splitlines()[-1:] or ["no driver"])
        return ()
    return tuple(Gpu(**entry) for entry in json.loads(listing.stdout))


def made_up(scenario: str) -> tuple[Gpu, ...]:
    """The GPUs of a scenario (``power.fake``): jobs can be given them, but find nothing to compute on."""
    told = fake_scenario.load(scenario).gpus
    return tuple(Gpu(uuid=gpu.uuid, model=gpu.model, memory_bytes=gpu.memory_bytes) for gpu in told)


def allocate(devices: Sequence[Gpu], held: HeldJob, running: Sequence[HeldJob]) -> tuple[str, ...]:
    """UUIDs for the job: those it has if they still suit, else free ones. Raises Conflict naming what is missing."""
    wanted = held.spec.resources
    if wanted.gpu_count == 0:
        return ()
    taken = {uuid for other in running if other.job_id != held.job_id for uuid in other.gpu_uuids}
    suitable = [
        gpu.uuid
        for gpu in devices
        if gpu.uuid not in taken and wanted.gpu_model in ("", gpu.model) and gpu.memory_bytes >= wanted.gpu_memory_bytes
    ]
    kept = [uuid for uuid in held.gpu_uuids if uuid in suitable]
    if len(kept) == wanted.gpu_count:
        return tuple(kept)
    if len(suitable) < wanted.gpu_count:
        model = wanted.gpu_model or "any model"
        raise Conflict(
            f"cannot give job {held.job_id} {wanted.gpu_count} GPUs ({model}, {wanted.gpu_memory_bytes} bytes each): "
            f"{len(suitable)} of {len(devices)} here are free and suit"
        )
    return tuple(suitable[: wanted.gpu_count])
