"""The ledger's promises: each joule once, in any order of arrival, in chains that nothing can be changed in."""

from __future__ import annotations

import contextlib
import itertools
import json
import sqlite3
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy import text
from sqlalchemy.exc import DatabaseError

from heliotrope.coordinator.managers.ledger import reservations, spread
from heliotrope.coordinator.managers.world import Boot
from heliotrope.foundation import authority
from heliotrope.foundation import ledger as books
from heliotrope.foundation.ledger import Entry

from .bookkeeping import NOON, Bookkeeping, Clock, batch, bookkeeping, make_authority

HOUR_S = 3600.0


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Bookkeeping]:
    with bookkeeping(tmp_path) as made:
        yield made


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> authority.Authority:
    return make_authority(tmp_path_factory.mktemp("authority") / "ca")


def test_energy_is_closed_into_one_entry_per_interval_device_and_job(kept: Bookkeeping) -> None:
    for number in range(60):
        kept.take("n1", batch(number + 1, number * 10, {"j-1": 3.0, "": 1.0}))
    kept.wait(59)
    first = kept.entries("n1")
    assert [(e.start_ms, e.job_id, e.energy_uj, e.kind) for e in first] == [
        (_ms(0), "", 30_000_000, "first"),
        (_ms(0), "j-1", 90_000_000, "first"),
    ], "the second interval waits for its grace"
    kept.wait(2)
    assert [e.start_ms for e in kept.entries("n1")] == [_ms(0), _ms(0), _ms(300), _ms(300)]
    assert {e.covered_us for e in first} == {300_000_000}


def test_a_batch_over_a_boundary_is_split_to_the_microjoule(kept: Bookkeeping) -> None:
    kept.take("n1", batch(1, 297, {"j-1": 0.000_010}))
    kept.wait(HOUR_S)
    assert [(e.start_ms, e.energy_uj, e.span_us) for e in kept.entries("n1")] == [
        (_ms(0), 3, 3_000_000),
        (_ms(300), 7, 7_000_000),
    ]


@given(
    amounts=st.lists(st.integers(0, 10**15), min_size=1, max_size=4).map(tuple),
    start=st.integers(-(10**6), 10**6),
    span=st.integers(0, 10**6),
    length=st.integers(1000, 300_000),
)
def test_spreading_loses_nothing(amounts: tuple[int, ...], start: int, span: int, length: int) -> None:
    parts = list(spread(amounts, start, start + span, length))
    assert tuple(map(sum, zip(*(part for _, part in parts), strict=True))) == amounts
    assert all(at % length == 0 and min(part) >= 0 for at, part in parts)


@given(owners=st.sets(st.sampled_from(["", "?", "a", "b", "c"]), min_size=1), span_us=st.integers(0, 10**9))
def test_a_devices_time_is_given_once(owners: set[str], span_us: int) -> None:
    parts = reservations(sorted(owners), span_us)
    assert sum(parts.values()) == span_us
    jobs = owners - {"", "?"}
    assert not jobs or (parts.get("", 0) == parts.get("?", 0) == 0)


