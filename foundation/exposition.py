"""Serves metrics over HTTP in Prometheus' formats (the library's), to whom the configuration allows it.

Imported only where metrics are configured (:mod:`.metricsport`). The daemon's own loop accepts; each scrape has a
thread for as long as it takes, so that nothing runs between scrapes. (The library's own server shakes hands in the
thread that accepts, where one silent client keeps all others out, and knows neither tokens nor roles.)
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import socket
import socketserver
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, MetricsHandler
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from . import tls
from .errors import Denied, HeliotropeError, InvalidInput, Unreachable
from .identity import Identity, Role
from .metrics import Family, Kind, Sample
from .metricsconfig import MetricsConfig
from .peer import Peer

log = logging.getLogger("heliotrope.metrics")

PATH = "/metrics"
CLIENT_S = 10.0  # how long a client may take to shake hands and to ask
CONNECTIONS_LIMIT = 8  # more are hung up on: a scraper needs one
TOKEN_LEAST = 16
READERS = (Role.OPERATOR, Role.OBSERVER)

Collect = Callable[[], Iterable[Sample]]


class SampleCollector(Collector):
    """Our samples as the library's families; a family without a sample is not shown."""

    def __init__(self, collect: Collect) -> None:
        self._collect = collect

    def collect(self) -> Iterator[CounterMetricFamily | GaugeMetricFamily]:
        families: dict[Family, CounterMetricFamily | GaugeMetricFamily] = {}
        for sample in self._collect():
            family = sample.family
            if family not in families:
                kind = CounterMetricFamily if family.kind is Kind.COUNTER else GaugeMetricFamily
                families[family] = kind(family.name, family.help, labels=family.labels)
            families[family].add_metric(sample.labels, sample.value)
        yield from families.values()


class OwnProcess(ProcessCollector):
    """The library's process_* metrics, also where a sandbox hides /proc/stat (ProcSubset=pid), and it gives none."""

    def _boot_time(self) -> float:
        return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)


