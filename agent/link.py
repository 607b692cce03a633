"""The agent's line to the coordinator: a stub over mutual TLS, and the small calls beside the session."""

from __future__ import annotations

from collections.abc import AsyncIterator

import grpc.aio

from heliotrope.foundation import tls
from heliotrope.foundation.errors import HeliotropeError, Unreachable
from heliotrope.foundation.identity import Identity
from heliotrope.v1 import common_pb2, fleet_pb2_grpc
from heliotrope.v1 import fleet_pb2 as pb

OPTIONS = (
    ("grpc.enable_http_proxy", 0),  # fleets are dialled directly; a proxy for the web is not one for them
    ("grpc.max_receive_message_length", 16 * 1024**2),
    ("grpc.max_send_message_length", 16 * 1024**2),
)


class Link:
    """One channel at a time; it reconnects by itself, a session on it does not."""

    def __init__(self, address: str, identity: Identity) -> None:
        self.address = address
        self._identity = identity
        self._open()

    def _open(self) -> None:
        self._channel = tls.grpc_aio_channel(self.address, self._identity, OPTIONS)
        self.stub = fleet_pb2_grpc.FleetServiceStub(self._channel)

    async def renew(self) -> None:
        """Give up the connection: one that was cut may look open for as long as keepalive takes, or longer."""
        old = self._channel
        self._open()
        await old.close()

    async def close(self) -> None:
        await self._channel.close()

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
