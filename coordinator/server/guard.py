"""Around every rpc: the caller's role is checked, and an error of the catalogue leaves as its gRPC status."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
import grpc.aio

from heliotrope.foundation import tls
from heliotrope.foundation.errors import HeliotropeError

from .roles import authorise

log = logging.getLogger("heliotrope.coordinator.server")

ERROR_KIND = "heliotrope-error"  # trailing metadata: the catalogue class, for clients that act on it


class Guard(grpc.aio.ServerInterceptor):
    """Wraps each handler once, whatever its shape."""

    def __init__(self, fleet: str) -> None:
        self._fleet = fleet

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
        async def call(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
            try:
                authorise(method, tls.peer_name_from_context(context), self._fleet)
                return await inner(request, context)
            except HeliotropeError as error:
                await refuse(context, error)

        return call

    def _streaming(self, method: str, inner: Callable[..., AsyncIterator[Any]]) -> Callable[..., AsyncIterator[Any]]:
        async def call(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> AsyncIterator[Any]:
            try:
                authorise(method, tls.peer_name_from_context(context), self._fleet)
                async for response in inner(request, context):
                    yield response
            except HeliotropeError as error:
                await refuse(context, error)

        return call


async def refuse(context: grpc.aio.ServicerContext[Any, Any], error: HeliotropeError) -> None:
    """End the rpc with the error's status; its class travels in the trailing metadata."""
    await context.abort(
        grpc.StatusCode[error.status], str(error), trailing_metadata=((ERROR_KIND, type(error).__name__),)
    )
