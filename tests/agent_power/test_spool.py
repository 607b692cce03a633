"""The spool: nothing lost to kills, torn writes or outages; what must be lost is counted."""

from __future__ import annotations

import errno
import hashlib
import os
import resource
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heliotrope.agent.power.batch import DeviceEnergy, EnergyBatch, EnergyShare
from heliotrope.agent.spool import Gap, Spool, SpoolConfig, decode
from heliotrope.foundation.errors import Corrupt

START_UTC = datetime(2026, 6, 1, tzinfo=UTC)
SMALL = SpoolConfig(quota_bytes=32_768, segment_bytes=4096, fsync_s=0.0)


class HandClock:
    """A clock that the test turns; the spool only asks it when to sync."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def monotonic_s(self) -> float:
        return self.now_s

    def boottime_s(self) -> float:
        return self.now_s

    def utc(self) -> datetime:
        return START_UTC + timedelta(seconds=self.now_s)


def batch(number: int, device_count: int = 1) -> EnergyBatch:
    """Batch ``number`` covers ten seconds and holds ``number`` joules."""
    start_utc = START_UTC + timedelta(seconds=10 * number)
    devices = tuple(
        DeviceEnergy(
            device=f"GPU-{hashlib.sha256(f'{number} {index}'.encode()).hexdigest()}",  # does not compress
            source="nvml",
            scope="gpu",
            estimated=False,
            energy_j=float(number),
            min_w=1.0,
            mean_w=2.0,
            max_w=None,
            coverage_ratio=1.0,
        )
        for index in range(device_count)
    )
    shares = tuple(EnergyShare(device=d.device, job_id="job", energy_j=d.energy_j, rule="sm") for d in devices)
    return EnergyBatch(
        boot_id="boot",
        start_utc=start_utc,
        end_utc=start_utc + timedelta(seconds=10),
        start_boottime_s=10.0 * number,
        devices=devices,
        shares=shares,
    )


def numbers(spool: Spool) -> list[int]:
    """The joules of every pending batch: which of them are there."""
    return [int(entry.devices[0].energy_j) for entry in entries(spool) if isinstance(entry, EnergyBatch)]


def entries(spool: Spool) -> list[EnergyBatch | Gap]:
    return [decode(data) for _, data in spool.pending(100_000)]


def lost(spool: Spool) -> int:
    return sum(entry.count for entry in entries(spool) if isinstance(entry, Gap))


def open_spool(folder: Path, config: SpoolConfig = SMALL) -> Spool:
    return Spool(folder / "spool", HandClock(), config)


def segment_files(folder: Path) -> list[Path]:
    return sorted((folder / "spool").glob("*.seg"))


def test_what_goes_in_comes_out_in_order(tmp_path: Path) -> None:
    spool = open_spool(tmp_path)
    first = batch(1)
    assert [spool.append(first), spool.append(batch(2))] == [1, 2]
    (sequence, data), _ = spool.pending(10)
    assert (sequence, decode(data)) == (1, first)
    assert [sequence for sequence, _ in spool.pending(1)] == [1]
    assert [sequence for sequence, _ in spool.pending(10, after=1)] == [2]


def test_the_id_stays_with_the_folder_and_a_new_folder_gets_a_new_one(tmp_path: Path) -> None:
    first = open_spool(tmp_path).spool_id
    assert open_spool(tmp_path).spool_id == first
    assert open_spool(tmp_path / "imaged").spool_id != first


def test_acknowledging_drops_whole_segments_and_numbers_never_repeat(tmp_path: Path) -> None:
    spool = open_spool(tmp_path)
    for number in range(1, 121):
        spool.append(batch(number))
    before = len(segment_files(tmp_path))
    assert before > 2
    spool.acknowledge(60)
    assert len(segment_files(tmp_path)) < before
    assert numbers(spool) == list(range(61, 121))
    spool.acknowledge(120)
    assert spool.pending(10) == []
    spool.close()
    again = open_spool(tmp_path)
    assert again.acknowledged == 120
    assert again.append(batch(121)) == 121


def test_a_lost_acknowledgement_only_repeats(tmp_path: Path) -> None:
    spool = open_spool(tmp_path)
    for number in range(1, 5):
        spool.append(batch(number))
    spool.acknowledge(4)
    spool.close()
    (tmp_path / "spool" / "acknowledged").write_text("")
    again = open_spool(tmp_path)
    assert numbers(again) == [1, 2, 3, 4]
    assert again.append(batch(5)) == 5


def test_a_disk_set_back_goes_on_above_what_the_coordinator_knows(tmp_path: Path) -> None:
    """Numbers given out again would be taken for repetitions, and their joules dropped."""
    spool = open_spool(tmp_path)
    spool.append(batch(1))
    spool.acknowledge(500)
    assert spool.append(batch(2)) == 501
    assert numbers(spool) == [2]
    spool.close()
    assert open_spool(tmp_path).append(batch(3)) == 502


@settings(max_examples=60)
@given(data=st.data())
def test_a_torn_last_record_is_cut_and_the_others_stay(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("torn")
    spool = open_spool(folder)
    for number in (1, 2, 3):
        spool.append(batch(number))
    spool.close()
    (path,) = segment_files(folder)
    whole = path.read_bytes()
    last = len(whole) * 2 // 3 + 20
    cut = data.draw(st.integers(last, len(whole) - 1))
    junk = data.draw(st.binary(max_size=40))
    path.write_bytes(whole[:cut] + junk if junk[:1] != whole[cut : cut + 1] else whole[:cut])
    again = open_spool(folder)
    assert numbers(again) == [1, 2]
    assert again.append(batch(4)) == 3
    assert numbers(again) == [1, 2, 4]


def test_damage_in_the_middle_costs_its_segment_and_is_counted_once(tmp_path: Path) -> None:
    spool = open_spool(tmp_path)
    for number in range(1, 121):
        spool.append(batch(number))
    spool.close()
    path = segment_files(tmp_path)[1]
    following = int(segment_files(tmp_path)[2].stem)
    damaged = bytearray(path.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    path.write_bytes(damaged)
    again = open_spool(tmp_path)
    found = numbers(again)
    missing = sorted(set(range(1, 121)) - set(found))
    assert missing and missing == list(range(missing[0], following))
    again.append(batch(121))
    assert lost(again) == len(missing)
    again.close()
    assert lost(open_spool(tmp_path)) == len(missing)


def test_the_quota_drops_the_oldest_and_counts_them(tmp_path: Path) -> None:
    spool = open_spool(tmp_path)
    for number in range(1, 401):
        assert spool.append(batch(number)) > 0
    assert spool.size_bytes <= SMALL.quota_bytes
    assert sum(path.stat().st_size for path in segment_files(tmp_path)) <= SMALL.quota_bytes
    found = numbers(spool)
    assert found == list(range(found[0], 401))
    gaps = [entry for entry in entries(spool) if isinstance(entry, Gap)]
    assert {gap.reason for gap in gaps} == {"quota"}
    assert sum(gap.count for gap in gaps) + len(found) == 400
    assert min(gap.start_utc for gap in gaps if gap.start_utc) == batch(1).start_utc


def test_dropping_what_is_acknowledged_is_no_loss(tmp_path: Path) -> None:
    spool = open_spool(tmp_path)
    for number in range(1, 401):
        sequence = spool.append(batch(number))
        spool.acknowledge(sequence)
    assert lost(spool) == 0 and spool.pending(10) == []


WRITER = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from heliotrope.agent.power.batch import DeviceEnergy, EnergyBatch
from heliotrope.agent.spool import Spool, SpoolConfig
from heliotrope.foundation import failpoints
from heliotrope.foundation.clock import SystemClock
failpoints.arm()
spool = Spool(Path(sys.argv[1]), SystemClock(), SpoolConfig(quota_bytes=32768, segment_bytes=4096))
utc = datetime(2026, 6, 1, tzinfo=UTC)
number = spool.last_sequence
while True:
    number += 1
    device = DeviceEnergy(device=f"GPU-{number:064x}", source="nvml", scope="gpu", estimated=False,
                          energy_j=float(number), min_w=None, mean_w=None, max_w=None, coverage_ratio=1.0)
    batch = EnergyBatch(boot_id="b", start_utc=utc, end_utc=utc, start_boottime_s=0.0, devices=(device,), shares=())
    print(spool.append(batch), flush=True)
"""


