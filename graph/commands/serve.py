"""`howdah serve`: opens the house, listens, says where, and stops when told to."""

import contextlib
import socket

from db.services import Services, open_services
from db.settings import Settings
from graph.app import build_app
from graph.auth import authenticate
from graph.commands.greeting import LocalSignIn, greet
from graph.commands.listening import address_of, listen
from graph.commands.stopping import Stop, run
from graph.logs import logging_to
from graph.schema import schema
from graph.server import create_server


def serve_until_stopped(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT."""
    with logging_to(settings):
        run(lambda stop: _serve(settings, stop))


async def _serve(settings: Settings, stop: Stop) -> None:
    async with open_services(settings) as services:
        with listen(settings) as listener:
            address = address_of(listener)
            if services.embedded is not None:
                services.embedded.announce(address)
            sign_in = LocalSignIn(services) if settings.development else None
            await greet(services, address, sign_in)
            await answer(listener, services, stop, sign_in)


async def answer(
    listener: socket.socket, services: Services, stop: Stop, sign_in: LocalSignIn | None
) -> None:
    """Answer requests on a socket that listens already, until told to stop."""
    settings = services.settings
    # Beyond loopback a stranger could claim to be here, and be handed the admin's page.
    page_headers = sign_in.headers if sign_in and settings.on_loopback else None
    app = build_app(
        settings,
        schema=schema,
        authenticate=authenticate,
        open_services=lambda _: contextlib.nullcontext(services),
        page_headers=page_headers,
    )
    server = create_server(app, settings)

    def leave() -> None:
        server.should_exit = True

    stop.by = leave
    await server.serve(sockets=[listener])
