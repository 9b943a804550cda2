"""The lines that the audit stream appends to a file."""

import os
import stat
from pathlib import Path

import pytest

from graph.server.audit_stream import _append


def test_append_begins_a_line_of_its_own_behind_a_torn_one(tmp_path: Path) -> None:
    """A disk that was full, or a kill, left half of a batch, which is written again as a whole."""
    path = tmp_path / "audit.jsonl"
    _append(str(path), b'{"id":1}\n')
    with path.open("ab") as file:
        file.write(b'{"id":2}\n{"i')
    _append(str(path), b'{"id":2}\n{"id":3}\n')
    _append(str(path), b'{"id":4}\n')
    assert path.read_text().splitlines() == [
        *('{"id":1}', '{"id":2}', '{"i'),
        *('{"id":2}', '{"id":3}', '{"id":4}'),
    ]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_append_returns_when_the_lines_are_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The position of the stream survives a power failure, so what it counts has to."""
    path = tmp_path / "audit.jsonl"
    flushed: list[bytes] = []
    monkeypatch.setattr("os.fsync", lambda _: flushed.append(path.read_bytes()))
    _append(str(path), b'{"id":1}\n')
    assert flushed == [b'{"id":1}\n']


def test_append_writes_to_a_pipe(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        _append(str(path), b'{"id":1}\n')
        assert os.read(reader, 100) == b'{"id":1}\n'
    finally:
        os.close(reader)
