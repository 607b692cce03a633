"""A snapshot as it will be a while later, were the forecasts right and did nothing else change."""

from __future__ import annotations

from itertools import pairwise

import msgspec

from .snapshot import JobView, SiteView, Snapshot, WindowView


def later(snapshot: Snapshot, after_s: float) -> Snapshot:
    """The same fleet ``after_s`` seconds on: windows and profiles have moved up, dwell times have run, no transfer is
    under way any more. What jobs hold and draw stays as it is."""
    return msgspec.structs.replace(
        snapshot,
        jobs=tuple(_job(job, after_s) for job in snapshot.jobs),
        sites=tuple(_site(site, after_s) for site in snapshot.sites),
        transfers=(),
    )


def windows_of(site: SiteView) -> tuple[WindowView, ...]:
    """The open window and those to come; of a snapshot that lists none, the open one."""
    if site.windows or site.window_remaining_s <= 0:
        return site.windows
    return (WindowView(start_s=0.0, end_s=site.window_remaining_s),)


def _job(job: JobView, after_s: float) -> JobView:
    def left(span_s: float | None) -> float | None:
        return None if span_s is None else max(span_s - after_s, 0.0)

    return msgspec.structs.replace(
        job,
        remaining_s=left(job.remaining_s),
        leave_by_s=left(job.leave_by_s),
        since_move_s=None if job.since_move_s is None else job.since_move_s + after_s,
    )


def _site(site: SiteView, after_s: float) -> SiteView:
    windows = tuple(
        WindowView(start_s=max(window.start_s - after_s, 0.0), end_s=window.end_s - after_s)
        for window in windows_of(site)
        if window.end_s > after_s
    )
    profile = _profile(site, after_s)
    known_ratio = profile[0] if profile else None
    return msgspec.structs.replace(
        site,
        nonrenewable_profile=profile,
        nonrenewable_ratio=site.nonrenewable_ratio if after_s == 0 else known_ratio,
        window_remaining_s=windows[0].end_s if windows and windows[0].start_s == 0 else 0.0,
        next_window_s=next((window.start_s for window in windows if window.start_s > 0), None),
        windows=windows,
    )


def _profile(site: SiteView, after_s: float) -> tuple[float, ...]:
    """Means over the same steps, counted from then; the last one may no longer be known in full, and goes."""
    skipped, rest_s = divmod(after_s, site.profile_step_s)
    known = site.nonrenewable_profile[int(skipped) :]
    if rest_s == 0:
        return known
    weight = rest_s / site.profile_step_s
    means = ((1 - weight) * one + weight * after for one, after in pairwise(known))
    return tuple(min(max(mean, 0.0), 1.0) for mean in means)
