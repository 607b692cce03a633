"""Who speaks: a name in a certificate, and the folder that holds a process's own certificate and key.

The identity is the URI ``heliotrope://FLEET/node/ID`` in the certificate, never a host name or an address: agents move
between networks, sit behind NAT and are dialled at whatever address works.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path

from . import certificates, failpoints, records
from .clock import Clock, SystemClock
from .errors import Conflict, Denied, InvalidInput, NotFound, OutOfSpace

CA_FILE, CERTIFICATE_FILE, KEY_FILE = "ca.crt", "identity.crt", "identity.key"

_WAITING_FILE = "identity.crt.next"  # the certificate of a replacement that is under way
_READS = 3  # the files may be replaced between reading one and the other

_FLEET = re.compile(r"[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?")
_ID = re.compile(r"[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?")
_SYSTEM_CLOCK = SystemClock()

failpoints.register("identity.replace.waiting")
failpoints.register("identity.replace.key")


class Role(StrEnum):
    """What a certificate's holder is; which rpc it may call follows from this."""

    AGENT = "agent"
    COORDINATOR = "coordinator"
    OPERATOR = "operator"
    OBSERVER = "observer"
    JOINER = "joiner"  # a join token: may enrol one node, and nothing else


_SEGMENTS = {
    Role.AGENT: "node",
    Role.COORDINATOR: "coordinator",
    Role.OPERATOR: "operator",
    Role.OBSERVER: "observer",
    Role.JOINER: "joiner",
}
MEMBERS = (Role.AGENT, Role.COORDINATOR, Role.OPERATOR, Role.OBSERVER)  # who an identity's folder can be for
_ROLES = {segment: role for role, segment in _SEGMENTS.items()}


def check_fleet(fleet: str) -> None:
    """Raises InvalidInput unless ``fleet`` can be the host part of an identity's URI."""
    if not _FLEET.fullmatch(fleet):
        raise InvalidInput(f"field fleet: {fleet!r} is not a fleet name; use 1-63 of a-z, 0-9, '.' and '-'")


@dataclass(frozen=True, slots=True)
class Name:
    """A member of a fleet. Raises InvalidInput on construction, naming the field."""

    fleet: str
    role: Role
    id: str

    def __post_init__(self) -> None:
        check_fleet(self.fleet)
        if not _ID.fullmatch(self.id):
            raise InvalidInput(f"field id: {self.id!r} is not an id; use 1-63 of a-z, 0-9, '.', '_' and '-'")

    @classmethod
    def parse(cls, uri: str) -> Name:
        """The inverse of ``str(name)``. Raises InvalidInput."""
        fleet, *path = uri.removeprefix(certificates.SCHEME).split("/")
        if not uri.startswith(certificates.SCHEME) or len(path) != 2 or path[0] not in _ROLES:
            kinds = "|".join(_ROLES)
            raise InvalidInput(f"cannot read the name {uri!r}: expected {certificates.SCHEME}FLEET/{kinds}/ID")
        return cls(fleet, _ROLES[path[0]], path[1])

    def __str__(self) -> str:
        return f"{certificates.SCHEME}{self.fleet}/{_SEGMENTS[self.role]}/{self.id}"


@dataclass(frozen=True, slots=True)
class Identity:
    """One process's own certificate and key, checked. ``key_pem`` stays out of its ``repr``."""

    name: Name
    ca_path: Path
    certificate_path: Path
    key_path: Path
    ca_pem: bytes = field(repr=False)
    certificate_pem: bytes = field(repr=False)
    key_pem: bytes = field(repr=False)
    issued_utc: datetime
    expires_utc: datetime

    @property
    def serial(self) -> str:
        return certificates.serial(certificates.parse(self.certificate_pem, str(self.certificate_path)))

    @property
    def renewal_utc(self) -> datetime:
        """At two thirds of its life: what is left is the outage of the coordinator that it survives."""
        return self.expires_utc - (self.expires_utc - self.issued_utc) / 3


def load(folder: Path, *, clock: Clock = _SYSTEM_CLOCK) -> Identity:
    """Read and check an identity's folder (ca.crt, identity.crt, identity.key).

    Raises NotFound (a file is missing), Denied (the key is readable by others, the certificate is expired, not yet
    valid or not signed by that authority), InvalidInput (damaged, or key and certificate do not belong together).
    """
    ca_path, key_path = folder / CA_FILE, folder / KEY_FILE
    certificate_path, certificate_pem, key_pem = _pair(folder)
    ca_pem = read_public(ca_path)
    authority = certificates.parse(ca_pem, str(ca_path))
    certificate = certificates.parse(certificate_pem, str(certificate_path))
    return Identity(
        name=member_name(certificate_pem, ca_pem, clock.utc(), str(certificate_path)),
        ca_path=ca_path,
        certificate_path=certificate_path,
        key_path=key_path,
        ca_pem=ca_pem,
        certificate_pem=certificate_pem,
        key_pem=key_pem,
        issued_utc=certificates.issued_utc(certificate),
        expires_utc=min(certificate.not_valid_after_utc, authority.not_valid_after_utc),
    )


