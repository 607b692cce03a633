"""One HTTP client for all services: deadlines that hold, answers of bounded size, and an error for each way to fail.

httpx's timeouts are per read, so that a server that drips bytes would hold a request for ever: the deadline here is
around all of it. Redirects are not followed, because they would carry a key to another host.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeVar
from urllib.parse import urlsplit

import httpx
import msgspec

from heliotrope.foundation.config import explain

from .times import retry_after_s
from .trouble import Kind, Trouble

T = TypeVar("T")

ANSWER_LIMIT_BYTES = 16 * 1024**2
SAID_LIMIT = 160  # characters of an error's body that are repeated

# They write whole addresses, queries and their tokens included, at level INFO and DEBUG.
for _name in ("httpx", "httpcore"):
    logging.getLogger(_name).setLevel(logging.WARNING)


@dataclass(frozen=True)
class Request:
    """What to ask. ``what`` names it in errors, which show neither query nor headers."""

    what: str
    url: str
    params: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    basic: tuple[str, str] | None = field(default=None, repr=False)
    form: Mapping[str, str] | None = field(default=None, repr=False)  # given: a POST


class Web:
    """Fetches within ``deadline_s``. ``count`` is called for every request, before it: the budget's books."""

    def __init__(self, client: httpx.AsyncClient, deadline_s: float, count: Callable[[], None]) -> None:
        self._client = client
        self._deadline_s = deadline_s
        self._count = count

    async def get(self, request: Request) -> bytes:
        """The body of a 200. Raises Trouble for all else."""
        self._count()
        try:
            async with asyncio.timeout(self._deadline_s):
                return await self._fetch(request)
        except (TimeoutError, httpx.TimeoutException) as error:
            raise Trouble(
                Kind.TIMEOUT, f"{request.what}: {_host(request)} gave no whole answer within {self._deadline_s:g} s"
            ) from error
        except httpx.InvalidURL as error:
            raise Trouble(Kind.MALFORMED, f"{request.what}: its address cannot be used; check the field url") from error
        except (httpx.TransportError, ssl.SSLError, OSError) as error:
            cause = str(error) or type(error).__name__
            raise Trouble(
                Kind.UNREACHABLE, f"{request.what}: cannot reach {_host(request)}: {cause}; check url and network"
            ) from error
        except httpx.HTTPError as error:
            raise Trouble(Kind.MALFORMED, f"{request.what}: {_host(request)}: {type(error).__name__}") from error

    async def json(self, request: Request, kind: type[T]) -> T:
        """The body, decoded and checked. Raises Trouble."""
        return decode(await self.get(request), kind, request.what)

    async def _fetch(self, request: Request) -> bytes:
        options: dict[str, Any] = {"auth": request.basic} if request.basic else {}
        async with self._client.stream(
            "GET" if request.form is None else "POST",
            request.url,
            params=dict(request.params),
            headers={"Accept": "application/json", **request.headers},
            data=None if request.form is None else dict(request.form),
            **options,
        ) as response:
            body = bytearray()
            async for part in response.aiter_bytes():
                body += part
                if len(body) > ANSWER_LIMIT_BYTES:
                    raise Trouble(
                        Kind.MALFORMED, f"{request.what}: the answer is larger than {ANSWER_LIMIT_BYTES >> 20} MiB"
                    )
        if response.status_code != 200:
            raise _refused(request, response, bytes(body))
        return bytes(body)


def client() -> httpx.AsyncClient:
    """A client for many feeds. Proxies and authorities come from the environment (HTTPS_PROXY, SSL_CERT_FILE)."""
    return httpx.AsyncClient(
        follow_redirects=False,
        timeout=httpx.Timeout(60.0),
        limits=httpx.Limits(max_connections=32, max_keepalive_connections=8),
        headers={"User-Agent": "heliotrope"},
    )


def decode(body: bytes, kind: type[T], what: str) -> T:
    """JSON to ``kind``. Raises Trouble naming the field."""
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as error:
        raise Trouble(Kind.MALFORMED, f"{what}: the answer's {explain(error)}") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Trouble(Kind.MALFORMED, f"{what}: the answer is no JSON ({error}); it begins {_said(body)}") from error


def _refused(request: Request, response: httpx.Response, body: bytes) -> Trouble:
    status = response.status_code
    said = f"{request.what}: {_host(request)} answered {status}: {_said(body)}"
    wait_s = retry_after_s(response.headers.get("retry-after"), datetime.now(UTC))
    if status in (401, 403):
        return Trouble(Kind.DENIED, f"{said}; check the key and what the account may ask", retry_after_s=wait_s)
    if status == 429:
        return Trouble(Kind.THROTTLED, f"{said}; lower every_s or requests_per_day", retry_after_s=wait_s)
    if status >= 500:
        return Trouble(Kind.SERVER, said, retry_after_s=wait_s)
    if 300 <= status < 400:
        return Trouble(
            Kind.MALFORMED, f"{request.what}: {_host(request)} redirects ({status}); set url to the new address"
        )
    return Trouble(Kind.MALFORMED, said, retry_after_s=wait_s)


def _host(request: Request) -> str:
    return urlsplit(request.url).netloc.rpartition("@")[2]


def _said(body: bytes) -> str:
    """The start of a body, printable, as one line; some services repeat the token there, hence only its start."""
    text = " ".join(body[: SAID_LIMIT * 4].decode("utf-8", "replace").split())
    shown = "".join(char if char.isprintable() else "?" for char in text)
    return repr(shown[:SAID_LIMIT]) if shown else "nothing"
