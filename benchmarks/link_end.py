"""Heliotrope's two ends of a measured link, as commands: ``serve`` a checkpoint; ``pull`` it when a line says so."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from heliotrope.agent.checkpoints.reader import CheckpointReader
from heliotrope.agent.checkpoints.scan import build
from heliotrope.agent.transfer.client import pull
from heliotrope.agent.transfer.result import PullOptions
from heliotrope.agent.transfer.server import TransferServer
from heliotrope.foundation import identity, tls
from heliotrope.foundation.identity import Identity

from . import throwaway


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("end", choices=("serve", "pull"))
    parser.add_argument("--folder", type=Path, required=True, help="of the throw-away identities")
    parser.add_argument("--address", required=True, help="HOST:PORT to listen on, or to dial")
    parser.add_argument("--path", type=Path, required=True, help="the checkpoint, or where it is to lie")
    parser.add_argument("--base", type=Path, help="an older one, held at this end")
    arguments = parser.parse_args()
    host, _, port = arguments.address.rpartition(":")
    address = host, int(port)
    if arguments.end == "serve":
        _serve(arguments.folder, address, arguments.path, arguments.base)
    else:
        _pull(arguments.folder, address, arguments.path, arguments.base)


def _serve(folder: Path, address: tuple[str, int], path: Path, base: Path | None) -> None:
    """Until stdin ends or the process is told to stop."""
    own = identity.load(folder / throwaway.SOURCE)
    newest, older = CheckpointReader(path, build(path)), _reader(base)
    server = TransferServer(
        tls.server_context(own),
        address,
        name=own.name,
        verify_ticket=throwaway.verifier(folder),
        open_source=lambda _ticket, _reference: newest,
        open_base=lambda _ticket, digest: older if older is not None and older.digest == digest else None,
    )
    server.start()
    sys.stdin.read()
    server.stop()


def _pull(folder: Path, address: tuple[str, int], path: Path, base: Path | None) -> None:
    """Answers each line on stdin with one on stdout, ``pull`` with how it went."""
    own = identity.load(folder / throwaway.DESTINATION)
    older = _reader(base)
    for line in sys.stdin:
        print(json.dumps(_once(folder, own, address, path, older) if line.strip() == "pull" else {}), flush=True)


def _once(
    folder: Path, own: Identity, address: tuple[str, int], path: Path, older: CheckpointReader | None
) -> dict[str, float]:
    result = pull(
        address,
        tls.client_context(own),
        name=own.name,
        ticket=throwaway.ticket(folder),
        verify_ticket=throwaway.verifier(folder),
        reference="newest",
        destination=path,
        base=older,
        options=PullOptions(),
    )
    return {"duration_s": result.duration_s, "network_s": result.network_s, "wire_bytes": result.wire_bytes}


def _reader(path: Path | None) -> CheckpointReader | None:
    return CheckpointReader(path, build(path)) if path is not None else None


if __name__ == "__main__":
    main()
