"""``heliotrope ca``: a fleet's certificate authority, kept in a folder."""

from __future__ import annotations

from pathlib import Path

import click

from heliotrope.foundation import authority, identity
from heliotrope.foundation.authority import Authority, Credentials
from heliotrope.foundation.identity import Role

from . import output

_FOLDER = click.Path(path_type=Path)


@click.group()
def ca() -> None:
    """Make a fleet's certificate authority and certificates.

    Keep the authority's folder off the nodes: whoever holds its key can name itself anything in the fleet.
    """


@ca.command()
@click.argument("folder", metavar="DIR", type=_FOLDER)
@click.option("--fleet", required=True, metavar="NAME", help="The fleet's name: 1-63 of a-z, 0-9, '.' and '-'.")
@output.json_option
def init(folder: Path, fleet: str, as_json: bool) -> None:
    """Make a new authority in DIR, which must be new or empty."""
    made = authority.create(folder, fleet)
    if as_json:
        output.print_json(_object(made))
    else:
        output.print_fields(_lines(made))


@ca.command()
@click.option("--ca", "ca_folder", required=True, metavar="DIR", type=_FOLDER, help="The authority's folder.")
@click.option("--role", required=True, type=click.Choice([role.value for role in Role]), help="What the holder is.")
@click.option("--id", "member_id", required=True, metavar="ID", help="The holder's id, e.g. the node's name.")
@click.option("--out", required=True, metavar="DIR", type=_FOLDER, help="New folder for ca.crt, identity.crt and key.")
@click.option("--days", type=int, default=authority.DEFAULT_DAYS, show_default=True, help="How long it is valid.")
@click.option(
    "--address", "addresses", multiple=True, metavar="HOST", help="A host name or IP for browsers; repeatable."
)
@output.json_option
def issue(
    *, ca_folder: Path, role: str, member_id: str, out: Path, days: int, addresses: tuple[str, ...], as_json: bool
) -> None:
    """Make a key and its certificate for one member of the fleet."""
    opened = authority.open(ca_folder)
    identity.check_vacant(out)  # before signing, so that a refused request leaves no certificate on record
    made = opened.issue(Role(role), member_id, days=days, addresses=addresses)
    made.save(out)
    if as_json:
        output.print_json(_credentials_object(made, out))
        return
    output.print_fields(
        [
            ("name", str(made.name)),
            ("folder", str(out)),
            ("serial", made.serial),
            ("expires", output.format_time(made.expires_utc)),
        ]
    )


@ca.command()
@click.argument("folder", metavar="DIR", type=_FOLDER)
@output.json_option
def show(folder: Path, as_json: bool) -> None:
    """Show the authority in DIR and what it issued."""
    opened = authority.open(folder)
    issued = opened.issued()
    if as_json:
        output.print_json({**_object(opened), "issued": issued})
        return
    output.print_fields(_lines(opened))
    click.echo()
    columns = [output.Column("NAME"), output.Column("SERIAL"), output.Column("EXPIRES")]
    rows = [(record.name, record.serial, output.format_time(record.expires_utc)) for record in issued]
    output.print_table(columns, rows, empty="no certificates issued yet")


def _object(shown: Authority) -> dict[str, object]:
    return {
        "fleet": shown.fleet,
        "folder": str(shown.folder),
        "fingerprint_sha256": shown.fingerprint,
        "not_before_utc": shown.not_before_utc,
        "expires_utc": shown.expires_utc,
    }


def _lines(shown: Authority) -> list[tuple[str, str]]:
    return [
        ("fleet", shown.fleet),
        ("folder", str(shown.folder)),
        ("fingerprint (SHA-256)", shown.fingerprint),
        ("expires", output.format_time(shown.expires_utc)),
    ]


def _credentials_object(made: Credentials, out: Path) -> dict[str, object]:
    """Never the key: this goes to stdout."""
    return {
        "name": str(made.name),
        "role": made.name.role.value,
        "id": made.name.id,
        "folder": str(out),
        "serial": made.serial,
        "not_before_utc": made.not_before_utc,
        "expires_utc": made.expires_utc,
    }
