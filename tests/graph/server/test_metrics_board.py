"""The board: whoever reads sees a whole note, whatever happens to who writes."""

import asyncio
import os
import sys
from asyncio.subprocess import PIPE
from collections.abc import Iterator

import pytest

from graph.server.metrics_board import COPY_BYTES, Board


@pytest.fixture
def board() -> Iterator[Board]:
    board = Board.make(3)
    yield board
    os.close(board.descriptor)


def test_each_reads_what_the_others_say(board: Board) -> None:
    one, two = (Board(board.descriptor, own=page) for page in (1, 2))
    assert (one.read_first(), list(one.read_others()), one.read()) == (b"", [], b"")
    board.write(b"parent")
    one.write(b"old")
    one.write(b"new")
    two.write(b"")
    assert list(two.read_others()) == [b"parent", b"new"]
    assert list(one.read_others()) == [b"parent"]
    assert (two.read_first(), one.read()) == (b"parent", b"new")


def test_a_successor_finds_the_page_as_it_was_left(board: Board) -> None:
    Board(board.descriptor, own=1).write(b"42")
    successor = Board(board.descriptor, own=1)
    assert successor.read() == b"42"
    successor.write(b"43")
    assert list(board.read_others()) == [b"43"]


def test_half_a_note_is_none(board: Board) -> None:
    board.write(b"whole")
    board.write(b"later")
    for place in range(COPY_BYTES):  # the second copy, byte by byte overwritten
        if place % 7919 == 0:
            before = board._memory[place]
            board._memory[place] = before ^ 0xFF
            assert board.read_first() in {b"whole", b"later"}
            board._memory[place] = before
    board._memory[20] ^= 0xFF
    assert board.read_first() == b"whole"


def test_what_is_too_long_is_refused_and_changes_nothing(board: Board) -> None:
    board.write(b"short")
    with pytest.raises(ValueError, match="do not fit"):
        board.write(b"x" * COPY_BYTES)
    assert board.read_first() == b"short"


WRITE_FOR_EVER = """
import itertools, sys
from graph.server.metrics_board import Board

board = Board(int(sys.argv[1]), own=1)
for number in itertools.count():
    board.write(b"%d " % number * 10_000)
    if number == 10:
        print("begun", flush=True)
"""


async def test_a_writer_killed_in_the_middle_leaves_a_whole_note(board: Board) -> None:
    writer = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", WRITE_FOR_EVER, str(board.descriptor)),
        pass_fds=[board.descriptor],
        stdout=PIPE,
    )
    assert writer.stdout is not None
    await writer.stdout.readline()
    seen = [next(board.read_others()) for _ in range(300)]
    writer.kill()
    await writer.communicate()
    seen.append(next(board.read_others()))
    for note in seen:
        words = note.split()
        assert len(words) == 10_000
        assert len(set(words)) == 1
    assert int(seen[-1].split()[0]) >= int(seen[0].split()[0])
