"""The agent's durable small things: the journal, held jobs, output shipping, outputs, GPUs."""

from __future__ import annotations

import asyncio
import io
import tarfile
from pathlib import Path

import pytest

from heliotrope.agent import gpus, outputs
from heliotrope.agent.held import HeldJob, HeldJobs
from heliotrope.agent.jobs import runfolder
from heliotrope.agent.jobs.request import RunRequest
from heliotrope.agent.jobs.runs import Run
from heliotrope.agent.journal import Journal
from heliotrope.agent.logship import PIECE_BYTES, PIECES_IN_FLIGHT, LogShipper
from heliotrope.foundation.errors import Conflict, InvalidInput, NotFound
from heliotrope.foundation.jobspec import JobSpec, Resources
from heliotrope.foundation.model import CommandResult, Gpu, LogStream

SPEC = JobSpec(name="train", command=("true",))


def test_a_result_is_kept_until_it_is_forgotten(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    result = CommandResult(command_id="c-1", save_s=1.5)
    journal.record(result)
    again = Journal(tmp_path)
    assert again.find("c-1") == result
    assert again.unacknowledged() == [result]
    again.forget("c-1")
    again.forget("c-1")
    assert Journal(tmp_path).find("c-1") is None
    with pytest.raises(InvalidInput, match="command_id"):
        journal.find("../c-1")


def test_held_jobs_come_back_and_leave_nothing(tmp_path: Path) -> None:
    held = HeldJobs(tmp_path)
    held.put(HeldJob(job_id="j-1", spec=SPEC, bundle_digest=b"\x01"))
    held.update("j-1", epoch=4, fenced_epoch=3)
    assert HeldJobs(tmp_path).get("j-1").fenced_epoch == 3
    held.work("j-1").mkdir()
    held.remove("j-1")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(NotFound, match="never prepared here"):
        held.get("j-1")
    with pytest.raises(InvalidInput, match="job_id"):
        held.folder("../../etc")


def run_of(folder: Path) -> Run:
    return Run(
        RunRequest(
            job_id="j-1",
            epoch=2,
            attempt=0,
            command=("true",),
            working_dir=str(folder),
            checkpoint_dir=str(folder),
            run_dir=str(folder),
        )
    )


def shipped(shipper: LogShipper, run: Run) -> list[tuple[LogStream, int, bytes]]:
    return [(piece.stream, piece.offset, piece.data) for piece in shipper.pieces(run)]


def test_output_is_sent_once_and_again_after_a_cut(tmp_path: Path) -> None:
    run, shipper = run_of(tmp_path), LogShipper()
    assert shipped(shipper, run) == []
    (tmp_path / runfolder.STDOUT).write_bytes(b"one")
    assert shipped(shipper, run) == [(LogStream.STDOUT, 0, b"one")]
    assert shipped(shipper, run) == []
    shipper.acknowledge(("j-1", 2, 0, LogStream.STDOUT), 2)
    shipper.restart()
    assert shipped(shipper, run) == [(LogStream.STDOUT, 2, b"e")]
    (tmp_path / runfolder.STDERR).write_bytes(b"two")
    assert shipped(shipper, run) == [(LogStream.STDERR, 0, b"two")]


def test_output_on_its_way_is_bounded_and_rotation_is_followed(tmp_path: Path) -> None:
    run, shipper = run_of(tmp_path), LogShipper()
    big = bytes(range(256)) * (8 * PIECE_BYTES // 256)
    (tmp_path / runfolder.STDOUT).write_bytes(big)
    sent = b"".join(data for _, _, data in shipped(shipper, run))
    assert sent == big[: PIECES_IN_FLIGHT * PIECE_BYTES]
    (tmp_path / runfolder.STDOUT).rename(tmp_path / f"{runfolder.STDOUT}.1")
    (tmp_path / runfolder.STDOUT).write_bytes(b"after")
    while True:
        shipper.acknowledge(("j-1", 2, 0, LogStream.STDOUT), len(sent))
        pieces = shipped(shipper, run)
        if not pieces:
            break
        sent += b"".join(data for _, _, data in pieces)
    assert sent == big + b"after"


def fetched(work: Path, *paths: str) -> dict[str, bytes]:
    async def read() -> bytes:
        return b"".join([piece async for piece in outputs.archive(work, paths)])

    with tarfile.open(fileobj=io.BytesIO(asyncio.run(read()))) as tar:
        files = [member for member in tar if member.isfile()]
        return {member.name: (tar.extractfile(member) or io.BytesIO()).read() for member in files}


def test_outputs_are_archived_by_name_and_pattern(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    for name in ("out/a.bin", "out/b.bin", "result.json"):
        (tmp_path / name).write_bytes(name.encode() * 1000)
    assert fetched(tmp_path, "result.json", "out/*.bin").keys() == {"result.json", "out/a.bin", "out/b.bin"}
    assert fetched(tmp_path, "out")["out/b.bin"] == b"out/b.bin" * 1000


@pytest.mark.parametrize(
    ("paths", "error", "text"),
    [
        ((), InvalidInput, "names none"),
        (("missing",), NotFound, "'missing'"),
        (("../secret",), InvalidInput, "leaves the job's folder"),
        (("/etc/passwd",), InvalidInput, "leaves the job's folder"),
        (("link",), InvalidInput, "a link out of"),
    ],
)
def test_outputs_stay_inside_the_jobs_folder(
    tmp_path: Path, paths: tuple[str, ...], error: type[Exception], text: str
) -> None:
    work = tmp_path / "work"
    work.mkdir()
    (tmp_path / "secret").write_text("no")
    (work / "link").symlink_to(tmp_path / "secret")
    with pytest.raises(error, match=text):
        fetched(work, *paths)


def test_gpus_are_given_exclusively_by_uuid() -> None:
    devices = tuple(Gpu(uuid=f"GPU-{n}", model="H200" if n else "A100", memory_bytes=100) for n in range(3))

    def held(job_id: str, count: int, uuids: tuple[str, ...] = (), model: str = "") -> HeldJob:
        resources = Resources(gpu_count=count, gpu_model=model, gpu_memory_bytes=50)
        spec = JobSpec(name="train", command=("true",), resources=resources)
        return HeldJob(job_id=job_id, spec=spec, bundle_digest=b"", gpu_uuids=uuids)

    other = held("j-2", 1, ("GPU-1",))
    assert gpus.allocate(devices, held("j-1", 0), [other]) == ()
    assert gpus.allocate(devices, held("j-1", 2), [other]) == ("GPU-0", "GPU-2")
    assert gpus.allocate(devices, held("j-1", 1, ("GPU-2",)), [other]) == ("GPU-2",)
    assert gpus.allocate(devices, held("j-1", 1, model="H200"), [other]) == ("GPU-2",)
    with pytest.raises(Conflict, match="2 of 3 here are free"):
        gpus.allocate(devices, held("j-1", 3), [other])
