"""A decision in words: one sentence, or the whole inequality with every term, number and unit."""

from __future__ import annotations

from .binding import MEANINGS, Binding
from .decision import Candidate, Decision, PairTerms
from .quantities import basis, joules, or_never, percent, seconds, size, watts


def reason(decision: Decision, state: str) -> str:
    """One sentence that a person understands; ``state`` is the job's state."""
    if decision.action == "place" and decision.chosen:
        return f"starts at {decision.chosen.site}: {_place_reason(decision.chosen)}"
    if decision.action == "move" and decision.chosen and decision.chosen.terms:
        return f"moves from {decision.source_site} to {decision.chosen.site}: {_move_reason(decision.chosen.terms)}"
    if decision.action == "none":
        if decision.binding == Binding.BUSY.label:
            return f"nothing is decided while the job is {state}"
        nearest = f"; nearest is {decision.rejected[0].site}" if decision.rejected else ""
        said = "".join(f"; {item.note}" for item in decision.rejected if item.note)
        return f"waits: no site can take it ({MEANINGS[Binding[decision.binding.upper()]]}{nearest}{said})"
    return f"stays at {decision.source_site}{_here_clause(decision)}: {_stay_reason(decision)}"


def render(decision: Decision) -> str:
    """The decision with the inequality and break-even of its chosen or nearest candidate, and each rejected site."""
    lines = [f"{decision.action} {decision.job_name} ({decision.job_id}): {decision.reason}"]
    subject = decision.chosen or (decision.rejected[0] if decision.rejected else None)
    if subject is not None:
        title = "chosen" if decision.chosen else "nearest alternative"
        node = f", node {subject.node}" if subject.node else ""
        lines += ["", f"{title}: {subject.site}{node}"]
        lines += [f"  {line}" for line in (_pair(subject, subject.terms) if subject.terms else _placing(subject))]
        lines += [f"  {line}" for line in _rules(decision, subject)]
    others = [item for item in decision.rejected if item is not subject]
    if others:
        lines += ["", "rejected:" if decision.chosen else "other sites:"]
        lines += [f"  {item.site}: {describe(decision, item)}" for item in others]
    hidden = decision.candidates_count - len(decision.rejected) - (decision.chosen is not None)
    if hidden > 0 and decision.rejected:
        lines.append(f"  and {hidden} more, further from being chosen")
    return "\n".join(lines) + "\n"


def describe(decision: Decision, item: Candidate) -> str:
    """A candidate's binding constraint with its figures, in one line."""
    binding = Binding[item.binding.upper()]
    text = f"{item.binding}: {MEANINGS[binding]}"
    terms = item.terms
    figures = ""
    if binding in (Binding.REFUSED, Binding.UNKNOWN):
        figures = item.note
    elif terms is None:
        figures = f"non-renewable share {percent(item.nonrenewable_ratio)}" if binding > Binding.CAPACITY else ""
    elif binding is Binding.TIME:
        figures = f"{seconds(terms.disruption_s)} >= {seconds(terms.alpha_window_s)}"
    elif binding in (Binding.BREAK_EVEN, Binding.OUTRANKED):
        figures = f"net {joules(terms.net_j)}"
    elif binding is Binding.HYSTERESIS and terms.gain_w is not None:
        figures = f"{watts(terms.gain_w)} of {watts(decision.rules.power_w)}"
    elif binding is Binding.DWELL:
        figures = f"moved {seconds(decision.rules.since_move_s)} ago, dwell {seconds(decision.rules.dwell_s)}"
    elif binding is Binding.MOVES_LIMIT:
        figures = f"{decision.rules.moves_count} of {decision.rules.moves_per_day}"
    return f"{text} ({figures})" if figures else text


def _pair(item: Candidate, terms: PairTerms) -> list[str]:
    """The paper's inequality, then break-even line by line."""
    sign, word = ("<", "feasible") if terms.feasible_time else (">=", "not feasible")
    lines = [
        f"T_transfer = S_wire / B = {size(terms.wire_bytes)} / {size(terms.bandwidth_bytes_per_s)}/s"
        f"{f' + latency {seconds(terms.latency_s)}' if terms.latency_s else ''} = {seconds(terms.transfer_s)}"
        f" (all of S = {size(terms.state_bytes)}: {seconds(terms.paper_transfer_s)})",
        *_base(item),
        *_staging(terms),
        f"T_transfer + T_load + T_downtime = {seconds(terms.transfer_s)} + {seconds(terms.load_s)} + "
        f"{seconds(terms.downtime_s)} = {seconds(terms.disruption_s)} {sign} alpha x T_energy = "
        f"{terms.alpha:.2f} x {seconds(terms.window_s)} = {seconds(terms.alpha_window_s)}: {word}",
    ]
    if terms.pair_class:
        lines.append(f"class {terms.pair_class}: {_CLASS_MEANINGS[terms.pair_class]}")
    if terms.net_j is None:
        return [*lines, "break-even: unknown, because a forecast is unknown"]
    worth = "worth it" if terms.feasible_energy else "not worth it"
    return [
        *lines,
        "break-even, in joules of non-renewable energy:",
        f"  saving the checkpoint     {joules(terms.saving_cost_j)}",
        f"  sending                   {joules(terms.sending_cost_j)}",
        f"  loading                   {joules(terms.loading_cost_j)}",
        f"  standing                  {joules(terms.standing_cost_j)}",
        f"  cost of the move          {joules(terms.cost_j)}",
        f"  leaving again             {joules(terms.leaving_cost_j)}",
        f"  gain                      {watts(terms.gain_w)} x {seconds(terms.gain_span_s)} = {joules(terms.gain_j)}"
        f" (non-renewable share {percent(terms.source_nonrenewable_ratio)} here,"
        f" {percent(terms.destination_nonrenewable_ratio)} there)",
        f"  net                       {joules(terms.net_j)}: {worth}",
        f"  repaid after              {or_never(terms.break_even_s)}",
    ]


