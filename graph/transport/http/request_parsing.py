"""Parses the GraphQL request from the body or the query string of an HTTP request."""

import re
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qs

import msgspec
from starlette.types import Message, Receive, Scope

from db.errors import BadInput, HowdahError, TooLarge
from graph.operations import GraphQLRequest
from graph.transport.limits.large_requests import LARGE_CHARACTERS


class HttpRefusal(Exception):
    """The HTTP request is invalid: an error with the status and headers of its response."""

    def __init__(
        self, status: int, error: HowdahError, *, headers: tuple[tuple[bytes, bytes], ...] = ()
    ) -> None:
        super().__init__(status, error)
        self.status = status
        self.error = error
        self.headers = headers


class ClientDisconnected(Exception):
    """The client disconnected before the request was complete."""


_UNPAIRED_SURROGATE = re.compile(
    r"(?<!\\ud[89ab][\da-f]{2})\\ud[c-f][\da-f]{2}|\\ud[89ab][\da-f]{2}(?!\\ud[c-f][\da-f]{2})",
    re.IGNORECASE | re.ASCII,
)

_decode = msgspec.json.Decoder(GraphQLRequest).decode
_decode_object = msgspec.json.Decoder(dict[str, Any] | None).decode
_UTF_8 = {"utf-8", "utf8", '"utf-8"', '"utf8"'}


async def read_body(
    headers: dict[bytes, bytes],
    receive: Receive,
    max_bytes: int,
    reserve: Callable[[int], Awaitable[None]],
) -> bytes:
    """`reserve` is called before the rest of a body is received, with its size or the largest."""
    _check_content_type(headers)
    declared = _checked_length(headers, max_bytes)
    message = await receive()
    body: bytes = message.get("body", b"")
    if len(body) >= LARGE_CHARACTERS or message.get("more_body"):
        await reserve(max(declared, len(body)) if message.get("more_body") else len(body))
    if message["type"] == "http.disconnect" or message.get("more_body") or len(body) > max_bytes:
        body = await _read_rest(message, receive, max_bytes)
    return body


def from_body(body: bytes) -> GraphQLRequest:
    try:
        return _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        if has_unpaired_surrogate(body.decode(errors="replace")):
            raise HttpRefusal(400, _cut_character()) from None
        raise _malformed("The request body", error) from None


def has_unpaired_surrogate(text: str) -> bool:
    """Whether text that is no JSON escapes half a character, of which decoders say little."""
    return _UNPAIRED_SURROGATE.search(text) is not None


def from_query_string(scope: Scope) -> GraphQLRequest:
    values = query_values(scope)
    try:
        variables = _decode_object(values.get("variables") or "null")
        extensions = _decode_object(values.get("extensions") or "null")
    except (ValueError, RecursionError) as error:  # includes errors of msgspec
        raise _malformed("The query string", error) from None
    return GraphQLRequest(
        query=values.get("query"),
        operation_name=values.get("operationName"),
        variables=variables,
        extensions=extensions,
        document_id=values.get("documentId"),
    )


def query_values(scope: Scope) -> dict[str, str]:
    """The parameters of the query string; of a repeated one the last."""
    try:
        raw = scope["query_string"].decode("ascii")
        fields = parse_qs(raw, keep_blank_values=True, errors="strict", max_num_fields=20)
    except ValueError as error:  # includes errors of decoding
        raise _malformed("The query string", error) from None
    return {name: texts[-1] for name, texts in fields.items()}


def _check_content_type(headers: dict[bytes, bytes]) -> None:
    content_type = headers.get(b"content-type", b"")
    if content_type != b"application/json" and not _is_json(content_type.decode("latin-1")):
        raise HttpRefusal(
            415,
            BadInput(
                "The request body is not declared as JSON.",
                hint="Send `Content-Type: application/json`.",
            ),
        )
    if headers.get(b"content-encoding", b"identity").lower() != b"identity":
        raise HttpRefusal(
            415,
            BadInput("Compressed request bodies are not supported.", hint="Send plain JSON."),
            headers=((b"accept-encoding", b"identity"),),
        )


def _is_json(content_type: str) -> bool:
    media_type, *parameters = (piece.strip().lower() for piece in content_type.split(";"))
    pairs = [parameter.partition("=") for parameter in parameters]
    return media_type == "application/json" and all(
        value in _UTF_8 for name, _, value in pairs if name == "charset"
    )


def _checked_length(headers: dict[bytes, bytes], max_bytes: int) -> int:
    """The declared length, or the largest. The bytes are counted in any case."""
    declared = headers.get(b"content-length", b"")
    if not declared.isdigit():
        return max_bytes
    if len(declared) > 18 or int(declared) > max_bytes:
        raise _too_large(max_bytes)
    return int(declared)


async def _read_rest(message: Message, receive: Receive, max_bytes: int) -> bytes:
    """The body from its first message on."""
    chunks: list[bytes] = []
    size = 0
    while True:
        if message["type"] == "http.disconnect":
            raise ClientDisconnected
        chunks.append(message.get("body", b""))
        size += len(chunks[-1])
        if size > max_bytes:
            raise _too_large(max_bytes)
        if not message.get("more_body", False):
            return b"".join(chunks)
        message = await receive()


def _too_large(max_bytes: int) -> HttpRefusal:
    return HttpRefusal(
        413,
        TooLarge(
            f"The request body is larger than {max_bytes:,} bytes.",
            hint="Send files to an upload URL instead of a GraphQL request, and text as UTF-8 "
            "instead of JSON escapes.",
        ),
    )


def _malformed(source: str, error: Exception) -> HttpRefusal:
    """Distinguishes what is no JSON from JSON that is no request."""
    reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
    refusal = BadInput(
        f"{source} cannot be parsed: {reason}.",
        hint='Send one JSON object: {"query": "...", "variables": {...}}.',
    )
    if isinstance(error, msgspec.ValidationError):
        return HttpRefusal(422, refusal)
    return HttpRefusal(400, refusal)


def _cut_character() -> BadInput:
    return BadInput(
        "A text in the request body has an unpaired surrogate: half a character, such as an emoji.",
        hint="Cut texts between characters, or pass them through `toWellFormed()`.",
    )


def method_not_allowed(message: str, allowed: bytes) -> HttpRefusal:
    hint = f"Use {allowed.decode().replace(', ', ' or ')}."
    return HttpRefusal(405, BadInput(message, hint=hint), headers=((b"allow", allowed),))


def not_acceptable() -> HttpRefusal:
    error = BadInput(
        "No media type of the Accept header is supported for this operation.",
        hint="Accept application/json; for a subscription text/event-stream or multipart/mixed.",
    )
    return HttpRefusal(406, error)
