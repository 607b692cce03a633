"""Around every rpc: the caller's role and certificate are checked, and an error of the catalogue leaves as its gRPC
status.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
import grpc.aio

from heliotrope.foundation import tls
from heliotrope.foundation.errors import HeliotropeError
from heliotrope.foundation.peer import Peer

from .calls import OpenCalls
from .roles import authorise

log = logging.getLogger("heliotrope.coordinator.server")

Context = grpc.aio.ServicerContext[Any, Any]

ERROR_KIND = "heliotrope-error"  # trailing metadata: the catalogue class, for clients that act on it


class Guard(grpc.aio.ServerInterceptor):
    """Wraps each handler once, whatever its shape."""

    def __init__(self, fleet: str, admit: Callable[[Peer], None], calls: OpenCalls) -> None:
        self._fleet = fleet
        self._admit = admit
        self._calls = calls

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        handler = await continuation(handler_call_details)
        if handler is None:
            return None
        method = str(handler_call_details.method)
        shape = (bool(handler.request_streaming), bool(handler.response_streaming))
        name, build = {
            (False, False): ("unary_unary", grpc.unary_unary_rpc_method_handler),
            (True, False): ("stream_unary", grpc.stream_unary_rpc_method_handler),
            (False, True): ("unary_stream", grpc.unary_stream_rpc_method_handler),
            (True, True): ("stream_stream", grpc.stream_stream_rpc_method_handler),
        }[shape]
        wrap: Callable[..., Any] = self._streaming if handler.response_streaming else self._single
        return build(
            wrap(method, getattr(handler, name)),
            request_deserializer=handler.request_deserializer,
            response_serializer=handler.response_serializer,
        )

    def _single(self, method: str, inner: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def call(request: Any, context: Context) -> Any:
            try:
                with self._calls.entered(self._admitted(method, context)):
                    return await inner(request, context)
            except HeliotropeError as error:
                await refuse(context, error)

        return call

    def _streaming(self, method: str, inner: Callable[..., AsyncIterator[Any]]) -> Callable[..., AsyncIterator[Any]]:
        async def call(request: Any, context: Context) -> AsyncIterator[Any]:
            try:
                with self._calls.entered(self._admitted(method, context)):
                    async for response in inner(request, context):
                        yield response
            except HeliotropeError as error:
                await refuse(context, error)

        return call

    def _admitted(self, method: str, context: Context) -> Peer:
        """Raises Denied: not of this fleet, not of a role that may, revoked or expired."""
        peer = tls.peer_from_context(context)
        authorise(method, peer.name, self._fleet)
        self._admit(peer)
        return peer


async def refuse(context: Context, error: HeliotropeError) -> None:
    """End the rpc with the error's status; its class travels in the trailing metadata."""
    await context.abort(
        grpc.StatusCode[error.status], str(error), trailing_metadata=((ERROR_KIND, type(error).__name__),)
    )
