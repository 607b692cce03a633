"""``heliotrope identity``: the fleet's certificates as its coordinator knows them; revoke them, renew one's own."""

from __future__ import annotations

import click

from heliotrope.foundation.errors import InvalidInput
from heliotrope.foundation.keyring import Keyring

from . import client, output
from .client import Operator
from .messages import Record
from .output import Column

_COLUMNS = (Column("NAME"), Column("SERIAL"), Column("EXPIRES"), Column("STATUS"))


@click.group()
def identity() -> None:
    """List and revoke the fleet's certificates, and renew your own."""


@identity.command("list")
@click.option("--all", "include_expired", is_flag=True, help="Expired ones too.")
@client.options
@output.json_option
def list_(*, operator: Operator, include_expired: bool, as_json: bool) -> None:
    """List certificates, newest first, and what is revoked.

    Certificates are known where the coordinator holds the fleet's authority (docs/security.md); revocations always.
    """
    found = operator.identities(include_expired=include_expired)
    if as_json:
        output.print_json(found)
        return
    rows = [_line(one) for one in found["identities"]]
    output.print_table(_COLUMNS, rows, empty="the coordinator knows no certificates: it holds no authority")
    if found["revocations"]:
        click.echo()
        columns = [Column("REVOKED"), Column("AT"), Column("REASON")]
        output.print_table(columns, [tuple(_revocation(one).values()) for one in found["revocations"]])


@identity.command()
@click.argument("subject", metavar="SERIAL|NAME")
@click.option("--reason", default="", metavar="TEXT", help="Why; whoever is refused is told.")
@click.option("--yes", is_flag=True, help="Yes, it is shut out.")
@client.request_option
@client.options
@output.json_option
def revoke(*, operator: Operator, subject: str, reason: str, yes: bool, request_id: str, as_json: bool) -> None:
    """Revoke one certificate by serial, or by NAME (node/n1, operator/ann) all that it was issued until now.

    Open calls are ended and every agent is told, within seconds. A node's jobs run on there until their leases end: see
    `heliotrope node drain` and `heliotrope node forget`. Not to be taken back: a node joins again with a new token.
    """
    if not yes:
        raise InvalidInput(f"cannot revoke {subject} without --yes: its holder is shut out at once; add --yes")
    entry = operator.revoke(subject, reason=reason, request_id=request_id)
    if as_json:
        output.print_json(entry)
    else:
        output.print_fields(_revocation(entry).items())


@identity.command()
@client.options
@output.json_option
def renew(*, operator: Operator, as_json: bool) -> None:
    """Renew the identity that you show: a new key and certificate take the place of the old ones in its folder."""
    keyring = Keyring(operator.target.identity.certificate_path.parent)
    made = keyring.renew(operator.certify)
    if as_json:
        output.print_json({"name": str(made.name), "serial": made.serial, "expires_utc": made.expires_utc})
    else:
        output.print_fields(
            [("name", str(made.name)), ("serial", made.serial), ("expires", output.format_time(made.expires_utc))]
        )


def _revocation(entry: Record) -> dict[str, str]:
    return {"revoked": entry["subject"], "at": output.format_time(entry["revoked_utc"]), "reason": entry["reason"]}


def _line(one: Record) -> tuple[str, ...]:
    reason = f" ({one['reason']})" if one["reason"] else ""
    status = f"revoked{reason}" if one["revoked_utc"] else "valid"
    return (one["name"], one["serial"], output.format_time(one["expires_utc"]), status)
