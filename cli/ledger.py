"""``heliotrope ledger``: export the books of energy and carbon, and check that nobody changed them."""

from __future__ import annotations

import contextlib
import csv
import io
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from heliotrope.foundation import ledger_export as lines
from heliotrope.foundation.errors import Corrupt, InvalidInput, NotFound
from heliotrope.foundation.ledger import Entry, Head
from heliotrope.foundation.ledger_audit import Audit, AuditResult, ChainResult

from . import client, output
from .client import Connect
from .output import Column

_PIECE_BYTES = 1 << 20
_CHAIN = (
    Column("NODE"),
    Column("ENTRIES", right=True),
    Column("CORRECTIONS", right=True),
    Column("LATE", right=True),
    Column("LOST", right=True),
    Column("ENERGY", right=True),
    Column("HEADS", right=True),
    Column("SIGNED TO", right=True),
    Column("SIGNED AT"),
)
CSV_COLUMNS = (*Entry.__struct_fields__, "hash")


@click.group()
def ledger() -> None:
    """Export the ledger and verify its hash chains."""


@ledger.command()
@click.option("--node", "node_id", default="", metavar="NODE", help="Only this node's chain.")
@click.option("--format", "kind", type=click.Choice(["json", "csv"]), default="json", show_default=True)
@click.option("-o", "--out", type=click.Path(path_type=Path), metavar="FILE", help="Write there [default: stdout].")
@click.option("--force", is_flag=True, help="Replace FILE.")
@client.connect_option
def export(*, connect: Connect, node_id: str, kind: str, out: Path | None, force: bool) -> None:
    """Export every entry and signed head: JSON lines, which `ledger verify` reads, or CSV for spreadsheets."""
    if out is not None and out.exists() and not force:
        raise InvalidInput(f"field --out: {out} is there; choose another name, or add --force")
    with connect() as operator:
        pieces = operator.ledger(node_id)
        data = pieces if kind == "json" else _csv(pieces)
        if out is None:
            for piece in data:
                sys.stdout.buffer.write(piece)
            return
        _write(out, data)
    click.echo(f"exported to {out}", err=True)


@ledger.command()
@click.option("--node", "node_id", default="", metavar="NODE", help="Only this node's chain.")
@click.option(
    "--export", "exported", type=click.Path(path_type=Path), metavar="FILE", help="Verify this export; asks nobody."
)
@click.option("--ca", type=click.Path(path_type=Path), metavar="FILE", help="The fleet's ca.crt, for an export.")
@click.option(
    "--against", type=click.Path(path_type=Path), metavar="FILE", help="An older export, which must be the beginning."
)
@client.connect_option
@output.json_option
def verify(
    *,
    connect: Connect,
    node_id: str,
    exported: Path | None,
    ca: Path | None,
    against: Path | None,
    as_json: bool,
) -> None:
    """Walk the hash chains here, entry by entry; exit code 8 names the first that is broken."""
    earlier = _heads(against, node_id) if against is not None else []
    if exported is not None:
        ca_pem = _read(ca) if ca is not None else None
        result = Audit(ca_pem, earlier).run(_chosen(lines.split(_pieces(exported)), node_id))
    else:
        with connect() as operator:
            ca_pem = _read(ca) if ca is not None else operator.target.identity.ca_pem
            result = Audit(ca_pem, earlier).run(lines.split(operator.ledger(node_id)))
    if node_id and not result.problem and all(chain.node_id != node_id for chain in result.chains):
        raise NotFound(f"cannot verify node {node_id}: the export has no entry of it; see which it has without --node")
    if as_json:
        output.print_json(result)
    else:
        _print(result)
    if result.problem:
        raise Corrupt(f"cannot trust the ledger: {result.problem}")


def _print(result: AuditResult) -> None:
    output.print_table(_CHAIN, [_line(chain) for chain in result.chains], empty="no chain")
    if result.problem:
        return
    entry_count = sum(chain.entry_count for chain in result.chains)
    open_count = sum(chain.entry_count - chain.signed_sequence for chain in result.chains)
    click.echo(f"\n{entry_count} entries of {len(result.chains)} nodes are unbroken")
    if open_count:
        click.echo(f"{open_count} of them are not covered by a signed head yet")
    if not result.trusted:
        click.echo("the signatures fit their certificates, of unchecked origin: add --ca ca.crt of the fleet")


def _line(chain: ChainResult) -> tuple[str, ...]:
    return (
        chain.node_id,
        str(chain.entry_count),
        str(chain.correction_count),
        str(chain.late_count),
        str(chain.gap_count),
        output.format_energy(chain.energy_uj / 1e6),
        str(chain.head_count),
        str(chain.signed_sequence),
        chain.signed_utc or "never",
    )


def _chosen(found: Iterator[bytes], node_id: str) -> Iterator[bytes]:
    """All lines, or those that an export of this node alone would have."""
    if not node_id:
        yield from found
        return
    entry_count = head_count = 0
    for number, data in enumerate(found, 1):
        line = lines.decode(data, number)
        match line:
            case lines.LedgerLine():
                yield lines.encode(lines.LedgerLine(version=line.version, fleet=line.fleet, node_id=node_id))[:-1]
            case lines.SignerLine():
                yield data
            case lines.EntryLine() if line.entry.node_id == node_id:
                entry_count += 1
                yield data
            case lines.HeadLine() if line.head.node_id == node_id:
                head_count += 1
                yield data
            case lines.EndLine():
                yield lines.encode(lines.EndLine(entry_count=entry_count, head_count=head_count))[:-1]


def _heads(path: Path, node_id: str) -> list[Head]:
    """Signed heads of an older export. Raises Corrupt if that one is broken itself."""
    audit = Audit()
    problem = audit.run(lines.split(_pieces(path))).problem
    if problem:
        raise Corrupt(f"cannot compare with {path}: {problem}; use an export that verifies")
    return [head for head in audit.heads if node_id in ("", head.node_id)]


def _csv(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """A head line and one line per entry; what is unknown is empty."""
    yield (",".join(CSV_COLUMNS) + "\n").encode()
    for number, data in enumerate(lines.split(pieces), 1):
        line = lines.decode(data, number)
        if isinstance(line, lines.EntryLine):
            text = io.StringIO()
            values = [getattr(line.entry, name) for name in Entry.__struct_fields__]
            csv.writer(text, lineterminator="\n").writerow([*map(_plain, values), line.hash])
            yield text.getvalue().encode()


def _plain(value: object) -> object:
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else value


def _write(path: Path, data: Iterator[bytes]) -> None:
    """Whole or not at all: half an export is worse than none."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            for piece in data:
                file.write(piece)
        temporary.replace(path)
    except OSError as error:
        raise InvalidInput(f"field --out: cannot write {path}: {error.strerror}; choose another place") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def _pieces(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            while piece := file.read(_PIECE_BYTES):
                yield piece
    except OSError as error:
        raise NotFound(f"cannot read {path}: {error.strerror}; name an export of `heliotrope ledger export`") from error


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise NotFound(f"cannot read {path}: {error.strerror}; name the fleet's ca.crt") from error
