"""Can a job move there, and is it worth it: every term, for all jobs x sites at once.

**The paper's** (Tomei et al., arXiv 2511.16182): a move is feasible iff

    T_transfer + T_load + T_downtime < alpha * T_energy,   T_transfer = S / B,

with ``T_energy`` what is left of the renewable window at the *destination*; and, separately, iff the energy of
moving is repaid by the renewable energy gained. The second condition's formulas, and all that follows, are **ours**:

- ``T_transfer = S_wire / B + latency``: what is left to send while the job stands, not all of the state. Both times
  are returned; the inequality uses this one. ``S_move >= S_wire`` is all that the move sends, and
  ``T_staging = (S_move - S_wire) / B`` the time for which the job runs on at its source meanwhile. Where the
  destination holds something of the job (:mod:`.bases`), both are what is left to send to there.
- cost [non-renewable J] = saving ``P t_save PUE_src g_src`` + sending ``S_move e_net (g_src + g_dst) / 2`` + loading
  ``P t_load PUE_dst g_dst`` + standing ``P_stand T_disruption PUE_src g_src``, with ``g`` the site's non-renewable
  share now.
- gain rate = ``P (PUE_src mean(g_src) - PUE_dst mean(g_dst))``: the same GPU model does the same work per second at the
  same *dynamic* power ``P``; the means are from now over min(T_energy, remaining run time, horizon, how far both
  forecasts reach). They hang on neither S nor B, so that a faster link never makes a pair look worse.
- gain = gain rate x gain span, the span being that time or T_energy - T_staging - T_disruption, whichever is shorter.
- leaving again costs as much as coming, if the job outlasts the span; net = gain - cost - leaving, worth it iff > 0;
  break-even time = (cost + leaving) / gain rate.
- class A: feasible for the shortest window of the destination's history (5th percentile), B: for its longest but not
  for that, C: for none.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from .binding import Binding
from .columns import Bools, Columns, Floats, Indexes

PAIRS_PER_BLOCK = 1 << 15  # about forty arrays of this size stay in the cache of one core
CLASSES = ("", "A", "B", "C")  # by code; "": the destination has no window history


@dataclass(frozen=True)
class Terms:
    """Terms of a block of jobs: shape (jobs, sites), or (jobs, 1) / (1, sites) where a term hangs on one side only.

    Bytes, seconds, watts, joules of non-renewable energy. inf: never (no path, no gain); NaN: unknown.
    """

    state_bytes: Floats
    wire_bytes: Floats
    move_wire_bytes: Floats  # all of the move, pre-copy included
    fresh_move_wire_bytes: Floats  # the same to where nothing of the job lies
    base_age_s: Floats  # of what lies there, behind the newest checkpoint; NaN: nothing does
    bandwidth_bytes_per_s: Floats
    latency_s: Floats
    transfer_s: Floats
    paper_transfer_s: Floats  # S / B, all of the state
    load_s: Floats
    downtime_s: Floats
    disruption_s: Floats
    staging_s: Floats  # pre-copy, the job runs on
    window_s: Floats
    alpha: Floats
    alpha_window_s: Floats
    margin_s: Floats
    source_nonrenewable_ratio: Floats  # mean over mean_span_s
    destination_nonrenewable_ratio: Floats
    saving_cost_j: Floats
    sending_cost_j: Floats
    loading_cost_j: Floats
    standing_cost_j: Floats
    cost_j: Floats
    leaving_cost_j: Floats
    gain_w: Floats
    mean_span_s: Floats  # over which the two means are taken
    gain_span_s: Floats  # in which the job runs there and gains
    gain_j: Floats
    net_j: Floats
    break_even_s: Floats
    feasible_time: Bools
    feasible_energy: Bools
    pair_class: NDArray[np.uint8]  # index into CLASSES
    binding: NDArray[np.uint8]  # Binding

    def pairs(self, job: int, sites: Sequence[int]) -> dict[str, list[float]]:
        """All terms of one job of the block at the given sites, by name, as numbers."""
        chosen = np.asarray(sites, dtype=np.int64)
        found: dict[str, list[float]] = {}
        for name in TERM_NAMES:
            array = getattr(self, name)
            row = array[job if array.shape[0] > 1 else 0]
            found[name] = (row[chosen] if row.size > 1 else np.repeat(row, chosen.size)).tolist()
        return found


TERM_NAMES = tuple(item.name for item in fields(Terms))


def evaluate(columns: Columns, rows: slice) -> Terms:
    """Terms and binding constraint of the jobs in ``rows`` against every site.

    A job that is nowhere (to be placed) gets infinite transfers; see placement. Memory: about 300 bytes per pair.
    """
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        time = _time(columns, rows)
        energy = _energy(columns, rows, time)
    feasible_time = time["margin_s"] > 0
    feasible_energy = energy["net_j"] > 0
    return Terms(
        **time,
        **energy,
        feasible_time=feasible_time,
        feasible_energy=feasible_energy,
        pair_class=_classify(columns, time["disruption_s"], time["alpha"]),
        binding=_bind(columns, rows, time, energy),
    )


def blocks(columns: Columns, pairs: int = PAIRS_PER_BLOCK) -> Iterator[tuple[slice, Terms]]:
    """All jobs in blocks of about ``pairs`` pairs, so that memory stays bounded for any fleet."""
    jobs, sites = columns.shape
    if sites == 0:
        return
    step = max(1, pairs // sites)
    for start in range(0, jobs, step):
        rows = slice(start, min(start + step, jobs))
        yield rows, evaluate(columns, rows)


def _time(columns: Columns, rows: slice) -> dict[str, Floats]:
    """The paper's condition, with both transfer times."""
    jobs, sites, links = columns.jobs, columns.sites, columns.links
    source = jobs.site[rows]
    bandwidth = links.bandwidth_bytes_per_s[source]
    latency = links.latency_s[source]
    if np.any(source < 0):
        bandwidth[source < 0] = 0.0
    wire, move_wire, fresh_move_wire, base_age = _wire_bytes(columns, rows)
    state = jobs.state_bytes[rows, None]
    met = bandwidth > 0
    transfer = np.where(met, wire / bandwidth + latency, np.inf)
    paper_transfer = np.where(met, state / bandwidth + latency, np.inf)
    load, downtime, alpha = jobs.load_s[rows, None], jobs.downtime_s[rows, None], jobs.alpha[rows, None]
    disruption = transfer + (load + downtime)
    window = sites.window_s[None, :]
    alpha_window = alpha * window
    return {
        "state_bytes": state,
        "wire_bytes": wire,
        "move_wire_bytes": move_wire,
        "fresh_move_wire_bytes": fresh_move_wire,
        "base_age_s": base_age,
        "bandwidth_bytes_per_s": bandwidth,
        "latency_s": latency,
        "transfer_s": transfer,
        "paper_transfer_s": paper_transfer,
        "load_s": load,
        "downtime_s": downtime,
        "disruption_s": disruption,
        "staging_s": np.where(met, (move_wire - wire) / bandwidth, np.inf),
        "window_s": window,
        "alpha": alpha,
        "alpha_window_s": alpha_window,
        "margin_s": alpha_window - disruption,
    }


