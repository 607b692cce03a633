"""One plan for the fleet: where each job is placed, moves or stays, and why.

Greedy: first the jobs that run nowhere, by priority; then moves, by priority, preferred sites, net gain, and at last by
name, so that the same snapshot always gives the same plan. Every pick takes its room from those after it; what a moving
job leaves behind is free only once it has left. Ping-pong is held off by the dwell time, the least gain and the
moves per day. Jobs of drained nodes take turns on each link. (The paper gives the test; this use of it is ours.)
"""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass, field

import msgspec

from . import explain, placement
from .binding import Binding
from .candidates import candidates, here, options, ranked, rules
from .capacity import FreeNodes, Turns
from .columns import Columns, build, without_base
from .decision import Action, Candidate, Decision, Plan
from .feasibility import Terms, blocks, evaluate
from .snapshot import JobView, SiteView, Snapshot

PLACE_STATES = ("PENDING", "RECOVERING")


@dataclass
class _Contender:
    """A job with at least one feasible move, working down its options."""

    row: int
    options: list[tuple[bool, float, int]]
    at: int = 0
    full: set[int] = field(default_factory=set)  # sites that earlier picks of this tick filled
    changed: dict[int, Candidate] = field(default_factory=dict)  # as they are without a base that others filled up
    waits_for: int | None = None  # the site it will go to when the link to it has a turn left


@dataclass
class _Tick:
    """What one call of :func:`plan` works on."""

    snapshot: Snapshot
    columns: Columns
    free: FreeNodes
    turns: Turns
    sites: dict[str, SiteView]
    decisions: dict[int, Decision] = field(default_factory=dict)

    def job(self, row: int) -> JobView:
        return self.snapshot.jobs[row]


def plan(snapshot: Snapshot) -> Plan:
    """A decision for every job of the snapshot. Raises InvalidInput for a snapshot that contradicts itself."""
    tick = _begin(snapshot)
    _place(tick)
    _move(tick)
    return Plan(utc=snapshot.utc, decisions=tuple(tick.decisions[row] for row in range(len(snapshot.jobs))))


def moves(snapshot: Snapshot) -> dict[str, tuple[str, str]]:
    """Only the moves of :func:`plan`, job id -> (site, node), without records or reasons: for who looks often."""
    tick = _begin(snapshot)
    _place(tick)
    contenders: dict[int, _Contender] = {}
    for rows, terms in blocks(tick.columns):
        for row in range(rows.start, rows.stop):
            if row not in tick.decisions and tick.columns.jobs.decidable[row]:
                _contend(tick, terms, row, row - rows.start, contenders)
    names = tick.columns.site_names
    return {tick.job(row).job_id: (names[site], node) for row, (site, node) in _pick(tick, contenders).items()}


def _begin(snapshot: Snapshot) -> _Tick:
    return _Tick(
        snapshot=snapshot,
        columns=build(snapshot),
        free=FreeNodes(snapshot.sites),
        turns=Turns(snapshot.transfers, snapshot.settings.turns_per_link),
        sites={site.name: site for site in snapshot.sites},
    )


def _waits_for_place(job: JobView) -> bool:
    return job.state in PLACE_STATES and not job.node


def _place(tick: _Tick) -> None:
    waiting = [row for row, job in enumerate(tick.snapshot.jobs) if _waits_for_place(job)]
    for row in sorted(waiting, key=lambda row: (-tick.job(row).priority, tick.job(row).name, tick.job(row).job_id)):
        _place_one(tick, row)


def _place_one(tick: _Tick, row: int) -> None:
    columns = tick.columns
    preferred = frozenset(tick.job(row).sites_preferred)
    found = placement.places(columns, row, tick.job(row))
    order = placement.order(columns, found, preferred)
    chosen, node, full, waits_for = _first_free(tick, row, order)
    excluded = sorted(set(range(columns.shape[1])) - set(order), key=lambda site: (-found.binding[site], site))
    kept = [site for site in order + excluded if site != chosen][: tick.snapshot.settings.rejected_kept]
    rejected = [
        _mark(record, site, full, chosen is not None, waits_for)
        for site, record in zip(kept, placement.candidates(columns, found, preferred, kept), strict=True)
    ]
    if chosen is None:
        _decide(tick, row, "none", None, _nearest_first(rejected))
        return
    pick = placement.candidates(columns, found, preferred, [chosen])[0]
    _decide(tick, row, "place", msgspec.structs.replace(pick, node=node), rejected)


