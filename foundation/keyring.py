"""A daemon's own identity, renewed and replaced while it runs.

Whoever needs it asks at the moment of use. The folder is looked at again now and then (:meth:`Keyring.refresh`), so
that an identity which a person put there is taken up without a restart too.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from . import certificates, identity, signing_request
from .clock import Clock, SystemClock
from .errors import Denied
from .identity import Identity, member_name

_SYSTEM_CLOCK = SystemClock()


class Keyring:
    """The identity in ``folder``. Raises what ``identity.load`` raises. Safe to use from several threads."""

    def __init__(self, folder: Path, *, clock: Clock = _SYSTEM_CLOCK) -> None:
        self._folder = folder
        self._clock = clock
        self._lock = threading.Lock()
        self._current = identity.load(folder, clock=clock)

    @property
    def current(self) -> Identity:
        return self._current

    @property
    def due_utc(self) -> datetime:
        """When it is to be renewed: at two thirds of the certificate's life."""
        return self._current.renewal_utc

    def refresh(self) -> bool:
        """Look at the folder again; whether another certificate is in use now. Raises as ``identity.load``, and Denied
        for an identity of another name: what runs under the old one would be the wrong node's.
        """
        with self._lock:
            found = identity.load(self._folder, clock=self._clock)
            before = self._current
            if found.certificate_pem == before.certificate_pem:
                return False
            if found.name != before.name:
                raise Denied(f"cannot use {self._folder}: it is {found.name} now, was {before.name}; restart for that")
            self._current = found
            return True

    def renew(self, certify: Callable[[bytes], bytes]) -> Identity:
        """Make a new key, have it certified (request in PEM -> certificate in PEM), and put both into use.

        Raises what ``certify`` raises, Denied if its answer is not for this name and key, and what
        ``identity.replace`` raises; then the old identity stays in use.
        """
        key = signing_request.new_key()
        certificate_pem = certify(signing_request.make(key, self._current.name.id))
        self.adopt(certificate_pem, signing_request.key_pem(key))
        return self._current

    def adopt(self, certificate_pem: bytes, key_pem: bytes) -> None:
        """Put a new certificate with its key into the folder and into use. Raises as :meth:`renew`."""
        what = "the renewed certificate"
        name = member_name(certificate_pem, self._current.ca_pem, self._clock.utc(), what)
        if name != self._current.name:
            raise Denied(f"cannot use {what}: it is for {name}, this is {self._current.name}; look at the coordinator")
        certified = certificates.public_key(certificates.parse(certificate_pem, what), what)
        if certified != certificates.parse_key(key_pem, what).public_key():
            raise Denied(f"cannot use {what}: it is for another key than was asked for; look at the coordinator")
        identity.replace(self._folder, certificate_pem, key_pem)
        self.refresh()
