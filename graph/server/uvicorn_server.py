"""The configuration and shutdown of uvicorn."""

import asyncio
import contextlib
import functools
import gc
import logging
import socket
import sys
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.types import ASGIApp

from db.concurrency.waiting import wait_up_to
from db.settings import Settings
from graph.operations.limits import RequestLimits
from graph.server.http_protocol import ConnectionsByAddress, Protocol
from graph.server.tracing import Traces
from graph.transport.gateway import Shutdown
from graph.transport.middleware.proxies import TrustedProxies

log = logging.getLogger(__name__)

_STREAMS_WAIT_S = 5.0
SWITCH_INTERVAL_S = 0.001
"""The event loop waits as long for the interpreter after each system call while a thread is busy,
such as that of a large document or a tunnel. The default of Python is 5 ms."""


class Server(uvicorn.Server):
    """Stops in an order in which neither a client nor a load balancer sees a failure.

    It drains, closes the listening socket, and then closes sockets and streams with code 1001
    before uvicorn closes them with 1012 (docs/decisions/0060-readiness.md).
    """

    def __init__(self, config: uvicorn.Config, shutdown: Shutdown, *, drain_s: float = 0) -> None:
        super().__init__(config)
        self._shutdown = shutdown
        self._drain_s = drain_s
        self._is_draining = False

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        _settle_memory()
        sys.setswitchinterval(SWITCH_INTERVAL_S)

    def capture_signals(self) -> contextlib.AbstractContextManager[None]:  # type: ignore[override]  # uvicorn says Generator
        """Leave signals to the command: uvicorn raises them again, which prevents exit code 0."""
        return contextlib.nullcontext()

    def drain(self) -> None:
        """Drains, during which load balancers find `/readyz` red, and then ends."""
        if self._is_draining:
            return
        self._is_draining = True
        if self._drain_s:
            log.info("stopping in %d s; until then requests are served", self._drain_s)
        self._shutdown.drain()
        for connection in self.server_state.connections:
            if isinstance(connection, Protocol):  # a WebSocket is not
                connection.close_after_response()
        asyncio.get_running_loop().call_later(self._drain_s, self._leave)

    def _leave(self) -> None:
        self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for listener in (*self.servers, *(sockets or ())):
            listener.close()  # a refused connection is retried elsewhere, an error is not
        self._shutdown.begin()
        await wait_up_to(_STREAMS_WAIT_S, self._shutdown.streams_ended())
        await super().shutdown(sockets)


def create_server(app: Starlette, settings: Settings, traces: Traces | None = None) -> Server:
    """A server for an application of `graph.app`."""
    served, shutdown = traces.requests(app) if traces else app, app.state.shutdown
    return Server(create_config(served, settings, shutdown), shutdown, drain_s=settings.drain_s)


def create_config(app: ASGIApp, settings: Settings, shutdown: Shutdown) -> uvicorn.Config:
    trusts_proxies = bool(settings.trusted_proxies) and not settings.development
    proxies = TrustedProxies(app, settings.trusted_proxies) if trusts_proxies else None
    connections = ConnectionsByAddress(
        settings.address_connections,
        exempt=proxies.trusted_hosts if proxies else (),  # type: ignore[arg-type]  # contains only text
    )
    return uvicorn.Config(
        proxies or app,
        host=settings.host,
        port=settings.port,
        interface="asgi3",
        lifespan="on",
        http=functools.partial(  # type: ignore[arg-type]  # a class
            Protocol, connections=connections, stopping=shutdown
        ),
        ws=_websocket_protocol,  # type: ignore[arg-type]  # a class
        ws_max_size=RequestLimits().body_bytes,
        ws_per_message_deflate=False,  # 300 kB a socket, for messages that are small
        timeout_graceful_shutdown=settings.stop_seconds,
        proxy_headers=False,  # uvicorn would trust 127.0.0.1, or FORWARDED_ALLOW_IPS
        server_header=False,
        access_log=False,
        log_config=None,
    )


def _websocket_protocol(**options: Any) -> asyncio.Protocol:
    """Imported with the first WebSocket: 7 ms of each start."""
    from graph.server.websocket_protocol import SocketProtocol

    return SocketProtocol(**options)


def _settle_memory() -> None:
    """Exclude the objects of the start from garbage collection, and collect rarely.

    A collection at the start frees 2,000 of 200,000 objects and delays the first response by 70 ms.
    The threshold balances speed against pauses: rejected documents leave reference cycles.
    """
    gc.freeze()
    gc.set_threshold(50_000, 5, 10)
    gc.enable()  # `howdah serve` starts without
