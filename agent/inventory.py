"""What a node is: sizes, devices, and the fingerprint under which equal trajectories are promised."""

from __future__ import annotations

import hashlib
import os
import platform
import socket
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

import psutil

from heliotrope.foundation.model import Gpu, Inventory

from .config import AgentConfig


def collect(config: AgentConfig, devices: Sequence[Gpu], addresses: Sequence[str], state_dir: Path) -> Inventory:
    """The inventory to say hello with."""
    parts = fingerprint_parts(devices)
    model = config.power.model
    return Inventory(
        hostname=socket.gethostname(),
        cpu_count=os.cpu_count() or 1,
        memory_bytes=psutil.virtual_memory().total,
        disk_free_bytes=free_bytes(state_dir),
        gpus=tuple(devices),
        transfer_addresses=tuple(addresses),
        fingerprint=fingerprint(parts),
        fingerprint_parts=parts,
        slot_count=config.jobs.slot_count,
        idle_w=model.idle_w if model else 0.0,
        mounts=config.jobs.mounts,
    )


def free_bytes(folder: Path) -> int:
    return psutil.disk_usage(str(folder)).free


def fingerprint_parts(devices: Sequence[Gpu]) -> dict[str, str]:
    """What changes how a deterministic job rounds: processor, vector instructions, libraries, devices, threads."""
    return {
        "machine": platform.machine(),
        "processor": _processor(),
        "instructions": hashlib.sha256(_flags().encode()).hexdigest()[:16],
        "libc": "-".join(platform.libc_ver()),
        "python": platform.python_version(),
        "numpy": metadata.version("numpy"),
        "cpu_count": str(os.cpu_count() or 1),
        "gpu": ",".join(sorted({gpu.model for gpu in devices})),
        "driver": _driver(),
    }


def fingerprint(parts: dict[str, str]) -> str:
    """One word for all parts: equal words, equal parts."""
    text = "\n".join(f"{name}={value}" for name, value in sorted(parts.items()))
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def _cpuinfo(field: str) -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
        name, _, value = line.partition(":")
        if name.strip() == field:
            return value.strip()
    return ""


def _processor() -> str:
    return _cpuinfo("model name") or _cpuinfo("CPU part") or platform.processor()


def _flags() -> str:
    return " ".join(sorted((_cpuinfo("flags") or _cpuinfo("Features")).split()))


def _driver() -> str:
    path = Path("/sys/module/nvidia/version")
    return path.read_text().strip() if path.exists() else ""