def _wire_bytes(columns: Columns, rows: slice) -> tuple[Floats, Floats, Floats, Floats]:
    """(while the job stands, in all, in all without a base, age of the base): (jobs, 1), or (jobs, sites) where the
    block has jobs of which something lies somewhere."""
    jobs = columns.jobs
    wire, fresh = jobs.wire_bytes[rows, None], jobs.move_wire_bytes[rows, None]
    age = np.full(wire.shape, np.nan)
    overrides = [entry for entry in jobs.wire_overrides if rows.start <= entry[0] < rows.stop]
    here = [base for row in range(rows.start, rows.stop) for base in jobs.bases.get(row, {}).values()]
    if overrides or here:
        wire, age = (np.repeat(one, columns.shape[1], axis=1) for one in (wire, age))
    for job, site, size in overrides:
        wire[job - rows.start, site] = size
    fresh = np.maximum(fresh, wire)
    move = fresh
    if here:
        move = fresh.copy()
        for base in here:
            place = (base.job - rows.start, base.site)
            wire[place], age[place] = base.wire_bytes, base.age_s
            move[place] = max(base.move_wire_bytes, base.wire_bytes)
    return wire, move, fresh, age


def _energy(columns: Columns, rows: slice, time: dict[str, Floats]) -> dict[str, Floats]:
    """Break-even, in joules of non-renewable energy (ours)."""
    jobs, sites = columns.jobs, columns.sites
    source = jobs.site[rows]
    power = jobs.power_w[rows, None]
    pue_source = sites.pue[source][:, None]
    pue_destination = sites.pue[None, :]
    share_source = sites.nonrenewable_now[source][:, None]
    share_destination = sites.nonrenewable_now[None, :]
    disruption = time["disruption_s"]

    saving = power * jobs.save_s[rows, None] * pue_source * share_source
    e_net = columns.links.e_net_j_per_byte[source]
    sending = time["move_wire_bytes"] * e_net * ((share_source + share_destination) * 0.5)
    loading = (power * jobs.load_s[rows, None]) * (pue_destination * share_destination)
    standing = np.where(
        np.isinf(disruption), 0.0, disruption * (jobs.standing_power_w[rows, None] * pue_source * share_source)
    )
    cost = saving + sending + loading + standing

    reach = _reach(columns, rows)
    mean_source, mean_destination = _means(columns, source, reach)
    left = sites.window_s[None, :] - (time["staging_s"] + disruption)
    span = np.maximum(np.minimum(reach, left), 0.0)
    gain_w = np.where(reach > 0, power * (pue_source * mean_source - pue_destination * mean_destination), 0.0)
    gain = gain_w * span
    leaving = np.where(jobs.remaining_s[rows, None] > span, cost, 0.0)
    spent = cost + leaving
    return {
        "source_nonrenewable_ratio": mean_source,
        "destination_nonrenewable_ratio": mean_destination,
        "saving_cost_j": saving,
        "sending_cost_j": sending,
        "loading_cost_j": loading,
        "standing_cost_j": standing,
        "cost_j": cost,
        "leaving_cost_j": leaving,
        "gain_w": gain_w,
        "mean_span_s": reach,
        "gain_span_s": span,
        "gain_j": gain,
        "net_j": gain - spent,
        "break_even_s": np.where(gain_w > 0, spent / gain_w, np.inf),
    }