def replace(folder: Path, certificate_pem: bytes, key_pem: bytes) -> None:
    """Put a new certificate and its key in the place of an identity's; ca.crt stays.

    A crash at any point leaves a pair that :func:`load` takes: the new certificate lies beside the old one before the
    key changes, and takes its name afterwards. Raises OutOfSpace, Denied; then the old pair is untouched.
    """
    waiting, certificate_path = folder / _WAITING_FILE, folder / CERTIFICATE_FILE
    try:
        if _pair(folder)[0] == waiting:  # an earlier replacement was cut short: its certificate is the one in use
            waiting.replace(certificate_path)
        records.write_durably(waiting, certificate_pem, mode=0o644)
        failpoints.hit("identity.replace.waiting")
        records.write_durably(folder / KEY_FILE, key_pem, mode=0o600)
        failpoints.hit("identity.replace.key")
        waiting.replace(certificate_path)
        records.sync_folder(folder)
    except OSError as error:
        kind = OutOfSpace if error.errno in (errno.ENOSPC, errno.EDQUOT) else Denied
        raise kind(f"cannot write {folder}: {error.strerror}; let this user write there, with room to spare") from error


def _pair(folder: Path) -> tuple[Path, bytes, bytes]:
    """(path of the certificate, it, its key); a replacement under way, or cut short, is seen through.

    Raises as :func:`load`.
    """
    key_path = folder / KEY_FILE
    for _ in range(_READS):
        key_pem = read_private(key_path)
        own = certificates.parse_key(key_pem, str(key_path)).public_key()
        for path in (folder / CERTIFICATE_FILE, folder / _WAITING_FILE):
            try:
                pem = read_public(path)
            except NotFound:
                if path.name == _WAITING_FILE:
                    continue  # there is none, or it got its name just now: then the next look finds it
                raise
            if certificates.public_key(certificates.parse(pem, str(path)), str(path)) == own:
                return path, pem, key_pem
    raise InvalidInput(
        f"cannot use {key_path}: it is not the key of {folder / CERTIFICATE_FILE}; have both issued again"
    )


def member_name(certificate_pem: bytes, ca_pem: bytes, now_utc: datetime, what: str) -> Name:
    """The name in a certificate after checking that it belongs to the authority's fleet and is valid now.

    Raises Denied saying which check failed; InvalidInput when a PEM text is damaged.
    """
    authority = certificates.parse(ca_pem, f"the authority of {what}")
    certificate = certificates.parse(certificate_pem, what)
    certificates.check_issued_by(certificate, authority, what)
    certificates.check_times(authority, now_utc, f"the authority of {what}")
    certificates.check_times(certificate, now_utc, what)
    fleet = fleet_of(certificates.identity_uri(authority, f"the authority of {what}"))
    name = Name.parse(certificates.identity_uri(certificate, what))
    if name.fleet != fleet:
        raise Denied(f"cannot accept {what}: it names fleet {name.fleet} under the authority of {fleet}; reissue it")
    return name


def fleet_uri(fleet: str) -> str:
    """The name that an authority's own certificate carries."""
    return f"{certificates.SCHEME}{fleet}"


def fleet_of(uri: str) -> str:
    """The inverse of :func:`fleet_uri`. Raises InvalidInput."""
    fleet = uri.removeprefix(certificates.SCHEME)
    check_fleet(fleet)
    return fleet


def read_private(path: Path) -> bytes:
    """A secret file's bytes. Raises NotFound, or Denied when group or others could read or change it.

    The mode is taken from the open file, so that what was checked is what is read.
    """
    try:
        with open(path, "rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            if mode & 0o077:
                raise Denied(f"cannot use {path}: others may access it (mode {mode:04o}); run: chmod 0600 {path}")
            return file.read()
    except OSError as error:
        raise _unreadable(path, error) from error


def read_public(path: Path) -> bytes:
    """A file that is no secret. Raises NotFound, or Denied when this user may not read it."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: OSError) -> Denied | NotFound:
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return NotFound(f"cannot read {path}: no such file; check the folder, or make it with `heliotrope ca`")
    return Denied(f"cannot read {path}: {error.strerror}; run as the user that owns it")


def check_vacant(folder: Path) -> None:
    """Raises Conflict if ``folder`` exists and is anything but an empty folder, Denied if that cannot be seen."""
    try:
        if folder.is_dir() and not any(folder.iterdir()):
            return
        occupied = folder.exists() or folder.is_symlink()
    except OSError as error:
        raise Denied(f"cannot look into {folder}: {error.strerror}; run as the user that owns it") from error
    if occupied:
        raise Conflict(f"cannot write {folder}: it is already in use; name a new folder, or move this one away")


def write_folder(folder: Path, files: Mapping[str, tuple[bytes, int]]) -> None:
    """Make ``folder`` (mode 0700) with the given files, name -> (content, mode); whole or not at all.

    Everything is written beside it and renamed into place: of two processes one wins and the other gets Conflict,
    and a crash leaves no half of a key pair. Raises Conflict, OutOfSpace, InvalidInput.
    """
    target = folder.resolve()
    temporary: Path | None = None
    try:
        check_vacant(target)
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
        for name, (data, mode) in files.items():
            records.write_durably(temporary / name, data, mode=mode)
        temporary.rename(target)
        temporary = None
        records.sync_folder(target.parent)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
            raise Conflict(f"cannot write {folder}: it is already in use; name a new folder") from error
        kind = OutOfSpace if error.errno in (errno.ENOSPC, errno.EDQUOT) else InvalidInput
        raise kind(f"cannot write {folder}: {error.strerror}; choose a folder that you may write to") from error
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)