def written_until_killed(folder: Path, failpoint: str, kill_after: int) -> list[int]:
    """Run a writer until its failpoint kills it, or until it has said ``kill_after`` numbers; the numbers it said."""
    environment = {**os.environ, "HELIOTROPE_FAILPOINTS": failpoint}
    command = [sys.executable, "-c", WRITER, str(folder / "spool")]
    said: list[int] = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        for line in process.stdout:
            said.append(int(line))
            if len(said) >= kill_after:
                process.kill()
                break
        process.kill()
    return said


@pytest.mark.parametrize("failpoint", ["", "spool.appended=kill", "spool.rolled=kill", "spool.dropped=kill"])
def test_a_killed_writer_loses_nothing_that_it_was_told_is_kept(tmp_path: Path, failpoint: str) -> None:
    said = written_until_killed(tmp_path, failpoint, kill_after=2000 if failpoint else 150)
    spool = open_spool(tmp_path)
    sequences = [sequence for sequence, _ in spool.pending(100_000)]
    assert sequences == list(range(sequences[0], sequences[-1] + 1))
    assert not said or sequences[-1] >= said[-1]
    spool.append(batch(1))
    batches = sum(isinstance(entry, EnergyBatch) for entry in entries(spool))
    gaps = sum(isinstance(entry, Gap) for entry in entries(spool))
    # Every number that was ever given out is a batch, a gap, or counted by a gap.
    assert batches + gaps + lost(spool) >= spool.last_sequence
    assert spool.append(batch(2)) == spool.last_sequence


