"""Texts that are made to be slow: every step of completion takes time in proportion to the text."""

import random
import time

import pytest

from db.errors import BadInput, TooLarge
from db.workbench.completion.catalogue_index import CatalogueIndex
from db.workbench.completion.completions import MAX_TEXT_CHARS, complete
from tests.fixtures.shop_catalogue import shop_snapshot

INDEX = CatalogueIndex(shop_snapshot())
PIECES = (
    *("(", ")", "[", "]", "(SELECT ", "'", '"', "$$", "/*", "--", ";", ",", ".", "::", "= "),
    *("a ", "a.", "SELECT ", "FROM ", "FROM (", "JOIN orders ON ", "WHERE ", "UNION ", "CASE "),
    *("WITH a AS (SELECT * FROM a) ", "LATERAL ", "INSERT INTO orders (", "VALUES (", "SET a = "),
    *("CREATE TABLE a (", "a int, ", "CREATE ", "TABLE ", "ALTER TABLE a ADD ", "GRANT a, ", "ON "),
    *("MERGE INTO a USING b ON ", "WHEN ", "THEN ", "OVER (", "* ", "*, ", "\n", "é", "\U0001f418"),
)


def nested_withs(count: int) -> str:
    """Each query doubles the columns of the one before. The cursor is at the end."""
    query = "c{} AS (SELECT *, * FROM c{})"
    queries = [query.format(at, at - 1) for at in range(1, count)]
    last = f" SELECT c{count - 1}."
    return ", ".join(["WITH c0 AS (SELECT * FROM orders)", *queries]) + last


def seconds(text: str, cursor: int) -> float:
    """Of the CPU, in this thread; the least of some tries, which nothing has disturbed."""
    tries = []
    for _ in range(4):
        begun = time.thread_time()
        complete(INDEX, text, cursor, 50)
        tries.append(time.thread_time() - begun)
    return min(tries)


@pytest.mark.parametrize("piece", PIECES)
def test_time_of_completion_is_linear(piece: str) -> None:
    """A text of 8 times the length may take 8 times as long; 64 times would be quadratic."""
    before = "SELECT * FROM orders WHERE "
    short, long = (before + piece * (size // len(piece)) for size in (4_000, 32_000))
    assert seconds(long, len(long)) < 32 * seconds(short, len(short))


def test_columns_of_nested_queries_are_bounded() -> None:
    """Ten times the queries take ten times as long."""
    short, long = nested_withs(150), nested_withs(1_500)
    reference = seconds(f"{short} FROM c149", len(short))
    assert seconds(f"{long} FROM c1499", len(long)) < 50 * reference
    few = nested_withs(9) + " FROM c8"
    assert len(complete(INDEX, few, len(few) - len(" FROM c8"), 200)) == 6


def test_many_queries_and_sources_take_linear_time() -> None:
    def text_of(count: int) -> str:
        queries = ", ".join(f"c{at} AS (SELECT a)" for at in range(2 * count))
        sources = ", ".join(["orders"] * 3 * count)
        items = ", ".join(["total"] * 2 * count)
        return f"WITH {queries}, x AS (SELECT {items} FROM {sources}) SELECT x."  # noqa: S608 - not executed

    short, long = (
        seconds(text + " FROM x" + ", orders o" * count, len(text))
        for count in (100, 1_000)
        for text in (text_of(count),)
    )
    assert long < 50 * short


def test_completion_answers_for_any_text() -> None:
    choices = random.Random(50)  # noqa: S311 - no secret
    for _ in range(1_000):
        text = "".join(choices.choices(PIECES, k=choices.randrange(1, 30)))
        cursor = choices.randrange(len(text) + 1)
        for each in complete(INDEX, text, cursor, 20):
            assert 0 <= each.replace_start <= cursor <= each.replace_end <= len(text)


def test_completion_refuses_long_text_and_foreign_cursor() -> None:
    with pytest.raises(TooLarge) as too_large:
        complete(INDEX, " " * (MAX_TEXT_CHARS + 1), 0, 1)
    assert "statement at the cursor" in too_large.value.hint
    for cursor in (-1, 2):
        with pytest.raises(BadInput):
            complete(INDEX, "a", cursor, 1)
