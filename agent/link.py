"""The agent's line to the coordinator: a stub over mutual TLS, and the small calls beside the session."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import grpc.aio

from heliotrope.foundation import tls
from heliotrope.foundation.errors import HeliotropeError, Unreachable, by_name
from heliotrope.foundation.identity import Identity
from heliotrope.v1 import common_pb2, fleet_pb2_grpc, identity_pb2_grpc
from heliotrope.v1 import fleet_pb2 as pb
from heliotrope.v1 import identity_pb2 as pb_identity

OPTIONS = (
    ("grpc.enable_http_proxy", 0),  # fleets are dialled directly; a proxy for the web is not one for them
    ("grpc.max_receive_message_length", 16 * 1024**2),
    ("grpc.max_send_message_length", 16 * 1024**2),
)


ERROR_KIND = "heliotrope-error"  # trailing metadata: the catalogue's class, see the coordinator's guard
CLOSE_GRACE_S = 86_400.0  # a job's files may be on their way, over a slow link
RENEW_TIMEOUT_S = 30.0


class Link:
    """One channel at a time; it reconnects by itself, a session on it does not."""

    def __init__(self, address: str, identity: Identity) -> None:
        self.address = address
        self._closing: set[asyncio.Task[None]] = set()
        self._identity = identity
        self._open()

    def _open(self) -> None:
        self._channel = tls.grpc_aio_channel(self.address, self._identity, OPTIONS)
        self.stub = fleet_pb2_grpc.FleetServiceStub(self._channel)
        self._identities = identity_pb2_grpc.IdentityServiceStub(self._channel)

    def use(self, identity: Identity) -> None:
        """Show another certificate from the next call on; calls that are under way may end in peace."""
        closing = asyncio.create_task(self._channel.close(grace=CLOSE_GRACE_S))
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)
        self._identity = identity
        self._open()

    async def reconnect(self) -> None:
        """Give up the connection: one that was cut may look open for as long as keepalive takes, or longer."""
        old = self._channel
        self._open()
        await old.close()

    async def close(self) -> None:
        for closing in self._closing:
            closing.cancel()
        await self._channel.close()

    async def renew(self, csr_pem: bytes) -> bytes:
        """A signing request to a certificate, both PEM. Raises the coordinator's refusal, or Unreachable."""
        try:
            answer = await self._identities.Renew(pb_identity.RenewRequest(csr_pem=csr_pem), timeout=RENEW_TIMEOUT_S)
        except grpc.aio.AioRpcError as error:
            kind = dict(error.trailing_metadata() or ()).get(ERROR_KIND)
            failure = by_name(str(kind)) if kind is not None else Unreachable
            raise failure(f"cannot renew this agent's certificate: {error.details()}") from error
        return bytes(answer.certificate_pem)

    async def fetch_bundle(self, job_id: str) -> AsyncIterator[bytes]:
        """A job's archive in pieces. Raises Unreachable."""
        try:
            async for response in self.stub.FetchBundle(pb.FetchBundleRequest(job_id=job_id)):
                yield response.data
        except grpc.aio.AioRpcError as error:
            raise Unreachable(f"cannot fetch the files of job {job_id}: {error.details()}") from error

    async def relay(self, relay_id: str, pieces: AsyncIterator[bytes]) -> None:
        """Pipe outputs to whoever asked; an error on this side travels to them. Raises Unreachable, and that error."""
        failure: list[HeliotropeError] = []

        async def requests() -> AsyncIterator[pb.RelayOutputsRequest]:
            yield pb.RelayOutputsRequest(relay_id=relay_id)
            try:
                async for piece in pieces:
                    yield pb.RelayOutputsRequest(data=piece)
            except HeliotropeError as error:
                failure.append(error)
                told = common_pb2.Error(kind=type(error).__name__, message=str(error))
                yield pb.RelayOutputsRequest(error=told)

        try:
            await self.stub.RelayOutputs(requests())
        except grpc.aio.AioRpcError as error:
            raise Unreachable(f"cannot send outputs: {error.details()}") from error
        if failure:
            raise failure[0]