def _base(item: Candidate) -> list[str]:
    """What the destination holds of the job already, and what that saves; nothing to say where nothing lies."""
    terms = item.terms
    if terms is None or terms.base_age_s is None or not item.base_node:
        return []
    older = f"a checkpoint {seconds(terms.base_age_s)} older" if terms.base_age_s else "the newest checkpoint"
    why = f" ({item.base_why})" if item.base_why else ""
    without = terms.fresh_move_wire_bytes
    saved = "" if without is None else f"; without it S_move = {size(without)}"
    return [f"there already, at {item.base_node}: {older}{why}{saved}"]


def _staging(terms: PairTerms) -> list[str]:
    """What is sent while the job runs on; nothing to say where nothing is."""
    if terms.move_wire_bytes is None or terms.move_wire_bytes <= terms.wire_bytes:
        return []
    before_bytes = terms.move_wire_bytes - terms.wire_bytes
    return [
        f"before that, the job running: {size(before_bytes)} in {seconds(terms.staging_s)}; "
        f"S_move = {size(terms.move_wire_bytes)} in all"
    ]


_CLASS_MEANINGS = {
    "A": "feasible even for the shortest windows seen there (5th percentile)",
    "B": "feasible for some of the windows seen there",
    "C": "feasible for no window seen there",
}


def _placing(item: Candidate) -> list[str]:
    return [
        f"non-renewable share {percent(item.nonrenewable_ratio)} over the next {seconds(item.span_s)}",
        f"renewable window: {f'{seconds(item.window_s)} left' if item.window_s > 0 else 'closed'}",
    ]


def _rules(decision: Decision, subject: Candidate) -> list[str]:
    rules = decision.rules
    lines = []
    if decision.action in ("move", "stay"):
        moved = "never moved" if rules.since_move_s is None else f"moved {seconds(rules.since_move_s)} ago"
        lines.append(
            f"rules: {moved} (dwell {seconds(rules.dwell_s)}), {rules.moves_count} of {rules.moves_per_day} moves"
            f" in a day, least gain {percent(rules.min_gain_ratio)} of {watts(rules.power_w)}"
        )
        lines.append(
            f"forecasts: window {basis(rules.window_quantile_ratio)}, bandwidth {basis(rules.bandwidth_quantile_ratio)}"
        )
    lines.append(f"binding: {describe(decision, subject)}")
    return lines


def _place_reason(chosen: Candidate) -> str:
    window = (
        f"its renewable window is open for {seconds(chosen.window_s)}" if chosen.window_s > 0 else "no window is open"
    )
    if chosen.nonrenewable_ratio is None:
        return f"{window}, and its forecast is unknown"
    why = "preferred by its policy, " if chosen.preferred else ""
    share = f"{percent(chosen.nonrenewable_ratio)} non-renewable over the next {seconds(chosen.span_s)}"
    return f"{why}{share}; {window}"


def _move_reason(terms: PairTerms) -> str:
    if terms.net_j is None or not (terms.feasible_time and terms.feasible_energy):
        return f"its node must be left; the job stands still for {seconds(terms.disruption_s)}"
    return (
        f"saves {joules(terms.net_j)} of non-renewable energy over {seconds(terms.gain_span_s)} for a standstill of "
        f"{seconds(terms.disruption_s)}"
    )


def _stay_reason(decision: Decision) -> str:
    if not decision.rejected:
        return "there is no other site"
    nearest = decision.rejected[0]
    if decision.binding in (Binding.UNMOVABLE.label, Binding.NO_CHECKPOINT.label):
        return MEANINGS[Binding[decision.binding.upper()]]  # of the job, whatever the site
    return f"the nearest alternative, {nearest.site}, fails on {describe(decision, nearest)}"


def _here_clause(decision: Decision) -> str:
    if decision.here and decision.here.window_s > 0:
        return f" (window open for another {seconds(decision.here.window_s)})"
    return ""
