"""Which device nodes a job gets, as systemd's ``DeviceAllow=`` takes them: those of its GPUs and no others'."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

_DRIVER = Path("driver", "nvidia", "gpus")
# Every user of the driver opens these two besides its GPUs' own nodes (nvidia-uvm: unified memory, CUDA needs it).
_SHARED = ("/dev/nvidiactl", "char-nvidia-uvm")
# A MIG instance is reached through its parent's node and nodes below /dev/nvidia-caps, whose numbers the driver chooses
# anew with every change; the driver itself keeps the instances apart.
_ALL = "char-nvidia*"


def rules(gpu_uuids: Sequence[str], proc: Path = Path("/proc")) -> tuple[str, ...]:
    """``DeviceAllow`` values for these GPUs: each one's own node where the driver tells it, else all of the driver's.

    Without GPUs none: the job then cannot open one whatever CUDA_VISIBLE_DEVICES it sets for itself.
    """
    if not gpu_uuids:
        return ()
    minors = dict(_minors(proc / _DRIVER))
    if not set(gpu_uuids) <= minors.keys():
        return (f"{_ALL} rw",)
    own = (f"/dev/nvidia{minors[uuid]}" for uuid in gpu_uuids)
    return tuple(f"{node} rw" for node in (*own, *_SHARED))


def _minors(folder: Path) -> Iterator[tuple[str, int]]:
    """(UUID, minor number) of every GPU, from the driver's ``information`` files: lines of ``Name: value``."""
    for path in sorted(folder.glob("*/information")):
        try:
            lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            continue  # unplugged meanwhile: a job that was given it finds that out
        fields = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        uuid, minor = fields.get("GPU UUID", ""), fields.get("Device Minor", "")
        if uuid and minor.isdigit():
            yield uuid, int(minor)
