"""``heliotrope report``: energy, carbon, renewable share and work per job, node, site and day."""

from __future__ import annotations

import csv
import io
import os
from datetime import UTC, datetime
from pathlib import Path

import click
import msgspec

from heliotrope.foundation.errors import InvalidInput

from . import client, output, reportpage, reporttables
from .client import Operator
from .messages import Record

KINDS = ("job", "node", "site", "day")
FORMATS = ("table", "csv", "json", "html")


@click.command()
@click.option("--by", "kinds", type=click.Choice(KINDS), multiple=True, help="Only these rows; may be repeated.")
@click.option("--job", "job", default="", metavar="JOB", help="Only this job.")
@click.option("--from", "--since", "since", metavar="TIME", help="From this moment on, e.g. 2026-06-21T06:00:00Z.")
@click.option("--to", "--until", "until", metavar="TIME", help="Before this moment.")
@click.option("--format", "kind", type=click.Choice(FORMATS), default=None, help="[default: table]")
@click.option("--csv", "as_csv", is_flag=True, help="The same as --format csv.")
@click.option("-o", "--out", type=click.Path(path_type=Path), metavar="FILE", help="Write there [default: stdout].")
@client.options
@output.json_option
def report(
    *,
    operator: Operator,
    kinds: tuple[str, ...],
    job: str,
    since: str | None,
    until: str | None,
    kind: str | None,
    as_csv: bool,
    out: Path | None,
    as_json: bool,
) -> None:
    """Report energy, carbon, renewable share and work, as a table, CSV, JSON or a page with plots."""
    chosen = _format(kind, as_csv=as_csv, as_json=as_json)
    start, end = _moment("--from", since), _moment("--to", until)
    if start is not None and end is not None and start >= end:
        raise InvalidInput(f"field --to: {until} is not after --from {since}; correct one of them")
    found = operator.report(job=job, since=start, until=end, points=chosen in ("html", "json"))
    if kinds:
        found["rows"] = [row for row in found["rows"] if row["kind"] in kinds]
    if chosen == "json":
        _put(out, msgspec.json.format(msgspec.json.encode(found), indent=2).decode() + "\n")
    elif chosen == "csv":
        _put(out, csv_text(found["rows"]))
    else:
        names = {one["job_id"]: one["spec"]["name"] for one in operator.fleet()["jobs"]}
        if chosen == "html":
            _put(out, reportpage.render(found, names, datetime.now(UTC)))
        elif out is not None:
            raise InvalidInput("field --out: a table is for the terminal; add --format csv, json or html")
        else:
            reporttables.show(found, names)


def _format(kind: str | None, *, as_csv: bool, as_json: bool) -> str:
    asked = [name for name, is_asked in (("csv", as_csv), ("json", as_json)) if is_asked]
    if len({*asked, *([kind] if kind else [])}) > 1:
        first = f"--format {kind}" if kind else "--csv"
        raise InvalidInput(f"field {first}: it excludes --{asked[-1]}; choose one of them")
    return kind or (asked[0] if asked else "table")


def _moment(option: str, text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise InvalidInput(f"field {option}: {text!r} is not RFC 3339; write 2026-06-21T06:00:00Z") from error
    if moment.tzinfo is None:
        raise InvalidInput(f"field {option}: {text!r} has no time zone; append Z for UTC")
    return moment


def _put(out: Path | None, text: str) -> None:
    """To a file, whole or not at all, or to stdout."""
    if out is None:
        click.echo(text, nl=False)
        return
    temporary = out.with_name(f".{out.name}.{os.getpid()}.tmp")
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(out)
    except OSError as error:
        raise InvalidInput(f"field --out: cannot write {out}: {error.strerror}; choose another place") from error
    click.echo(f"written to {out}", err=True)


def csv_text(rows: list[Record]) -> str:
    """A head line with the keys and a line per row; ``sources`` last, separated by blanks; unknown is empty."""
    names = [name for name in client.REPORT_COLUMNS if name != "sources"]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*names, "sources"])
    for row in rows:
        writer.writerow([*(_plain(row[name]) for name in names), " ".join(row["sources"])])
    return text.getvalue()


def _plain(value: object) -> object:
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else value
