"""The ledger on a real PostgreSQL: the same sums, the same chains, and a database that refuses changes."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DatabaseError

from .bookkeeping import Bookkeeping, batch, bookkeeping

HOUR_S = 3600.0


def _tool(name: str) -> str:
    found = shutil.which(name) or next(map(str, sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))), "")
    if not found:
        pytest.skip(f"PostgreSQL is not installed here: no {name}")
    return found


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server of our own, on a socket only; it refuses to run as root, who lends it another user."""
    pytest.importorskip("psycopg", reason="psycopg, PostgreSQL's driver, is not installed")
    initdb, pg_ctl = _tool("initdb"), _tool("pg_ctl")
    folder = tmp_path_factory.mktemp("pg")
    user = None
    if os.geteuid() == 0:
        user = "nobody"
        for path in (folder, *folder.parents[:2]):
            path.chmod(0o755)
        os.chown(folder, pwd.getpwnam(user).pw_uid, -1)
    data = folder / "data"
    options = f"-c listen_addresses='' -c fsync=off -k {folder}"
    _run([initdb, "-D", str(data), "-A", "trust", "-U", "books", "--no-sync"], folder, user)
    _run([pg_ctl, "-D", str(data), "-w", "-o", options, "-l", str(folder / "log"), "start"], folder, user)
    try:
        yield f"postgresql+psycopg://books@/postgres?host={folder}"
    finally:
        _run([pg_ctl, "-D", str(data), "-m", "immediate", "stop"], folder, user)


def _run(command: list[str], folder: Path, user: str | None) -> None:
    subprocess.run(command, cwd=folder, user=user, check=True, stdout=subprocess.DEVNULL)


@pytest.fixture(scope="module")
def kept(url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bookkeeping]:
    with bookkeeping(tmp_path_factory.mktemp("books"), url=url) as made:
        made.job("j-1", first_site="mine")
        for number in (0, 2, 1, 2, 3, 5, 4):
            made.take("n1", batch(number + 1, number * 145, {"j-1": 3.25, "": 1.0}))
        made.wait(HOUR_S)
        made.take("n1", batch(7, 0, {"j-1": 1.5}))
        made.wait(HOUR_S)
        made.sign()
        yield made


def test_sums_and_chains_are_as_on_sqlite(kept: Bookkeeping, tmp_path: Path) -> None:
    assert kept.audit().problem == ""
    assert kept.row("node", "n1").energy_j == 6 * 4.25 + 1.5
    with bookkeeping(tmp_path) as small:
        small.job("j-1", first_site="mine")
        for number in (0, 2, 1, 2, 3, 5, 4):
            small.take("n1", batch(number + 1, number * 145, {"j-1": 3.25, "": 1.0}))
        small.wait(HOUR_S)
        small.take("n1", batch(7, 0, {"j-1": 1.5}))
        small.wait(HOUR_S)
        assert small.entries("n1") == kept.entries("n1")
        theirs, ours = kept.report(points=True), small.report(points=True)
        assert theirs.rows == ours.rows and theirs.points == ours.points


@pytest.mark.parametrize("table", ["ledger_entries", "ledger_heads", "ledger_signers"])
def test_the_database_itself_refuses_changes(kept: Bookkeeping, table: str) -> None:
    column = "serial" if table == "ledger_signers" else "node_id"
    for statement in (f"UPDATE {table} SET {column} = 'x'", f"DELETE FROM {table}", f"TRUNCATE {table}"):
        with pytest.raises(DatabaseError, match="append-only"), kept.database.engine.begin() as connection:
            connection.execute(text(statement))
    assert kept.audit().problem == ""
