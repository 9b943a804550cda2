"""Completion at 300 places of statements, which are data in `cases/`, and at each of their places.

A case is the text of an editor, with `|` at the cursor, and what is expected there. The marks of
the lines with what is expected are explained in `cases/tables.txt`.
"""

import re
from pathlib import Path
from typing import NamedTuple

import pytest

from db.workbench.completion.catalogue_index import CatalogueIndex, index_of
from db.workbench.completion.completions import complete
from db.workbench.completion.results import MAX_COMPLETIONS, Completion
from tests.fixtures.shop_catalogue import shop_snapshot

FOLDER = Path(__file__).parent / "cases"
EXPECTED = re.compile(r"[=+>-] ")
SNAPSHOT = shop_snapshot()


class Case(NamedTuple):
    text: str
    cursor: int
    expected: tuple[tuple[str, str], ...]
    """A mark and what follows it."""


def read_cases() -> dict[str, Case]:
    cases: dict[str, Case] = {}
    for path in sorted(FOLDER.glob("*.txt")):
        for block in re.split(r"\n\n+", path.read_text("utf-8").strip()):
            lines = [line for line in block.splitlines() if not line.startswith("#")]
            if not lines:
                continue
            split = next(at for at, line in enumerate(lines) if EXPECTED.match(line))
            marked = "\n".join(lines[:split])
            cursor = cursor_of(marked)
            text = marked[:cursor] + marked[cursor + 1 :]
            expected = tuple((line[0], line[2:]) for line in lines[split:])
            assert f"{path.stem}: {marked}" not in cases, marked
            cases[f"{path.stem}: {marked}"] = Case(text, cursor, expected)
    return cases


def cursor_of(marked: str) -> int:
    """The place of the one `|` that is no part of `||`."""
    (found,) = re.finditer(r"(?<!\|)\|(?!\|)", marked)
    return found.start()


CASES = read_cases()


@pytest.fixture(scope="module")
def index() -> CatalogueIndex:
    return index_of(SNAPSHOT)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_completions_are_those_of_the_case(case: Case, index: CatalogueIndex) -> None:
    found = complete(index, case.text, case.cursor, MAX_COMPLETIONS)
    labels = [each.label for each in found]
    for mark, line in case.expected:
        wanted = [] if line == "nothing" else line.split("; ")
        match mark:
            case "=":
                assert labels[: len(wanted) or None] == wanted
            case "+":
                assert set(wanted) - set(labels) == set()
            case "-":
                assert set(wanted) & set(labels) == set()
            case ">":
                assert found[0].insert_text == line


def test_corpus_has_300_cases() -> None:
    assert len(CASES) >= 300


def test_completions_replace_the_word_at_every_cursor(index: CatalogueIndex) -> None:
    """Nothing raises, and each completion replaces a part of the text around the cursor."""
    for case in CASES.values():
        for cursor in range(len(case.text) + 1):
            for each in complete(index, case.text, cursor, 3):
                assert_range(case.text, cursor, each)


def assert_range(text: str, cursor: int, each: Completion) -> None:
    assert 0 <= each.replace_start <= cursor <= each.replace_end <= len(text)
    replaced = text[each.replace_start : each.replace_end]
    is_quoted = replaced[:1] in {'"', "'"} or replaced[:2].lower() == "e'"
    assert is_quoted or re.fullmatch(r"[\w$]*", replaced), (text, cursor, replaced)
