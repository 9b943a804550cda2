"""The listening socket of the server, and the errors of opening it."""

import errno
import socket

from db.errors import HowdahError, Unavailable
from db.settings import Settings

BACKLOG = 2_048
_ALL_INTERFACES = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "[::1]"}  # noqa: S104 - for display


def listen(settings: Settings) -> socket.socket:
    """Open the socket. Clients can connect at once, and wait in the backlog until it is served.

    Raises:
        Unavailable: the address cannot be used.
    """
    host, port = settings.host, settings.port
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise _listen_error(error, host, port) from error


def address_of(listener: socket.socket) -> str:
    """The URL of the server for a browser on this machine."""
    host, port = listener.getsockname()[:2]
    shown = _ALL_INTERFACES.get(host, f"[{host}]" if ":" in host else host)
    return f"http://{shown}:{port}/graphql"


def _listen_error(error: OSError, host: str, port: int) -> HowdahError:
    if isinstance(error, socket.gaierror):
        return Unavailable(
            f"The host {host!r} cannot be resolved.",
            hint="Set HOWDAH_HOST to an address of this machine: 127.0.0.1, or 0.0.0.0 for all.",
        )
    if error.errno == errno.EADDRINUSE:
        return Unavailable(
            f"Another program listens on port {port} of {host}.",
            hint=f"Stop it, or use another port: `howdah serve --port {port + 1}`; "
            "`--port 0` finds a free one.",
        )
    if error.errno == errno.EADDRNOTAVAIL:
        return Unavailable(
            f"{host} is not an address of this machine.",
            hint="Set HOWDAH_HOST to an address of this machine, or to 0.0.0.0 for all.",
        )
    if error.errno == errno.EACCES:
        return Unavailable(
            f"This user may not listen on port {port}.",
            hint="Choose a port above 1023 with --port; lower ones are reserved.",
        )
    return Unavailable(
        f"Listening on port {port} of {host} failed: {error.strerror}.",
        hint="Try another host or port: `howdah serve --host 127.0.0.1 --port 0`.",
    )
