"""Content negotiation: selects the media type of a response by the `Accept` header."""

from functools import lru_cache
from typing import NamedTuple

JSON = "application/json"
GRAPHQL_JSON = "application/graphql-response+json"
EVENT_STREAM = "text/event-stream"
MULTIPART = "multipart/mixed"
HTML = "text/html"

_MAX_HEADER_LENGTH = 1_000


class Accept(NamedTuple):
    """The media types for a request; None if none is acceptable."""

    answer: str | None
    """For a single result. An event stream only if it is preferred: some clients list it always."""

    stream: str | None
    """For the results of a subscription."""

    page: bool
    """True if the client prefers HTML, as browsers do."""


def accept(header: bytes | None) -> Accept:
    """Parses a header. Cached, because clients send few different headers."""
    return _negotiate((header or b"")[:_MAX_HEADER_LENGTH])


@lru_cache(maxsize=256)
def _negotiate(header: bytes) -> Accept:
    ranges = _Ranges(header.decode("latin-1").lower())
    answer = ranges.best(JSON, GRAPHQL_JSON)
    if ranges.quality(EVENT_STREAM) > (ranges.quality(answer) if answer else 0):
        answer = EVENT_STREAM
    return Accept(
        answer=answer,
        stream=ranges.best(EVENT_STREAM, MULTIPART),
        page=ranges.best(JSON, GRAPHQL_JSON, EVENT_STREAM, HTML) == HTML,
    )


class _Range(NamedTuple):
    pattern: str
    quality: float
    position: int


class _Ranges:
    """The media ranges of one header."""

    def __init__(self, header: str) -> None:
        parts = header.split(",") if header.strip() else ["*/*"]
        self._ranges = [_parse(part, position) for position, part in enumerate(parts)]

    def quality(self, media_type: str) -> float:
        found = self._match(media_type)
        return found.quality if found else 0

    def best(self, *offers: str) -> str | None:
        """The offer of the highest quality; ties go to header order, then to `offers`."""
        matches = [(match, offer) for offer in offers if (match := self._match(offer))]
        acceptable = [(match, offer) for match, offer in matches if match.quality > 0]
        if not acceptable:
            return None
        return min(acceptable, key=lambda pair: (-pair[0].quality, pair[0].position))[1]

    def _match(self, media_type: str) -> _Range | None:
        """The most specific range that matches the type."""
        for pattern in (media_type, media_type.partition("/")[0] + "/*", "*/*"):
            for candidate in self._ranges:
                if candidate.pattern == pattern:
                    return candidate
        return None


def _parse(part: str, position: int) -> _Range:
    pattern, *parameters = (piece.strip() for piece in part.split(";"))
    quality = 1.0
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            quality = _parse_quality(value)
    return _Range(pattern, quality, position)


def _parse_quality(value: str) -> float:
    try:
        quality = float(value)
    except ValueError:
        return 0
    return quality if 0 <= quality <= 1 else 0
