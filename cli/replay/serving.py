"""The application and its socket."""

from __future__ import annotations

import socket

import uvicorn
from starlette.applications import Starlette
from starlette.routing import Route

from heliotrope.foundation.errors import Conflict

from . import carbon, grid
from .server import Replay

GRACE_S = 1


def application(replay: Replay) -> Starlette:
    """All services and the server's own two routes."""
    own = [
        Route("/replay/faults", replay.order, methods=["POST", "DELETE"]),
        Route("/replay/requests", replay.counts),
    ]
    return Starlette(routes=[*carbon.routes(replay), *grid.routes(replay), *own])


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; port 0: any free one. Raises Conflict."""
    try:
        return socket.create_server((host, port))
    except (OSError, OverflowError) as error:
        raise Conflict(f"cannot listen on {host}:{port}: {error}; choose another --listen") from error


def server(replay: Replay) -> uvicorn.Server:
    """Not started; `run(sockets=[...])` serves until `should_exit`, or SIGINT and SIGTERM in the main thread."""
    config = uvicorn.Config(
        application(replay),
        log_level="warning",
        access_log=False,
        lifespan="off",
        timeout_graceful_shutdown=GRACE_S,
    )
    return uvicorn.Server(config)
