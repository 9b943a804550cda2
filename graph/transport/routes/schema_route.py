"""The schema as SDL, by GET: tools read it without an introspection query."""

import asyncio
import functools
from hashlib import sha256

import strawberry
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from db.errors import Forbidden
from graph.transport.compression import Compressor, accepts_gzip
from graph.transport.files.byte_responses import json_errors

PATH = "/graphql/schema.graphql"
"""GraphQL Code Generator and graphql-tools read SDL from a URL with this suffix by themselves."""


class _Schema:
    """The SDL of this build. It is printed and compressed once, at the first request."""

    def __init__(self, schema: strawberry.Schema) -> None:
        self._schema = schema
        self._forms: tuple[bytes, bytes] | None = None
        self._making = asyncio.Lock()

    async def forms(self) -> tuple[bytes, bytes]:
        """The SDL as it is, and compressed."""
        async with self._making:
            if self._forms is None:
                plain = (await asyncio.to_thread(self._schema.as_str)).encode()
                self._forms = plain, await Compressor().gzip(plain)
        return self._forms


def route(schema: strawberry.Schema, *, allowed: bool) -> Route:
    """The route of the SDL, which is public where introspection is."""
    if not allowed:
        return Route(PATH, json_errors(_refuse))
    return Route(PATH, json_errors(functools.partial(_send, _Schema(schema))))


async def _send(schema: _Schema, request: Request) -> Response:
    plain, compressed = await schema.forms()
    is_gzip = accepts_gzip(request.headers.get("accept-encoding", "").encode("latin-1"))
    content = compressed if is_gzip else plain
    headers = {
        "Content-Type": "application/graphql; charset=utf-8",
        "Cache-Control": "no-cache",
        "ETag": f'"{sha256(content).hexdigest()[:32]}"',
        "Vary": "Accept-Encoding",
        "X-Content-Type-Options": "nosniff",
    }
    if is_gzip:
        headers["Content-Encoding"] = "gzip"
    if headers["ETag"] in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return Response(content, headers=headers)


async def _refuse(_: Request) -> Response:
    raise Forbidden(
        "Introspection is switched off on this server, and with it this copy of the schema.",
        hint="Use the `schema.graphql` of its version, or set HOWDAH_INTROSPECTION=true.",
    )