def _first_free(tick: _Tick, row: int, order: list[int]) -> tuple[int | None, str, set[int], int | None]:
    """The first site of ``order`` that still has a node, that node, the sites found full before it; or the site that
    has a node but no turn left on the link to it."""
    job, need = tick.job(row), tick.columns.needs[tick.columns.jobs.need[row]]
    full: set[int] = set()
    for site in order:
        name = tick.columns.site_names[site]
        node = tick.free.take(name, need, job.nodes_refused)
        if node is None:
            full.add(site)
        elif job.site in ("", name) or _has_turn(tick, job, name):
            return site, node, full, None
        else:
            return None, "", full, site
    return None, "", full, None


def _has_turn(tick: _Tick, job: JobView, destination: str) -> bool:
    """Whether the job may be sent there now; if so, it takes its turn."""
    if not job.takes_turns:
        return True
    if not tick.turns.are_left(job.site, destination):
        return False
    tick.turns.take(job.site, destination)
    return True


def _move(tick: _Tick) -> None:
    """Evaluate block by block, keep what may be recorded, then pick greedily."""
    records: dict[int, dict[int, Candidate]] = {}
    contenders: dict[int, _Contender] = {}
    for row in range(len(tick.snapshot.jobs)):
        if row not in tick.decisions and not tick.columns.jobs.decidable[row]:
            _decide(tick, row, "none", None, [])
    for rows, terms in blocks(tick.columns):
        for row in range(rows.start, rows.stop):
            if row in tick.decisions:
                continue
            records[row] = _record(tick, terms, row, row - rows.start)
            _contend(tick, terms, row, row - rows.start, contenders)
    picks = _pick(tick, contenders)
    for row, kept in records.items():
        _settle(tick, row, kept, picks.get(row), contenders.get(row))


def _contend(tick: _Tick, terms: Terms, row: int, local: int, contenders: dict[int, _Contender]) -> None:
    found = options(tick.columns, terms, local, frozenset(tick.job(row).sites_preferred))
    if found:
        contenders[row] = _Contender(row, found)


def _record(tick: _Tick, terms: Terms, row: int, local: int) -> dict[int, Candidate]:
    """The candidates worth keeping, nearest first; one more than are shown, as one of them may be chosen."""
    preferred = frozenset(tick.job(row).sites_preferred)
    kept = ranked(terms, local)[: tick.snapshot.settings.rejected_kept + 1].tolist()
    return candidates(tick.columns, terms, local, kept, preferred, job=row)


def _pick(tick: _Tick, contenders: dict[int, _Contender]) -> dict[int, tuple[int, str]]:
    """Row -> (site, node) of every job that moves in this tick."""
    picks: dict[int, tuple[int, str]] = {}
    heap = [_key(tick, contender) for contender in contenders.values()]
    heapq.heapify(heap)
    while heap:
        contender = contenders[heapq.heappop(heap)[-1]]
        site = contender.options[contender.at][2]
        need = tick.columns.needs[tick.columns.jobs.need[contender.row]]
        name, job = tick.columns.site_names[site], tick.job(contender.row)
        node = tick.free.take(name, need, job.nodes_refused, _base_node(tick, contender.row, site))
        if node is not None and not _holds_without_base(tick, contender, site, node):
            tick.free.give_back(name, node, need)
            node = None
        if node is not None:
            if _has_turn(tick, job, name):
                picks[contender.row] = (site, node)
            else:
                contender.waits_for = site  # and the node is kept for it
            continue
        if site not in contender.changed:
            contender.full.add(site)
        contender.at += 1
        if contender.at < len(contender.options):
            heapq.heappush(heap, _key(tick, contender))
    return picks


def _base_node(tick: _Tick, row: int, site: int) -> str:
    """The node whose base the terms of the pair count with; empty if they count with none."""
    base = tick.columns.jobs.bases.get(row, {}).get(site)
    return base.node if base else ""


def _holds_without_base(tick: _Tick, contender: _Contender, site: int, node: str) -> bool:
    """Whether the move stands at that node: at one that earlier picks left, nothing lies, and more is to be sent."""
    if _base_node(tick, contender.row, site) in ("", node):
        return True
    columns = without_base(tick.columns, contender.row, site)
    terms = evaluate(columns, slice(contender.row, contender.row + 1))
    preferred = frozenset(tick.job(contender.row).sites_preferred)
    contender.changed |= candidates(columns, terms, 0, [site], preferred, job=contender.row)
    return contender.changed[site].binding == Binding.OK.label


