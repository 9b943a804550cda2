"""Which of the media types we can write a client would rather read."""

from dataclasses import dataclass
from functools import lru_cache

from starlette.datastructures import Headers
from starlette.types import Scope

JSON = "application/json"
GRAPHQL_JSON = "application/graphql-response+json"
EVENT_STREAM = "text/event-stream"
MULTIPART = "multipart/mixed"
HTML = "text/html"

_LONGEST_HEADER = 1_000


@dataclass(frozen=True, slots=True)
class _Range:
    pattern: str
    quality: float
    position: int


class Accept:
    """One `Accept` header, understood."""

    def __init__(self, header: str) -> None:
        parts = header.split(",") if header.strip() else ["*/*"]
        self._ranges = [_parse(part, position) for position, part in enumerate(parts)]

    def quality(self, media_type: str) -> float:
        found = self._match(media_type)
        return found.quality if found else 0

    def best(self, *offers: str) -> str | None:
        """The offer of the highest quality; among equals what the client, then we, put first."""
        matches = [(match, offer) for offer in offers if (match := self._match(offer))]
        acceptable = [(match, offer) for match, offer in matches if match.quality > 0]
        if not acceptable:
            return None
        return min(acceptable, key=lambda pair: (-pair[0].quality, pair[0].position))[1]

    def _match(self, media_type: str) -> _Range | None:
        """The most specific range that the type falls into."""
        for pattern in (media_type, media_type.partition("/")[0] + "/*", "*/*"):
            for candidate in self._ranges:
                if candidate.pattern == pattern:
                    return candidate
        return None


@lru_cache(maxsize=128)
def _understood(header: str) -> Accept:
    return Accept(header)


def parse_accept(header: bytes) -> Accept:
    """What a client sends is nearly always one of few headers: they are parsed once."""
    return _understood(header[:_LONGEST_HEADER].decode("latin-1").lower())


def _parse(part: str, position: int) -> _Range:
    pattern, *parameters = (piece.strip() for piece in part.split(";"))
    quality = 1.0
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            quality = _as_quality(value)
    return _Range(pattern, quality, position)


def _as_quality(value: str) -> float:
    try:
        quality = float(value)
    except ValueError:
        return 0
    return quality if 0 <= quality <= 1 else 0


def for_answer(accept: Accept) -> str | None:
    """How to send one answer. Some clients merely list event streams: they must prefer them."""
    json = accept.best(JSON, GRAPHQL_JSON)
    if accept.quality(EVENT_STREAM) > (accept.quality(json) if json else 0):
        return EVENT_STREAM
    return json


def for_stream(accept: Accept) -> str | None:
    """How to send the answers of a subscription."""
    return accept.best(EVENT_STREAM, MULTIPART)


def wants_page(scope: Scope) -> bool:
    """Whether this is a browser that shows what it gets."""
    accept = parse_accept(Headers(scope=scope).get("accept", "").encode("latin-1"))
    return accept.best(JSON, GRAPHQL_JSON, EVENT_STREAM, HTML) == HTML
