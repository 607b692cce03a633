"""Keeps the agent's certificate from running out: a new key and certificate at two thirds of its life.

Whatever a person puts into the identity's folder in the meantime (a new join) is taken up as well.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

from heliotrope.foundation import signing_request
from heliotrope.foundation.clock import Clock
from heliotrope.foundation.errors import HeliotropeError
from heliotrope.foundation.identity import Identity
from heliotrope.foundation.keyring import Keyring

log = logging.getLogger("heliotrope.agent.renewal")

LOOK_S = 10.0
LEAST_WAIT_S = 0.5
RETRY_LIMIT = timedelta(hours=1)
# Nodes that joined together do not renew together: a tenth of what is left of the certificate, by chance.
SPREAD_RATIO = 0.1


class Renewal:
    """One task. ``certify``: a signing request to a certificate, both PEM; ``on_change`` is told of a new identity."""

    def __init__(
        self,
        keyring: Keyring,
        certify: Callable[[bytes], Awaitable[bytes]],
        on_change: Callable[[Identity], None],
        clock: Clock,
    ) -> None:
        self._keyring = keyring
        self._certify = certify
        self._on_change = on_change
        self._clock = clock
        self._spread_ratio = random.uniform(0, SPREAD_RATIO)
        self._retry_utc: datetime | None = None
        self._complaint = ""

    async def run(self) -> None:
        """For ever; what fails is tried again, ever more often as the end comes nearer."""
        while True:
            await asyncio.sleep(self._wait_s())
            try:
                await self._look()
                self._complaint = ""
            except HeliotropeError as error:
                if str(error) != self._complaint:
                    log.error(
                        "%s (this identity is good until %s)", error, self._keyring.current.expires_utc.isoformat()
                    )
                self._complaint = str(error)
            except Exception:
                log.exception("the identity could not be renewed; it is tried again")

    def _wait_s(self) -> float:
        left = max(self._due_utc(), self._retry_utc or self._due_utc()) - self._clock.utc()
        return min(max(left.total_seconds(), LEAST_WAIT_S), LOOK_S)

    def _due_utc(self) -> datetime:
        current = self._keyring.current
        return current.renewal_utc + (current.expires_utc - current.renewal_utc) * self._spread_ratio

    async def _look(self) -> None:
        if await asyncio.to_thread(self._keyring.refresh):
            self._changed("found a new one in its folder")
        now_utc = self._clock.utc()
        if now_utc < self._due_utc() or (self._retry_utc is not None and now_utc < self._retry_utc):
            return
        self._retry_utc = now_utc + min((self._keyring.current.expires_utc - now_utc) / 10, RETRY_LIMIT)
        key = signing_request.new_key()
        certificate_pem = await self._certify(signing_request.make(key, self._keyring.current.name.id))
        await asyncio.to_thread(self._keyring.adopt, certificate_pem, signing_request.key_pem(key))
        self._changed("renewed")

    def _changed(self, how: str) -> None:
        self._retry_utc = None
        current = self._keyring.current
        log.info("identity %s: %s, valid until %s", current.name, how, current.expires_utc.isoformat())
        self._on_change(current)
