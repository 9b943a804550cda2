"""The header `Howdah-Seen`: the positions that a client has seen (db.postgres.standbys)."""

from starlette.types import Message, Scope, Send

from db.postgres.standbys import Standbys
from db.postgres.standbys.positions import BEYOND

SEEN = b"howdah-seen"


def telling_position(standbys: Standbys, scope: Scope, send: Send) -> Send:
    """Adds the header to a response that is no operation, such as that of an upload.

    Only if its request has the header. It leads to the primary: the position is not read.
    """
    if SEEN not in dict(scope["headers"]):
        return send

    async def send_with_position(message: Message) -> None:
        if message["type"] == "http.response.start":
            position = standbys.format(BEYOND).encode()
            message = {**message, "headers": [*message["headers"], (SEEN, position)]}
        await send(message)

    return send_with_position
