"""``heliotrope ca``: a fleet's certificate authority, kept in a folder."""

from __future__ import annotations

from pathlib import Path

import click

from heliotrope.foundation import authority, identity, jointoken, records
from heliotrope.foundation.authority import Authority, Credentials
from heliotrope.foundation.errors import Conflict, InvalidInput
from heliotrope.foundation.identity import Name, Role

from . import output

_FOLDER = click.Path(path_type=Path)


@click.group()
def ca() -> None:
    """Make a fleet's certificate authority and certificates.

    Keep the authority's folder off the nodes: whoever holds its key can name itself anything in the fleet. The
    coordinator may hold it, so that nodes can join with tokens and certificates renew themselves (docs/security.md).
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
@click.option(
    "--role", required=True, type=click.Choice([role.value for role in identity.MEMBERS]), help="What the holder is."
)
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


@ca.command("join-token")
@click.option("--ca", "ca_folder", required=True, metavar="DIR", type=_FOLDER, help="The authority's folder.")
@click.option("--node", "node_id", required=True, metavar="ID", help="The node that may join with it.")
@click.option("--site", default="", metavar="NAME", help="The node's site, for its configuration.")
@click.option("--valid-s", type=float, default=authority.JOIN_TOKEN_S, show_default=True, help="How long it is good.")
@click.option("--out", type=_FOLDER, metavar="FILE", help="New file for it (0600) [default: stdout].")
@output.json_option
def join_token(*, ca_folder: Path, node_id: str, site: str, valid_s: float, out: Path | None, as_json: bool) -> None:
    """Make a token with which one node joins, once: treat it like a password until then.

    The node gives it to `heliotrope agent join`, at a coordinator that holds this authority.
    """
    if as_json and out is None:
        raise InvalidInput("field --json: the token would go among the data; name a file for it with --out")
    opened = authority.open(ca_folder)
    if out is not None and (out.exists() or out.is_symlink()):
        raise Conflict(f"cannot write {out}: it exists; name a new file")
    made = opened.issue_joiner(node_id, valid_s=valid_s)
    text = jointoken.pack(made, site)
    if out is None:
        click.echo(text)
        return
    _write_secret(out, text)
    node = str(Name(opened.fleet, Role.AGENT, node_id))
    if as_json:
        fields = {"name": node, "file": str(out), "serial": made.serial, "expires_utc": made.expires_utc}
        output.print_json(fields)
    else:
        output.print_fields([("for", node), ("file", str(out)), ("expires", output.format_time(made.expires_utc))])


@ca.command()
@click.option("--ca", "ca_folder", required=True, metavar="DIR", type=_FOLDER, help="The authority's folder.")
@click.option("--serial", default="", metavar="SERIAL", help="One certificate.")
@click.option("--name", default="", metavar="NAME", help="All that was issued to it until now: node/n1, operator/ann.")
@click.option("--reason", default="", metavar="TEXT", help="Why; whoever is refused is told.")
@output.json_option
def revoke(*, ca_folder: Path, serial: str, name: str, reason: str, as_json: bool) -> None:
    """Put a revocation on the authority's record.

    A coordinator that holds this very folder enforces it within seconds; any other is told by `heliotrope identity
    revoke`.
    """
    if bool(serial) is bool(name):
        raise InvalidInput("field --serial: give either --serial or --name, and not both")
    entry = authority.open(ca_folder).revoke(serial or name, reason=reason)
    if as_json:
        output.print_json(entry)
    else:
        output.print_fields([("revoked", entry.subject), ("at", output.format_time(entry.revoked_utc))])


@ca.command()
@click.argument("folder", metavar="DIR", type=_FOLDER)
@output.json_option
def show(folder: Path, as_json: bool) -> None:
    """Show the authority in DIR and what it issued."""
    opened = authority.open(folder)
    issued, revoked = opened.issued(), opened.revoked()
    if as_json:
        output.print_json({**_object(opened), "issued": issued, "revoked": revoked})
        return
    output.print_fields(_lines(opened))
    click.echo()
    columns = [output.Column("NAME"), output.Column("SERIAL"), output.Column("EXPIRES")]
    rows = [(record.name, record.serial, output.format_time(record.expires_utc)) for record in issued]
    output.print_table(columns, rows, empty="no certificates issued yet")
    if revoked:
        click.echo()
        columns = [output.Column("REVOKED"), output.Column("AT"), output.Column("REASON")]
        output.print_table(columns, [(one.subject, output.format_time(one.revoked_utc), one.reason) for one in revoked])


def _write_secret(path: Path, text: str) -> None:
    try:
        records.write_durably(path, f"{text}\n".encode(), mode=0o600)
    except OSError as error:
        raise InvalidInput(f"cannot write {path}: {error.strerror}; name a file that you may write") from error


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
