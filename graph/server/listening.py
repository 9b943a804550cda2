"""The socket of a server: bound before anything is promised, or a word about why not."""

import errno
import socket

from db.errors import HowdahError, Unavailable
from db.settings import Settings

BACKLOG = 2_048
_EVERYWHERE = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "[::1]"}  # noqa: S104 - as it is shown


def listen(settings: Settings) -> socket.socket:
    """Clients may connect from here on; they wait until somebody accepts."""
    host, port = settings.host, settings.port
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise _explained(error, host, port) from error


def address_of(listener: socket.socket) -> str:
    """Where a browser on this machine finds it."""
    host, port = listener.getsockname()[:2]
    shown = _EVERYWHERE.get(host, f"[{host}]" if ":" in host else host)
    return f"http://{shown}:{port}/graphql"


def _explained(error: OSError, host: str, port: int) -> HowdahError:
    if isinstance(error, socket.gaierror):
        return Unavailable(
            f"The host {host!r} to listen on is not known.",
            hint="HOWDAH_HOST is an address of this machine: 127.0.0.1, or 0.0.0.0 for all.",
        )
    if error.errno == errno.EADDRINUSE:
        return Unavailable(
            f"Another program listens on port {port} of {host}.",
            hint=f"Stop it, or take another port: `howdah serve --port {port + 1}`; "
            "`--port 0` finds a free one.",
        )
    if error.errno == errno.EADDRNOTAVAIL:
        return Unavailable(
            f"{host} is no address of this machine.",
            hint="Set HOWDAH_HOST to one that is, or to 0.0.0.0 for all of them.",
        )
    if error.errno == errno.EACCES:
        return Unavailable(
            f"This user may not listen on port {port}.",
            hint="Ports below 1024 are reserved: take a higher one with --port.",
        )
    return Unavailable(
        f"Listening on port {port} of {host} failed: {error.strerror}.",
        hint="Try another host or port: `howdah serve --host 127.0.0.1 --port 0`.",
    )