def _key(tick: _Tick, contender: _Contender) -> tuple[bool, float, int, bool, float, str, int, int]:
    """Drained nodes first, the nearest deadline first; then priority, preferred site, net gain, names."""
    job = tick.job(contender.row)
    not_preferred, minus_net, site = contender.options[contender.at]
    leave_by_s = math.inf if job.leave_by_s is None else job.leave_by_s
    return (not job.must_leave, leave_by_s, -job.priority, not_preferred, minus_net, job.name, site, contender.row)


def _settle(
    tick: _Tick, row: int, kept: dict[int, Candidate], pick: tuple[int, str] | None, contender: _Contender | None
) -> None:
    """Turn a pick, or none, into the job's decision."""
    chosen = None
    waits_for = contender.waits_for if contender else None
    for site in [pick[0]] if pick else [waits_for] if waits_for is not None else []:
        if site not in kept:  # far down its options: not among those kept
            terms = evaluate(tick.columns, slice(row, row + 1))
            kept |= candidates(tick.columns, terms, 0, [site], frozenset(tick.job(row).sites_preferred), job=row)
    kept |= contender.changed if contender else {}
    if pick is not None:
        chosen = msgspec.structs.replace(kept[pick[0]], node=pick[1])
    full = contender.full if contender else set()
    rejected = [
        _mark(record, site, full, pick is not None, waits_for)
        for site, record in kept.items()
        if pick is None or site != pick[0]
    ]
    if waits_for is not None:
        rejected = _nearest_first(rejected)
    _decide(tick, row, "move" if chosen else "stay", chosen, rejected)


def _mark(record: Candidate, site: int, full: set[int], outranked: bool, waits_for: int | None) -> Candidate:
    """A feasible site that was not chosen was filled by earlier picks, has no turn left, or another one is better."""
    if site in full:
        return msgspec.structs.replace(record, binding=Binding.CAPACITY.label)
    if site == waits_for:
        return msgspec.structs.replace(record, binding=Binding.LINK_BUSY.label)
    if (outranked or waits_for is not None) and record.binding == Binding.OK.label:
        return msgspec.structs.replace(record, binding=Binding.OUTRANKED.label)
    return record


def _nearest_first(rejected: list[Candidate]) -> list[Candidate]:
    return sorted(rejected, key=lambda record: -Binding[record.binding.upper()])


def _decide(tick: _Tick, row: int, action: Action, chosen: Candidate | None, rejected: list[Candidate]) -> None:
    job = tick.job(row)
    stays_out = action in ("move", "stay") and not job.must_leave  # its own site is no candidate
    undecided = Decision(
        job_id=job.job_id,
        job_name=job.name,
        action=action,
        binding=_deciding(job, action, chosen, rejected).label,
        reason="",
        rules=rules(job, tick.snapshot.settings),
        source_site=job.site,
        source_node=job.node,
        destination_site=chosen.site if chosen else "",
        destination_node=chosen.node if chosen else "",
        here=here(tick.sites.get(job.site)),
        chosen=chosen,
        rejected=tuple(_noted(tick, job, one) for one in rejected[: tick.snapshot.settings.rejected_kept]),
        candidates_count=tick.columns.shape[1] - stays_out if action != "none" or rejected else 0,
    )
    reason = explain.reason(undecided, job.state)
    tick.decisions[row] = msgspec.structs.replace(undecided, reason=reason)


def _noted(tick: _Tick, job: JobView, record: Candidate) -> Candidate:
    """A site that refused the job a moment ago, with what it said."""
    if record.binding != Binding.REFUSED.label:
        return record
    said = {job.nodes_refused.get(node.node, "") for node in tick.sites[record.site].nodes}
    return msgspec.structs.replace(record, note="; ".join(sorted(said - {""})))


def _deciding(job: JobView, action: Action, chosen: Candidate | None, rejected: list[Candidate]) -> Binding:
    if chosen is not None:
        return Binding.OK
    if rejected:
        return Binding[rejected[0].binding.upper()]
    if action == "stay":
        return Binding.HERE
    return Binding.CAPACITY if _waits_for_place(job) else Binding.BUSY
