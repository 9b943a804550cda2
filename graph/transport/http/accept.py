"""Which of the media types we can write a client would rather read."""

from functools import lru_cache
from typing import NamedTuple

JSON = "application/json"
GRAPHQL_JSON = "application/graphql-response+json"
EVENT_STREAM = "text/event-stream"
MULTIPART = "multipart/mixed"
HTML = "text/html"

_LONGEST_HEADER = 1_000


class Accept(NamedTuple):
    """What an `Accept` header comes to; None where it leaves us nothing to send."""

    answer: str | None
    """How to send one answer. Some clients merely list event streams: they must prefer them."""

    stream: str | None
    """How to send the answers of a subscription."""

    page: bool
    """Whether this is a browser that shows what it gets."""


def accept(header: bytes | None) -> Accept:
    """Understand a header; clients send few different ones, so most are known already."""
    return _understand((header or b"")[:_LONGEST_HEADER])


@lru_cache(maxsize=256)
def _understand(header: bytes) -> Accept:
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
