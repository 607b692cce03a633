"""Accounts: sums of the ledger as a report's rows. The formulas and where they are from: docs/ledger.md."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping

from heliotrope.v1 import operator_pb2 as pb

from ..state.ledger_model import Sums

UJ, US, NG = 1e6, 1e6, 1e9
HOUR_MS, DAY_MS = 3_600_000, 86_400_000
PPM = 1_000_000

Shares = Mapping[tuple[str, int], float]


class Account:
    """Sums under one name. Whole numbers until a row is made of it: the order of adding changes nothing."""

    def __init__(self) -> None:
        self._totals: defaultdict[str, int] = defaultdict(int)
        self._hours_uj: defaultdict[tuple[str, int], int] = defaultdict(int)
        self._sources: set[str] = set()
        self._estimated = False

    def add(self, sums: Sums) -> None:
        totals = self._totals
        for name in _SUMMED:
            totals[name] += getattr(sums, name)
        if sums.is_open:
            totals["open_uj"] += sums.energy_uj
        pue_ppm = PPM if sums.pue_ppm is None else sums.pue_ppm
        totals["facility_upj"] += sums.energy_uj * pue_ppm
        if sums.metered == "facility":
            totals["facility_metered_uj"] += sums.energy_uj
        self._hours_uj[sums.site, sums.bucket_ms // HOUR_MS] += sums.energy_uj
        if sums.source:
            self._sources.add(sums.source)
        self._estimated = self._estimated or sums.estimated

    @property
    def facility_j(self) -> float:
        return self._totals["facility_upj"] / PPM / UJ

    def row(self, kind: str, name: str, site: str, shares: Shares) -> pb.ReportRow:
        """``shares``: (site, hour) -> renewable share."""
        totals = self._totals
        row = pb.ReportRow(kind=kind, name=name, site=site)
        row.energy_j = totals["energy_uj"] / UJ
        row.facility_energy_j = self.facility_j
        row.carbon_g = totals["carbon_ng"] / NG
        row.carbon_static_g = totals["carbon_static_ng"] / NG
        row.renewable_energy_j = totals["renewable_uj"] / UJ
        row.unknown_energy_j = totals["unknown_carbon_uj"] / UJ
        row.unknown_static_energy_j = totals["unknown_static_uj"] / UJ
        row.unknown_renewable_energy_j = totals["unknown_renewable_uj"] / UJ
        row.late_energy_j = totals["late_uj"] / UJ
        row.open_energy_j = totals["open_uj"] / UJ
        row.lost_batch_count = totals["lost_count"]
        row.reserved_s = totals["reserved_us"] / US
        row.unknown_embodied_s = totals["unknown_embodied_us"] / US
        row.estimated = self._estimated
        row.coverage_ratio = totals["covered_us"] / totals["span_us"] if totals["span_us"] else 0.0
        row.sources.extend(sorted(self._sources))
        self._set_ratios(row, shares)
        return row

    def _set_ratios(self, row: pb.ReportRow, shares: Shares) -> None:
        totals = self._totals
        if totals["unknown_embodied_us"] < totals["reserved_us"]:
            row.embodied_g = totals["embodied_ng"] / NG
        known_uj = totals["energy_uj"] - totals["unknown_renewable_uj"]
        if known_uj > 0:
            row.renewable_ratio = totals["renewable_uj"] / known_uj
        hourly = [(used, shares[hour]) for hour, used in self._hours_uj.items() if hour in shares and used]
        if hourly:
            row.renewable_hourly_ratio = sum(used * share for used, share in hourly) / sum(used for used, _ in hourly)
        facility_uj = totals["facility_metered_uj"]
        row.facility_metered_energy_j = facility_uj / UJ
        it_uj = totals["energy_uj"] - facility_uj
        if it_uj > 0:
            row.pue_ratio = (totals["facility_upj"] / PPM - facility_uj) / it_uj


_SUMMED = (
    "energy_uj",
    "covered_us",
    "span_us",
    "reserved_us",
    "carbon_ng",
    "carbon_static_ng",
    "renewable_uj",
    "embodied_ng",
    "unknown_carbon_uj",
    "unknown_static_uj",
    "unknown_renewable_uj",
    "unknown_embodied_us",
    "late_uj",
    "lost_count",
)


def grouped(sums: Iterable[Sums], name: Callable[[Sums], tuple[str, str] | None]) -> dict[tuple[str, str], Account]:
    """Accounts by (name, site), sorted; sums without a name are left out."""
    accounts: defaultdict[tuple[str, str], Account] = defaultdict(Account)
    for one in sums:
        key = name(one)
        if key is not None:
            accounts[key].add(one)
    return dict(sorted(accounts.items()))


def hourly_shares(by_interval: Mapping[tuple[str, int], int]) -> dict[tuple[str, int], float]:
    """(site, hour) -> mean renewable share of the site's power over the intervals of that hour that are known."""
    found: defaultdict[tuple[str, int], list[int]] = defaultdict(list)
    for (site, start_ms), ppm in by_interval.items():
        found[site, start_ms // HOUR_MS].append(ppm)
    return {hour: sum(values) / len(values) / PPM for hour, values in found.items()}
