"""What both daemons tell of themselves: version, certificates, memory, disk."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

import psutil

from . import certificates
from .identity import Identity
from .metrics import Family, Kind, Samples

BUILD = Family("heliotrope_build_info", Kind.GAUGE, "Always 1; which software this is.", ("component", "version"))
CERTIFICATE = Family(
    "heliotrope_certificate_not_after_timestamp_seconds",
    Kind.GAUGE,
    "When a certificate expires, Unix time: the daemon's own, and the authority's.",
    ("certificate",),
)
DISK_FREE = Family("heliotrope_disk_free_bytes", Kind.GAUGE, "Free space where the daemon's state is.")
OWN_MEMORY = Family(
    "heliotrope_own_memory_pss_bytes",
    Kind.GAUGE,
    "Proportional set size: of the coordinator, or of the agent and of its helpers (sensor, drivers).",
    ("process",),
    otel="process.memory.usage",
)
FAMILIES = (BUILD, CERTIFICATE, DISK_FREE, OWN_MEMORY)


def collect(samples: Samples, component: str, identity: Identity, state_dir: Path) -> None:
    """The version, both certificates, the disk."""
    samples.add(BUILD, 1, component, metadata.version("heliotrope"))
    samples.add(CERTIFICATE, identity.expires_utc.timestamp(), "own")
    authority = certificates.parse(identity.ca_pem, "the authority's certificate")
    samples.add(CERTIFICATE, authority.not_valid_after_utc.timestamp(), "authority")
    samples.add(DISK_FREE, psutil.disk_usage(str(state_dir)).free)


def pss_bytes(pid: int) -> int | None:
    """Proportional set size of a process; None where the kernel does not tell."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    found = next((line.split() for line in lines if line.startswith("Pss:")), None)
    return None if found is None else int(found[1]) * 1024