def _reach(columns: Columns, rows: slice) -> Floats:
    """How far into the future the two sites are compared."""
    sites = columns.sites
    reach = np.minimum(columns.jobs.remaining_s[rows], columns.settings.horizon_s)
    reach = np.minimum(reach, sites.known_s[columns.jobs.site[rows]])
    span: Floats = np.minimum(sites.window_s[None, :], reach[:, None])
    return np.minimum(span, sites.known_s[None, :])


def _means(columns: Columns, source: Indexes, span: Floats) -> tuple[Floats, Floats]:
    """Mean non-renewable share over [0, span] at source and destination; the share now where the span is 0."""
    sites = columns.sites
    width = sites.profile_s.shape[1]
    every = np.arange(sites.pue.size)
    empty = span <= 0
    divisor = np.where(empty, 1.0, span)
    found = []
    for place, rows in ((source[:, None], source), (every[None, :], every)):
        if width == 1:
            found.append(np.broadcast_to(sites.nonrenewable_now[place], span.shape))
            continue
        step_s = sites.step_s[rows].reshape(place.shape)
        position = span / step_s
        index = np.minimum(position.astype(np.int64), width - 2)
        position -= index
        index += place * width
        flat = sites.profile_s.reshape(-1)
        low = flat.take(index)
        index += 1
        total = low + (flat.take(index) - low) * position
        found.append(np.where(empty, sites.nonrenewable_now[place], total / divisor))
    return found[0], found[1]


def _classify(columns: Columns, disruption: Floats, alpha: Floats) -> NDArray[np.uint8]:
    shortest, longest = columns.sites.window_p05_s[None, :], columns.sites.window_longest_s[None, :]
    code = np.full(disruption.shape, 3, dtype=np.uint8)
    np.copyto(code, np.uint8(2), where=disruption < alpha * longest)
    np.copyto(code, np.uint8(1), where=disruption < alpha * shortest)
    np.copyto(code, np.uint8(0), where=np.isnan(longest) | np.isnan(shortest))
    return code


def _bind(
    columns: Columns,
    rows: slice,
    time: dict[str, Floats],
    energy: dict[str, Floats],
) -> NDArray[np.uint8]:
    """The first constraint that fails, by writing from the last to the first."""
    jobs, sites, settings = columns.jobs, columns.sites, columns.settings
    source = jobs.site[rows]
    leave = jobs.must_leave[rows, None]
    unknown = np.isnan(sites.nonrenewable_now) | (sites.known_s <= 0)
    binding = np.full(energy["net_j"].shape, Binding.OK, dtype=np.uint8)
    soft = (
        (Binding.DWELL, (jobs.since_move_s[rows] < settings.dwell_s)[:, None]),
        (Binding.MOVES_LIMIT, (jobs.moves_count[rows] >= settings.moves_per_day)[:, None]),
        (Binding.HYSTERESIS, energy["gain_w"] < settings.min_gain_ratio * jobs.power_w[rows, None]),
        (Binding.BREAK_EVEN, ~(energy["net_j"] > 0)),
        (Binding.TIME, ~(time["margin_s"] > 0)),
        (Binding.NO_WINDOW, sites.window_s[None, :] <= 0),
        (Binding.UNKNOWN, unknown[None, :] | unknown[source, None]),
    )
    for code, fails in soft:
        np.copyto(binding, np.uint8(code), where=fails)
    if np.any(leave):  # a drained node is left whatever it costs
        np.copyto(binding, np.uint8(Binding.OK), where=leave)
    here = np.arange(sites.pue.size)[None, :] == source[:, None]
    hard = (
        (Binding.CAPACITY, ~columns.has_room[jobs.need[rows]]),
        (Binding.GPU_MODEL, ~columns.has_model[jobs.need[rows]]),
        (Binding.UNREACHABLE, time["bandwidth_bytes_per_s"] <= 0),
        (Binding.FORBIDDEN, columns.forbidden[jobs.policy[rows]]),
        (Binding.HERE, here & ~leave),
        (Binding.NO_CHECKPOINT, ~jobs.has_checkpoint[rows, None] & ~leave),  # one that must leave is asked for one
        (Binding.UNMOVABLE, ~jobs.movable[rows, None]),
        (Binding.BUSY, ~jobs.decidable[rows, None]),
    )
    for row, site in jobs.refused:
        if rows.start <= row < rows.stop:
            binding[row - rows.start, site] = Binding.REFUSED
    for code, fails in hard:
        np.copyto(binding, np.uint8(code), where=fails)
    return binding