def test_what_comes_late_is_marked_and_what_comes_later_corrects_it(kept: Bookkeeping) -> None:
    kept.take("n1", batch(1, 0, {"j-1": 5.0}))
    kept.wait(HOUR_S)
    kept.take("n1", batch(2, 10, {"j-1": 2.0}))
    kept.take("n1", batch(3, 20, {"j-2": 1.0}))
    kept.wait(HOUR_S)
    kept.take("n1", batch(4, 30, {"j-2": 4.0}))
    kept.wait(HOUR_S)
    found = [(e.sequence, e.kind, e.job_id, e.energy_uj // 10**6, e.corrects) for e in kept.entries("n1")]
    assert found == [
        (1, "first", "j-1", 5, None),
        (2, "correction", "j-1", 2, 1),
        (3, "late", "j-2", 1, None),
        (4, "correction", "j-2", 4, 3),
    ]
    assert kept.audit().problem == ""
    assert kept.row("node", "n1").energy_j == 12.0
    assert kept.row("node", "n1").late_energy_j == 7.0


def test_lost_batches_and_refused_ones_are_entries(kept: Bookkeeping) -> None:
    lost = batch(1, 0, {}, gap_reason="quota", gap_count=7)
    assert kept.take("n1", msgspec.structs.replace(lost, devices=())) == 1
    assert kept.take("n1", batch(2, 10, {"j-1": -1.0})) == 2, "acknowledged, or it would come for ever"
    assert kept.take("n1", batch(3, 20, {"j-1": float("nan")})) == 3
    first, negative, absurd = kept.entries("n1")
    assert (first.kind, first.lost_count, first.note) == ("gap", 7, "quota")
    assert "negative" in (negative.note or "") and absurd.lost_count == 1
    assert kept.audit().problem == ""
    kept.wait(HOUR_S)
    assert kept.row("node", "n1").lost_batch_count == 9


def test_a_device_that_nobody_could_read_is_a_gap_in_the_coverage(kept: Bookkeeping) -> None:
    kept.take("n1", batch(1, 0, {"j-1": 8.0}))
    kept.take("n1", batch(2, 10, {}, coverage_ratio=0.0))
    kept.wait(HOUR_S)
    row = kept.row("node", "n1")
    assert (row.energy_j, row.coverage_ratio) == (8.0, 0.5)
    assert row.reserved_s == 20.0


# -- the node's clock


def test_a_wrong_clock_is_put_right_by_the_boots_time_line(kept: Bookkeeping) -> None:
    """A board without a battery: 1970 until its clock is set; its spool follows when it meets the coordinator."""
    kept.clock.passed_s = HOUR_S
    kept.world.boots["n1"] = Boot("boot-1", NOON)
    kept.take("n1", batch(1, -1_772_366_400.0, {"j-1": 1.0}, boot_id="boot-1", start_boottime_s=600.0))
    kept.take("n1", batch(2, 910.5, {"j-1": 1.0}, boot_id="boot-1", start_boottime_s=910.0))
    kept.wait(HOUR_S)
    assert [e.start_ms for e in kept.entries("n1")] == [_ms(600), _ms(900)]


def test_without_a_time_line_nothing_is_backdated_or_of_the_future(kept: Bookkeeping) -> None:
    kept.clock.passed_s = HOUR_S
    kept.take("n1", batch(1, 1200, {"j-1": 1.0}, boot_id="old"))
    kept.take("n1", batch(2, 300, {"j-1": 1.0}, boot_id="older"))
    kept.take("n1", batch(3, 10 * HOUR_S, {"j-1": 1.0}, boot_id="older"))
    kept.take("n1", batch(4, -1_772_366_400.0, {"j-1": 1.0}, boot_id="older", spool_id="another"))
    kept.wait(HOUR_S)
    starts = [e.start_ms for e in kept.entries("n1") for _ in range(e.energy_uj // 10**6)]
    assert starts == [_ms(1200), _ms(1200), _ms(3300), _ms(3300)]


# -- any order


Arrivals = list[tuple[str, str, int, int, int]]
ARRIVALS = st.permutations(
    [
        (node, spool, sequence, place, 1 + 7 * sequence)
        for node in ("n1", "n2")
        for spool, place in (("a", 0), ("b", 4))  # b: the node was made anew in the middle
        for sequence, place in enumerate(range(place, place + 4), 1)
    ]
)


@settings(
    max_examples=8,
    phases=[Phase.explicit, Phase.generate],
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(arrivals=ARRIVALS, events=st.lists(st.sampled_from(["", "restart", "wait", "again", "sign"]), min_size=16))
def test_any_order_with_repetitions_and_restarts_makes_the_same_sums(
    tmp_path_factory: pytest.TempPathFactory, ca: authority.Authority, arrivals: Arrivals, events: list[str]
) -> None:
    """Records come late, twice, before others; the coordinator restarts; intervals close in between."""
    with bookkeeping(tmp_path_factory.mktemp("order"), ca=ca) as kept:
        before: dict[str, int] = {}
        for (node, spool, sequence, place, joules), event in zip(arrivals, events, strict=False):
            made = batch(sequence, place * 145, {"j-1": joules, "": 0.5}, node_id=node, spool_id=spool)
            kept.take(node, made)
            if event == "again":
                kept.take(node, made)
            elif event == "restart":
                kept.restart()
            elif event == "wait":
                kept.wait(400)
            elif event == "sign":
                kept.sign()
            totals = {row.name: round(row.energy_j * 1e6) for row in kept.report().rows if row.kind == "node"}
            assert all(totals[name] >= known for name, known in before.items()), "a total never falls"
            before = totals
        kept.wait(2 * HOUR_S)
        kept.sign()
        audit = kept.audit()
        assert audit.problem == "" and [chain.signed_sequence for chain in audit.chains] == [
            chain.entry_count for chain in audit.chains
        ]
        for node in ("n1", "n2"):
            found: dict[tuple[int, str], int] = {}
            for entry in kept.entries(node):
                key = (entry.start_ms, entry.job_id)
                found[key] = found.get(key, 0) + entry.energy_uj
            assert found == _expected(node)


def _expected(node: str) -> dict[tuple[int, str], int]:
    """What the agent measured, added up without a ledger."""
    totals: dict[tuple[int, str], int] = {}
    for place, sequence in zip(range(8), itertools.cycle(range(1, 5)), strict=False):
        for job, joules in (("j-1", 1 + 7 * sequence), ("", 0.5)):
            start_s = place * 145
            inside = min(300 - start_s % 300, 10)
            parts = [(start_s // 300, joules * inside / 10), (start_s // 300 + 1, joules * (10 - inside) / 10)]
            for index, part in parts:
                if part:
                    key = (_ms(index * 300), job)
                    totals[key] = totals.get(key, 0) + round(part * 1e6)
    return totals


# -- tampering


def signed_ledger(kept: Bookkeeping) -> bytes:
    for number in range(6):
        kept.take("n1", batch(number + 1, number * 150, {"j-1": 3.25, "": 1.0}))
        kept.take("n3", batch(number + 1, number * 150, {'jé"\\': 2.0}, node_id="n3"))
    kept.wait(HOUR_S)
    kept.take("n1", batch(7, 0, {"j-1": 1.5}))
    kept.sign()
    kept.wait(HOUR_S)
    kept.sign()
    return kept.export()


def test_a_change_of_any_byte_of_an_export_is_found(kept: Bookkeeping) -> None:
    data = signed_ledger(kept)
    assert kept.audit(data).problem == ""
    for place in range(0, len(data)):
        changed = bytearray(data)
        changed[place] ^= 1 << (place % 8)
        assert kept.audit(bytes(changed)).problem, (place, data[place - 40 : place + 40])


def test_a_line_that_is_missing_twice_there_or_elsewhere_is_found(kept: Bookkeeping) -> None:
    whole = signed_ledger(kept).splitlines(keepends=True)
    for place in range(len(whole)):
        without, twice = [*whole[:place], *whole[place + 1 :]], [*whole[:place], whole[place], *whole[place:]]
        swapped = [*whole[:place], *reversed(whole[place : place + 2]), *whole[place + 2 :]]
        for bad in (without, twice) if place == len(whole) - 1 else (without, twice, swapped):
            assert kept.audit(b"".join(bad)).problem, whole[place]
    assert kept.audit(b"".join(whole)[:-1]).problem


@pytest.mark.parametrize("column", [name for name in Entry.__struct_fields__ if name != "node_id"])
def test_a_change_in_the_database_is_found_and_named(kept: Bookkeeping, column: str) -> None:
    signed_ledger(kept)
    kept.database.close()
    with contextlib.closing(sqlite3.connect(kept.folder / "state" / "coordinator.sqlite")) as connection, connection:
        for trigger in ("ledger_entries_no_update",):
            connection.execute(f"DROP TRIGGER {trigger}")  # whoever owns the file can
        new = {"kind": "'late'", "sequence": "sequence + 100", "estimated": "1"}.get(
            column, f"coalesce({column}, 0) + 1"
        )
        if column in ("site", "device", "scope", "source", "metered", "job_id", "note"):
            new = "'facility'" if column == "metered" else "'other'"
        connection.execute(f"UPDATE ledger_entries SET {column} = {new} WHERE node_id = 'n1' AND sequence = 3")
    kept.start()
    result = kept.audit(kept.export("n1"))
    assert result.problem and (result.broken_node, result.broken_sequence) in (("n1", 3), ("n1", 4)), result.problem


def test_a_rewritten_past_is_found_with_an_earlier_export(kept: Bookkeeping, tmp_path: Path) -> None:
    """Whoever holds the coordinator's key can sign another chain; a kept export is what shows it."""
    first = kept.audit(signed_ledger(kept))
    earlier = _heads(kept, kept.export())
    assert kept.audit(earlier=earlier).problem == ""
    (tmp_path / "forged").mkdir()
    with bookkeeping(tmp_path / "forged", ca=authority.open(tmp_path / "ca", clock=Clock())) as forged:
        for number in range(12):
            forged.take("n1", batch(number + 1, number * 150, {"j-1": 0.25}))
            forged.take("n3", batch(number + 1, number * 150, {"j-1": 0.25}, node_id="n3"))
        forged.wait(HOUR_S)
        forged.sign()
        assert forged.audit().problem == "", "in itself it is perfect"
        assert "the past was rewritten" in forged.audit(earlier=earlier).problem
    assert first.problem == "" and first.chains[0].signed_sequence == first.chains[0].entry_count


def test_a_head_of_another_fleets_coordinator_is_refused(kept: Bookkeeping, tmp_path: Path) -> None:
    signed_ledger(kept)
    (tmp_path / "stranger").mkdir()
    stranger = make_authority(tmp_path / "stranger" / "ca")
    with bookkeeping(tmp_path / "stranger", ca=stranger) as other:
        signed_ledger(other)
        assert "was not signed by this authority" in kept.audit(other.export()).problem


def _heads(kept: Bookkeeping, data: bytes) -> list[books.Head]:
    return [books.Head(**json.loads(line)["head"]) for line in data.splitlines() if json.loads(line)["type"] == "head"]


@pytest.mark.parametrize("table", ["ledger_entries", "ledger_heads", "ledger_signers"])
def test_the_database_itself_refuses_changes(kept: Bookkeeping, table: str) -> None:
    data = signed_ledger(kept)
    column = "serial" if table == "ledger_signers" else "node_id"
    for statement in (f"UPDATE {table} SET {column} = 'x'", f"DELETE FROM {table}"):
        with pytest.raises(DatabaseError, match="append-only"), kept.database.engine.begin() as connection:
            connection.execute(text(statement))
    assert kept.export() == data


def test_the_text_of_an_entry_is_what_any_json_library_writes(kept: Bookkeeping) -> None:
    """docs/ledger.md promises an auditor that this line of Python makes the bytes that were hashed."""
    signed_ledger(kept)
    for node in ("n1", "n3"):
        for entry in kept.entries(node):
            body = books.canonical(entry)
            again = json.dumps(json.loads(body), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
            assert again.encode() == body


@given(text=st.text(st.characters(exclude_categories=["Cs"]), max_size=20))
def test_every_text_has_one_form(text: str) -> None:
    body = books.canonical(books.Head(fleet=text, node_id="n", sequence=1, hash="00", signed_utc="", signer=""))
    again = json.dumps(json.loads(body), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert again.encode() == body


def _ms(after_noon_s: float) -> int:
    return round((NOON + timedelta(seconds=after_noon_s)).timestamp() * 1000)