class MetricsPort:
    """Listens from :meth:`start` to :meth:`stop`, both called in the event loop."""

    def __init__(
        self,
        config: MetricsConfig,
        folder: Path,
        *,
        identity: Callable[[], Identity],
        admit: Callable[[Peer], None],
        collect: Collect,
        registry: CollectorRegistry | None = None,
    ) -> None:
        """``folder``: what relative paths are relative to; ``admit`` raises Denied for a revoked peer; ``registry``:
        one that already holds metrics of the library's own. Raises InvalidInput for an unusable token or certificate.
        """
        self._config = config
        self._folder = folder
        self._identity = identity
        self._admit = admit
        self._server: _Server | None = None
        self.registry = registry or CollectorRegistry()
        self.registry.register(SampleCollector(collect))
        OwnProcess(registry=self.registry)
        self.authorised(None)  # an unusable token is told now, not at the first scrape
        self.context()

    @property
    def url(self) -> str:
        """Where to scrape; the port that the kernel chose for port 0, after the start."""
        host, port = self._server.server_address[:2] if self._server else self._config.address
        name = f"[{host!s}]" if ":" in str(host) else str(host)
        return f"http{'' if self._config.tls == 'off' else 's'}://{name}:{port}{PATH}"

    def start(self) -> None:
        """Raises Unreachable when the address cannot be had."""
        host, port = self._config.address
        try:
            self._server = _Server((host, port), self._handle)
        except OSError as error:
            cause = error.strerror or str(error)
            raise Unreachable(
                f"cannot listen on {self._config.listen} for metrics: {cause}; change metrics.listen"
            ) from error
        self._server.timeout = 0
        asyncio.get_running_loop().add_reader(self._server.fileno(), self._server.handle_request)
        log.info("metrics at %s", self.url)

    def stop(self) -> None:
        if self._server is not None:
            asyncio.get_running_loop().remove_reader(self._server.fileno())
            self._server.server_close()

    def context(self) -> ssl.SSLContext | None:
        """Made for each connection: a renewed certificate is in use at once. Raises InvalidInput."""
        if self._config.tls == "off":
            return None
        own = self._identity()
        if self._config.tls == "mutual":
            return tls.server_context(own)
        certificate, key = own.certificate_path, own.key_path
        if self._config.certificate:
            certificate, key = self._folder / self._config.certificate, self._folder / self._config.key
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            context.load_cert_chain(certificate, key)
        except (ssl.SSLError, OSError) as error:
            raise InvalidInput(f"field metrics.certificate: cannot use {certificate} with {key}: {error}") from error
        return context

    def check_peer(self, stream: ssl.SSLSocket) -> None:
        """Raises Denied for a member that may not read, or was revoked."""
        if self._config.tls == "mutual":
            peer = tls.peer(stream)
            if peer.name.role not in READERS:
                raise Denied(f"cannot show metrics to {peer.name}: have an observer's certificate issued for it")
            self._admit(peer)

    def authorised(self, header: str | None) -> bool:
        """Whether a request with that Authorization header may read. Raises InvalidInput for an unusable token file."""
        if not self._config.token_file:
            return True
        path = self._folder / self._config.token_file
        try:
            token = path.read_text(encoding="ascii").strip()
            mode = path.stat().st_mode
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidInput(f"field metrics.token_file: cannot read {path}: {error}; write a token there") from error
        if mode & 0o077:
            raise InvalidInput(f"field metrics.token_file: others can read {path}; chmod 600 it")
        if len(token) < TOKEN_LEAST or len(token.split()) != 1:
            raise InvalidInput(
                f"field metrics.token_file: {path} holds no word of {TOKEN_LEAST} or more letters; "
                "make one: openssl rand -hex 32"
            )
        return hmac.compare_digest((header or "").encode(), f"Bearer {token}".encode())

    def _handle(self, request: Any, address: Any, server: socketserver.BaseServer) -> None:
        _Scrape(request, address, server, port=self)


class _Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
    """A daemon thread per connection, of which there are few."""

    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False

    def __init__(self, address: tuple[str, int], handler: Callable[..., Any]) -> None:
        self._places = threading.BoundedSemaphore(CONNECTIONS_LIMIT)
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        super().__init__(address, handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._places.acquire(blocking=False):
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._places.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        log.debug("a scrape from %s broke off", client_address, exc_info=True)


class _Scrape(MetricsHandler):
    """One connection: TLS, then who asks, then the library's answer."""

    server_version = "heliotrope"
    sys_version = ""
    timeout = CLIENT_S

    def __init__(self, request: Any, address: Any, server: Any, *, port: MetricsPort) -> None:
        self._port = port
        self._refusal = ""
        self.registry = port.registry
        super().__init__(request, address, server)

    def setup(self) -> None:
        context = self._port.context()
        if context is not None:
            self.request.settimeout(CLIENT_S)
            self.request = context.wrap_socket(self.request, server_side=True)
            try:
                self._port.check_peer(self.request)
            except HeliotropeError as error:
                self._refusal = str(error)
        super().setup()

    def finish(self) -> None:
        super().finish()
        self.connection.close()  # the server would close the plain socket, which TLS has taken over

    def do_GET(self) -> None:
        try:
            self._answer()
        except HeliotropeError as error:
            log.error("cannot answer a scrape: %s", error)
            self.send_error(500, "cannot collect", str(error))
        except OSError:
            raise
        except Exception:
            log.exception("cannot answer a scrape")
            self.send_error(500, "cannot collect", "see the daemon's log")

    def _answer(self) -> None:
        if self._refusal:
            self.send_error(403, "forbidden", self._refusal)
        elif not self._port.authorised(self.headers.get("Authorization")):
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Bearer realm="metrics"')
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif self.path.partition("?")[0] != PATH:
            self.send_error(404, "not found", f"metrics are at {PATH}")
        else:
            super().do_GET()
