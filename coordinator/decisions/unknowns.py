"""Why a forecast was unknown, in the words of the sites, added to the decisions that it decided."""

from __future__ import annotations

import msgspec

from .binding import Binding
from .decision import Candidate, Decision
from .snapshot import Snapshot


def explained(decision: Decision, snapshot: Snapshot) -> Decision:
    """The decision with the notes of the sites whose forecast was unknown: at the candidate, or where the job is."""
    notes = {site.name: site.note for site in snapshot.sites if site.note}
    rejected = tuple(_noted(item, decision.source_site, notes) for item in decision.rejected)
    if rejected == decision.rejected:
        return decision
    reason = decision.reason
    if decision.binding == Binding.UNKNOWN.label and rejected[0].note:
        reason = f"{reason}; {rejected[0].note}"
    return msgspec.structs.replace(decision, rejected=rejected, reason=reason)


def _noted(item: Candidate, source_site: str, notes: dict[str, str]) -> Candidate:
    if item.binding != Binding.UNKNOWN.label:
        return item
    said = [f"{name}: {notes[name]}" for name in dict.fromkeys((item.site, source_site)) if name in notes]
    return msgspec.structs.replace(item, note=". ".join(said)) if said else item