def test_a_full_disk_raises_nothing_and_the_loss_is_recorded_when_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = open_spool(tmp_path)
    assert spool.append(batch(1)) == 1
    really = os.pwrite
    room = {"bytes": 40}

    def pwrite(handle: int, data: bytes, offset: int) -> int:
        """A disk with a few bytes left: it takes those, and then refuses."""
        if not room["bytes"]:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        taken, room["bytes"] = data[: room["bytes"]], 0
        return really(handle, taken, offset)

    monkeypatch.setattr(os, "pwrite", pwrite)
    assert [spool.append(batch(number)) for number in (2, 3, 4)] == [0, 0, 0]
    assert numbers(spool) == [1]
    monkeypatch.undo()
    assert spool.append(batch(5)) == 3
    found = entries(spool)
    assert found[1] == Gap(count=3, reason="disk full", start_utc=batch(2).start_utc, end_utc=batch(4).end_utc)
    spool.close()
    assert numbers(open_spool(tmp_path)) == [1, 5]


def test_a_real_file_size_limit_is_a_full_disk(tmp_path: Path) -> None:
    """The kernel itself refuses: a half record must not end the segment."""
    spool = open_spool(tmp_path)
    spool.append(batch(1))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (spool.size_bytes + 30, limits[1]))
    try:
        assert spool.append(batch(2)) == 0
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert spool.append(batch(3)) == 3
    assert (numbers(spool), lost(spool)) == ([1, 3], 1)


def test_syncs_are_as_rare_as_configured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = HandClock()
    spool = Spool(tmp_path / "spool", clock, SpoolConfig(fsync_s=30.0))
    synced: list[int] = []
    monkeypatch.setattr(os, "fdatasync", synced.append)
    for _ in range(12):
        clock.now_s += 10
        spool.append(batch(1))
    assert len(synced) == 4


def test_an_hour_at_defaults_stays_below_a_megabyte(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool", HandClock())
    for number in range(360):
        spool.append(batch(number, device_count=8))
    assert spool.size_bytes < 1_000_000


def test_a_week_without_a_coordinator_fits_the_default_quota() -> None:
    assert SpoolConfig().quota_bytes > 7 * 24 * 1_000_000


@pytest.mark.parametrize("data", [b"", b"\x07new", b"\x01notzlib", b"\x02\xc1"])
def test_unknown_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(Corrupt):
        decode(data)


def test_a_folder_that_cannot_be_made_is_an_error_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "spool").write_text("a file")
    with pytest.raises(FileExistsError):
        open_spool(tmp_path)


def test_sizes_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(ValueError, match="segment_bytes"):
        SpoolConfig(quota_bytes=8192, segment_bytes=8192)
