"""The header `Howdah-Seen`: the positions that a client has seen (db.postgres.standbys)."""

from starlette.types import Message, Scope, Send

from db.postgres.standbys import Standbys
from db.postgres.standbys.positions import BEYOND

SEEN_HEADER = b"howdah-seen"


def with_seen_header(standbys: Standbys, scope: Scope, send: Send) -> Send:
    """Adds the header to the response of an HTTP route, such as an upload, if its request has it.

    Its value makes the client's next query read on the primary: the position is not looked up.
    """
    if SEEN_HEADER not in dict(scope["headers"]):
        return send

    async def send_with_header(message: Message) -> None:
        if message["type"] == "http.response.start":
            position = standbys.format(BEYOND).encode()
            message = {**message, "headers": [*message["headers"], (SEEN_HEADER, position)]}
        await send(message)

    return send_with_header
