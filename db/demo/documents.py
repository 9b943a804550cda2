"""The content of the example files."""

import struct
import zlib
from typing import NamedTuple

_README = """\
# Documents of the shop

- `reports/`: orders and revenue in euros per month, as in the view `reporting.monthly_revenue`
- `pictures/`: two test pictures
"""

_REPORTS = {
    "2026-q1": ("2026-01-01,117,50449.44", "2026-02-01,105,48508.18", "2026-03-01,128,49037.94"),
    "2026-q2": ("2026-04-01,134,55602.06", "2026-05-01,142,60095.46", "2026-06-01,150,62604.72"),
}
_PICTURES = {"dawn": (250, 150, 90), "forest": (60, 150, 90)}
_PICTURE_SIZE = 256


class Document(NamedTuple):
    location: str
    content_type: str
    content: bytes


def documents() -> list[Document]:
    return [
        Document("readme.md", "text/markdown", _README.encode()),
        *(
            Document(f"reports/{name}.csv", "text/csv", _report(lines))
            for name, lines in _REPORTS.items()
        ),
        *(
            Document(f"pictures/{name}.png", "image/png", _picture(colour))
            for name, colour in _PICTURES.items()
        ),
    ]


def _report(lines: tuple[str, ...]) -> bytes:
    return "\n".join(("month,orders,revenue", *lines, "")).encode()


def _picture(colour: tuple[int, int, int]) -> bytes:
    """A PNG whose colour fades from white at the top."""
    rows = (
        # Each row starts with the number of its filter, 0 for none.
        b"\0" + bytes(255 - (255 - part) * y // _PICTURE_SIZE for part in colour) * _PICTURE_SIZE
        for y in range(_PICTURE_SIZE)
    )
    header = struct.pack(">IIBBBBB", _PICTURE_SIZE, _PICTURE_SIZE, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in (
            (b"IHDR", header),
            (b"IDAT", zlib.compress(b"".join(rows))),
            (b"IEND", b""),
        )
    )
