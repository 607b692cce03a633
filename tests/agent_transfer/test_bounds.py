"""Memory does not grow with the state, and what a cut costs does not either."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from proxy import Proxy

from heliotrope.agent.checkpoints.reader import CheckpointReader
from heliotrope.agent.checkpoints.scan import build
from heliotrope.agent.transfer.partial import UNSYNCED_BYTES
from heliotrope.agent.transfer.result import PullOptions

from .conftest import Fleet, Site

CHUNK_BYTES = 4 << 20
# Peak resident sizes: ru_maxrss survives an exec, so a child of a large test process would begin with the parent's.
_PEAK = "int(next(l for l in open('/proc/self/status') if l.startswith('VmHWM')).split()[1]) * 1024"
_SEND = f"""
import sys
from pathlib import Path
from heliotrope.agent.checkpoints.reader import CheckpointReader
from heliotrope.agent.checkpoints.scan import build
from heliotrope.agent.transfer.server import ServerOptions, TransferServer
from heliotrope.foundation import identity, tls
from heliotrope.foundation.tickets import TicketVerifier
folder, signer, ca, state, memory = sys.argv[1:]
me = identity.load(Path(folder))
source = CheckpointReader(Path(state), build(Path(state)))
server = TransferServer(tls.server_context(me), ("127.0.0.1", 0), name=me.name, open_source=lambda *_: source,
                        options=ServerOptions(memory_bytes=int(memory)),
                        verify_ticket=TicketVerifier(Path(ca).read_bytes(), Path(signer).read_bytes()))
server.start()
print(server.address[1], flush=True)
sys.stdin.read()
print({_PEAK}, flush=True)
"""
_RECEIVE = f"""
import sys
from pathlib import Path
from heliotrope.agent.transfer.client import pull
from heliotrope.agent.transfer.result import PullOptions
from heliotrope.foundation import identity, tls
from heliotrope.foundation.tickets import TicketVerifier
folder, port, ticket, signer, ca, out, memory = sys.argv[1:]
me = identity.load(Path(folder))
pull(("127.0.0.1", int(port)), tls.client_context(me), name=me.name, ticket=bytes.fromhex(ticket),
     verify_ticket=TicketVerifier(Path(ca).read_bytes(), Path(signer).read_bytes()), reference="newest",
     destination=Path(out), options=PullOptions(connections=4, memory_bytes=int(memory)))
print({_PEAK}, flush=True)
"""


def write_noise(path: Path, size_bytes: int) -> None:
    """Bytes that neither compress nor repeat, so that each chunk goes over the wire."""
    dice = np.random.default_rng(3)
    with open(path, "wb") as file:
        for start in range(0, size_bytes, 64_000_000):
            file.write(dice.bytes(min(64_000_000, size_bytes - start)))


def peaks(fleet: Fleet, folder: Path, size_bytes: int, memory_bytes: int) -> tuple[int, int]:
    """(sender's, receiver's) peak resident bytes of one pull between two processes."""
    folder.mkdir()
    write_noise(folder / "state", size_bytes)
    trust = [str(fleet.coordinator.certificate_path), str(fleet.coordinator.ca_path)]
    source, destination = (str(one.key_path.parent) for one in (fleet.source, fleet.destination))
    with subprocess.Popen(
        [sys.executable, "-c", _SEND, source, *trust, str(folder / "state"), str(memory_bytes)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as sender:
        assert sender.stdin is not None and sender.stdout is not None
        port = sender.stdout.readline().strip()
        arguments = [destination, port, fleet.ticket().hex(), *trust, str(folder / "out"), str(memory_bytes)]
        done = subprocess.run([sys.executable, "-c", _RECEIVE, *arguments], check=True, capture_output=True, text=True)
        sender.stdin.close()
        sent = int(sender.stdout.readline())
    assert (folder / "out").stat().st_size == size_bytes
    for path in (folder / "state", folder / "out"):
        path.unlink()
    return sent, int(done.stdout)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("memory_bytes", [64 << 20, PullOptions().memory_bytes])
def test_memory_is_the_same_for_thirty_times_the_state(fleet: Fleet, tmp_path: Path, memory_bytes: int) -> None:
    disk = os.statvfs(tmp_path)
    if disk.f_bavail * disk.f_frsize < 8_000_000_000:
        pytest.skip("needs 8 GB of disk for a state of 3 GB at both ends")
    small = peaks(fleet, tmp_path / "small", 100_000_000, memory_bytes)
    large = peaks(fleet, tmp_path / "large", 3_000_000_000, memory_bytes)
    growth = [after - before for before, after in zip(small, large, strict=True)]
    assert max(growth) < 64 << 20, (small, large)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_cuts_anywhere_resend_at_most_a_chunk_each_and_what_was_not_on_disk(
    site: Site, tmp_path: Path, seed: int
) -> None:
    size_bytes = 24_000_000
    write_noise(tmp_path / "state", size_bytes)
    source = CheckpointReader(tmp_path / "state", build(tmp_path / "state"))
    site.sources["newest"] = source
    dice = random.Random(seed)
    cuts = [dice.randrange(6_000_000) for _ in range(6)]
    proxy = Proxy(site.server.address, cuts=cuts)
    try:
        result = site.pull(
            tmp_path / "out", address=proxy.address, options=PullOptions(connections=2, give_up_s=60, idle_s=20)
        )
    finally:
        proxy.stop()
    assert result.manifest_digest == source.digest, cuts
    # A cut here leaves this process alive, so nothing that was written is lost: one chunk a cut is all, and handshakes.
    resent_bytes = proxy.passed_bytes - size_bytes
    assert resent_bytes <= len(cuts) * CHUNK_BYTES + 300_000, cuts
    assert resent_bytes <= 2 * CHUNK_BYTES + UNSYNCED_BYTES
