"""`howdah serve` with one process."""

import contextlib
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable

from db.errors import Forbidden
from db.services import Services, open_services
from db.settings import Settings
from graph.app import build_app, read_listed_documents
from graph.auth import authenticate
from graph.commands.serving.banner import accept_sign_in_links, print_banner
from graph.schema import schema
from graph.server.listening import address_of, listen
from graph.server.logs import logging_to
from graph.server.signals import Stop, run
from graph.server.tracing import Traces, tracing
from graph.server.uvicorn_server import create_server


def serve_until_stopped(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT."""
    refuse_root(settings)
    with logging_to(settings), tracing() as traces:
        run(lambda stop: _serve(settings, stop, traces))


def refuse_root(settings: Settings) -> None:
    """Raises `Forbidden` for a production server that would run as root."""
    if settings.development or settings.allow_root or os.geteuid() != 0:
        return
    raise Forbidden(
        "A production server does not start as root.",
        hint="Run it under an account of its own, or set HOWDAH_ALLOW_ROOT=true.",
    )


async def _serve(settings: Settings, stop: Stop, traces: Traces | None) -> None:
    async with open_server(settings) as (services, listener):
        await serve_requests(services, listener, stop, traces=traces)


@contextlib.asynccontextmanager
async def open_server(
    settings: Settings, prepare: Callable[[Services], Awaitable[None]] | None = None
) -> AsyncIterator[tuple[Services, socket.socket]]:
    """Open the services and the listening socket, and print the banner.

    `prepare` runs before the address exists, so that no client finds a half-prepared server.
    """
    read_listed_documents(settings)  # before anything starts: a faulty list is reported at once
    async with open_services(settings) as services:
        if prepare is not None:
            await prepare(services)
        with listen(settings) as listener:
            address = address_of(listener)
            if services.embedded is not None:
                services.embedded.announce(address)
            with accept_sign_in_links(settings, address) as links:
                await print_banner(services, address, links)
                yield services, listener


async def serve_requests(
    services: Services,
    listener: socket.socket,
    stop: Stop,
    *,
    worker: bool = False,
    traces: Traces | None = None,
) -> None:
    """Serve requests on a listening socket until `stop` is asked."""
    settings = services.settings
    app = build_app(
        settings,
        schema=schema,
        authenticate=authenticate,
        open_services=lambda _: contextlib.nullcontext(services),
        worker=worker,
        traces=traces,
    )
    server = create_server(app, settings, traces)
    stop.by = server.drain
    await server.serve(sockets=[listener])
