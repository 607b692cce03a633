"""A link that breaks at any byte costs at most what was in flight, and never a wrong byte."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from proxy import Proxy

from heliotrope.agent.transfer.partial import folder_of
from heliotrope.agent.transfer.result import PullOptions
from heliotrope.foundation.errors import HeliotropeError, Unreachable

from .conftest import Fleet, Site

SIZE_BYTES = 24_000_000
CHUNK_BYTES = 4 << 20


@pytest.fixture
def noise(tmp_path: Path) -> Path:
    """A checkpoint that does not compress, so that bytes on the wire are bytes of state."""
    path = tmp_path / "noise.npy"
    np.save(path, np.random.default_rng(5).integers(0, 1 << 62, SIZE_BYTES // 8))
    return path


@pytest.fixture
def proxied(site: Site) -> Iterator[Callable[..., Proxy]]:
    made: list[Proxy] = []

    def make(**options: object) -> Proxy:
        made.append(Proxy(site.server.address, **options))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for proxy in made:
        proxy.stop()


@pytest.mark.parametrize("cut", [0, 1, 700, 3_000, 4_000_000, 9_999_999])
def test_a_cut_resends_at_most_what_was_in_flight(
    site: Site, noise: Path, proxied: Callable[..., Proxy], tmp_path: Path, cut: int
) -> None:
    source = site.offer(noise)
    proxy = proxied(cuts=[cut])
    result = site.pull(tmp_path / "out", address=proxy.address, options=PullOptions(connections=1, give_up_s=20))
    assert result.manifest_digest == source.digest and proxy.connection_count == 2
    # one frame was under way; the rest of what passed counts
    assert result.wire_bytes <= SIZE_BYTES + CHUNK_BYTES + 300_000


def test_many_cuts_on_many_connections(site: Site, noise: Path, proxied: Callable[..., Proxy], tmp_path: Path) -> None:
    source = site.offer(noise)
    proxy = proxied(cuts=[5_000_000, 4_500_000, 6_000_000, 4_300_000])
    result = site.pull(tmp_path / "out", address=proxy.address, options=PullOptions(connections=3, give_up_s=20))
    assert result.manifest_digest == source.digest
    assert result.cuts >= 2, "all four connections that are cut carry less than the file"
    assert result.wire_bytes <= SIZE_BYTES + 4 * CHUNK_BYTES + 300_000


def test_a_flipped_byte_on_the_way_is_never_taken(
    site: Site, noise: Path, proxied: Callable[..., Proxy], tmp_path: Path
) -> None:
    def flip(number: int, passed: int, data: bytes) -> bytes:
        if number == 0 and passed <= 5_000_000 < passed + len(data):
            return data[:1] + bytes([data[1] ^ 1]) + data[2:]
        return data

    source = site.offer(noise)
    proxy = proxied(tamper=flip)
    result = site.pull(tmp_path / "out", address=proxy.address, options=PullOptions(connections=1, give_up_s=20))
    assert result.cuts == 1 and result.manifest_digest == source.digest


def test_a_link_that_stays_down_is_unreachable_and_keeps_what_came(
    site: Site, noise: Path, proxied: Callable[..., Proxy], tmp_path: Path
) -> None:
    source = site.offer(noise)
    proxy = proxied(cuts=[13_000_000] + [0] * 200)
    with pytest.raises(Unreachable):
        site.pull(tmp_path / "out", address=proxy.address, options=PullOptions(connections=1, give_up_s=1))
    result = site.pull(tmp_path / "out")
    assert result.manifest_digest == source.digest and result.resumed_bytes >= 2 * CHUNK_BYTES
    assert result.wire_bytes <= SIZE_BYTES - 2 * CHUNK_BYTES + 300_000


def test_nobody_there_is_unreachable(site: Site, tmp_path: Path) -> None:
    site.server.stop()
    with pytest.raises(Unreachable, match="cannot connect"):
        site.pull(tmp_path / "out", options=PullOptions(give_up_s=0.5))


def test_a_damaged_partial_chunk_is_fetched_again(
    site: Site, noise: Path, proxied: Callable[..., Proxy], tmp_path: Path
) -> None:
    site.offer(noise)
    proxy = proxied(cuts=[13_000_000] + [0] * 200)
    with pytest.raises(HeliotropeError):
        site.pull(tmp_path / "out", address=proxy.address, options=PullOptions(connections=1, give_up_s=1))
    with open(folder_of(tmp_path / "out") / "tree", "r+b") as file:
        file.seek(100_000)
        file.write(b"power was cut here")
    site.pull(tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == noise.read_bytes()


_SCRIPT = """
import sys
from pathlib import Path
from heliotrope.agent.transfer.client import pull
from heliotrope.agent.transfer.result import PullOptions
from heliotrope.foundation import failpoints, identity, tls
from heliotrope.foundation.tickets import TicketVerifier
folder, port, ticket, signer, ca, out, rate = sys.argv[1:]
failpoints.arm()
me = identity.load(Path(folder))
pull(("127.0.0.1", int(port)), tls.client_context(me), name=me.name, ticket=bytes.fromhex(ticket),
     verify_ticket=TicketVerifier(Path(ca).read_bytes(), Path(signer).read_bytes()), reference="newest",
     destination=Path(out), options=PullOptions(rate=float(rate) or None, memory_bytes=16 << 20))
"""


def start_pull(fleet: Fleet, site: Site, out: Path, *, rate: float, failpoint: str = "") -> subprocess.Popen[bytes]:
    arguments = [
        str(fleet.destination.key_path.parent),
        str(site.server.address[1]),
        fleet.ticket().hex(),
        str(fleet.coordinator.certificate_path),
        str(fleet.coordinator.ca_path),
        str(out),
        str(rate),
    ]
    return subprocess.Popen([sys.executable, "-c", _SCRIPT, *arguments], env={"HELIOTROPE_FAILPOINTS": failpoint})


def test_a_killed_pull_goes_on_where_it_was(fleet: Fleet, site: Site, noise: Path, tmp_path: Path) -> None:
    source = site.offer(noise)
    process = start_pull(fleet, site, tmp_path / "out", rate=8e6)
    journal = folder_of(tmp_path / "out") / "journal"
    end = datetime.now(UTC) + timedelta(seconds=30)
    while not (journal.exists() and journal.stat().st_size >= 12):
        assert datetime.now(UTC) < end and process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    result = site.pull(tmp_path / "out")
    assert result.manifest_digest == source.digest
    assert result.resumed_bytes >= 2 * CHUNK_BYTES - 300_000
    assert result.wire_bytes + result.resumed_bytes <= SIZE_BYTES + 300_000


@pytest.mark.parametrize(
    "point", ["transfer.partial.created", "transfer.chunk.journaled", "transfer.sealed", "transfer.renamed"]
)
def test_a_kill_at_every_failpoint_is_survived(
    fleet: Fleet, site: Site, noise: Path, tmp_path: Path, point: str
) -> None:
    source = site.offer(noise)
    process = start_pull(fleet, site, tmp_path / "out", rate=0, failpoint=f"{point}=kill")
    assert process.wait(60) == -signal.SIGKILL
    result = site.pull(tmp_path / "out")
    assert result.manifest_digest == source.digest
    assert not folder_of(tmp_path / "out").exists()
    assert (tmp_path / "out").read_bytes() == noise.read_bytes()
