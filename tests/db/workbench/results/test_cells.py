"""The content of single cells."""

import pytest

from db.runs import Column
from db.workbench.results.cells import BYTEA, content_of_cell

BYTES = Column("b", "bytea", BYTEA)


@pytest.mark.parametrize(
    ("text", "content"),
    [
        (b"\\x00ff", b"\x00\xff"),
        (b"\\x00f", b"\x00"),
        (b"a\\000", b"a\\000"),
        (b"\\xzz", b"\\xzz"),
        ("\\xé".encode(), "\\xé".encode()),
    ],
    ids=["hexadecimal", "cut", "escaped", "no digits", "not ASCII"],
)
def test_content_of_bytes_is_read_or_kept(text: bytes, content: bytes) -> None:
    """A hostile server sends anything."""
    assert content_of_cell(BYTES, text) == content
