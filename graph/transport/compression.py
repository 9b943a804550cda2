"""Compresses large answers with gzip, in pieces and beside the event loop.

Zstandard and Brotli would each need a package with native code, for about a tenth fewer bytes.
"""

import asyncio
import zlib
from functools import lru_cache

MIN_BYTES = 1_024
"""Smaller answers fit into one packet anyway."""
_INLINE_BYTES = 16_384  # compressed within 0.2 ms; a thread costs about as much
_PIECE_BYTES = 262_144  # so that one large answer delays the next by milliseconds
_LEVEL = 1  # JSON shrinks to a fifth; level 6 takes three times as long for a tenth fewer bytes
_GZIP = 16 + zlib.MAX_WBITS
_READ_CHARACTERS = 1_000


def accepts_gzip(header: bytes | None) -> bool:
    """Whether an `Accept-Encoding` header names gzip. Without the header only identity is sent."""
    return header is not None and _accepts_gzip(header[:_READ_CHARACTERS])


class Compressor:
    """Compresses one piece at a time, in the order of arrival, so that it uses one thread."""

    def __init__(self) -> None:
        self._turn = asyncio.Lock()

    async def gzip(self, content: bytes) -> bytes:
        if len(content) <= _INLINE_BYTES:
            return zlib.compress(content, _LEVEL, _GZIP)
        stream = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP)
        view = memoryview(content)
        pieces: list[bytes] = []
        for start in range(0, len(content), _PIECE_BYTES):
            async with self._turn:
                piece = view[start : start + _PIECE_BYTES]
                pieces.append(await asyncio.to_thread(stream.compress, piece))
        pieces.append(stream.flush())
        return b"".join(pieces)


@lru_cache(maxsize=256)
def _accepts_gzip(header: bytes) -> bool:
    qualities = dict(map(_coding, header.decode("latin-1").lower().split(",")))
    return qualities.get("gzip", qualities.get("x-gzip", qualities.get("*", 0.0))) > 0


def _coding(part: str) -> tuple[str, float]:
    name, _, parameters = part.partition(";")
    key, _, value = parameters.partition("=")
    if key.strip() != "q":
        return name.strip(), 1.0
    try:
        return name.strip(), float(value)
    except ValueError:
        return name.strip(), 0.0
