"""Records of the ledger's repositories."""

from __future__ import annotations

import msgspec

from heliotrope.foundation.ledger import Head
from heliotrope.foundation.model import Record


class OpenLine(Record):
    """What was booked to one key of an interval that is not closed yet, or what one batch adds to it.

    ``opened_ms`` and ``touched_ms``: when its first and its newest batch came, by the coordinator's clock.
    """

    start_ms: int
    node_id: str
    device: str
    job_id: str
    source: str
    scope: str
    site: str
    length_ms: int
    estimated: bool
    energy_uj: int
    covered_us: int
    span_us: int
    reserved_us: int
    opened_ms: int
    touched_ms: int


class SpoolMark(Record):
    """How far a spool was taken. ``end_ms``: where its newest record ended, on the coordinator's time line."""

    sequence: int = 0
    lost_count: int = 0
    end_ms: int = 0


class SignedHead(Record):
    """A head with its signature."""

    head: Head
    signature: bytes


class JobEnergy(Record):
    """What one job used on one node in one interval."""

    start_ms: int
    length_ms: int
    node_id: str
    energy_uj: int


class Sums(msgspec.Struct, kw_only=True):
    """Entries of one bucket of time, added up; the units of an entry. ``unknown_...``: what the figure leaves out."""

    bucket_ms: int
    site: str
    node_id: str
    job_id: str
    source: str
    estimated: bool
    metered: str
    pue_ppm: int | None
    energy_uj: int
    covered_us: int
    span_us: int
    reserved_us: int
    carbon_ng: int
    carbon_static_ng: int
    renewable_uj: int
    embodied_ng: int
    unknown_carbon_uj: int
    unknown_static_uj: int
    unknown_renewable_uj: int
    unknown_embodied_us: int
    late_uj: int
    lost_count: int
    is_open: bool = False
