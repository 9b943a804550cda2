"""Lists of rows with long texts end early, and lose no row."""

import random
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import ARRAY, Integer, Text, bindparam, column, func, select

from db.errors import TooLarge
from db.kit.base import OwnerId, new_id
from db.kit.lists.long_texts import CHILDREN_BYTES, PAGE_BYTES, ROWS_BYTES, end_after, ended
from db.kit.lists.paging import Page, SortOrder, Window
from db.postgres.engine import Database
from db.postgres.statements import compile_statement
from db.saved_queries import SavedQueries, SavedQueryFilter
from db.saved_queries.repository import MAX_EXPORT_BYTES
from db.saved_queries.rows import SavedQueryRow
from db.saved_queries.rules import MAX_PARAMETERS_LENGTH, MAX_TEXT_LENGTH
from db.saved_queries.versions import SavedVersions

OLDEST = SortOrder("updated_at", descending=False)
LONG = "é" * MAX_TEXT_LENGTH
"""A megabyte."""
FIT = PAGE_BYTES // 1_000_000 + 1
"""Rows of such a text in one page: the one that reaches the size is the last."""


async def save(database: Database, owner: OwnerId, texts: Sequence[str]) -> list[UUID]:
    return [
        (
            await database.write(
                lambda session, text=text: SavedQueries(session, owner).create(  # type: ignore[misc]
                    name=str(new_id()), text=text
                )
            )
        ).id
        for text in texts
    ]


async def page(database: Database, owner: OwnerId, **window: Any) -> Page[SavedQueryRow]:
    async with database.read() as session:
        return await SavedQueries(session, owner).page(
            Window(50, **window), SavedQueryFilter(), OLDEST
        )


async def test_pages_of_long_texts_end_early_and_lose_no_row(
    database: Database, owner: OwnerId
) -> None:
    ids = await save(database, owner, [LONG] * (2 * FIT + 1))
    found, sizes, after = list[UUID](), list[int](), None
    while after is not None or not found:
        here = await page(database, owner, after=after)
        found += [row.id for row in here.rows]
        sizes.append(len(here.rows))
        assert here.has_previous is (after is not None)
        after = here.cursor(len(here.rows) - 1) if here.has_next else None
    assert found == ids
    assert sizes == [FIT, FIT, 1]


async def test_last_page_of_long_texts_ends_early_too(database: Database, owner: OwnerId) -> None:
    ids = await save(database, owner, [LONG] * (FIT + 1))
    last = await page(database, owner, backward=True)
    assert [row.id for row in last.rows] == ids[1:]
    assert (last.has_previous, last.has_next) == (True, False)
    first = await page(database, owner, backward=True, before=last.cursor(0))
    assert [row.id for row in first.rows] == ids[:1]
    assert (first.has_previous, first.has_next) == (False, True)


async def test_texts_that_nobody_reads_end_no_page(database: Database, owner: OwnerId) -> None:
    ids = await save(database, owner, [LONG] * (FIT + 1))
    whole = await page(database, owner, columns=("name",))
    assert [row.id for row in whole.rows] == ids
    assert not whole.has_next


async def test_rows_by_id_have_a_size(database: Database, owner: OwnerId) -> None:
    ids = await save(database, owner, [LONG] * (ROWS_BYTES // 1_000_000 + 2))
    async with database.read() as session:
        queries = SavedQueries(session, owner)
        assert {row.id for row in await queries.get_many(ids[:-1])} == set(ids[:-1])
        with pytest.raises(TooLarge) as caught:
            await queries.get_many(ids)
    assert caught.value.hint
    assert "fewer rows" in caught.value.hint


async def test_texts_and_parameters_of_an_export_have_a_size(
    database: Database, owner: OwnerId
) -> None:
    count = MAX_EXPORT_BYTES // MAX_PARAMETERS_LENGTH
    parameters = " " * MAX_PARAMETERS_LENGTH
    fit = [(f"{number:04}", "a", "SELECT 1", parameters) for number in range(count)]
    await database.write(lambda session: SavedQueries(session, owner).add_many(fit))
    async with database.read() as session:
        found = await SavedQueries(session, owner).all_under("a")
        assert [row.name for row in found] == [name for name, *_ in fit]
    one_more = [("more", "a/b", "SELECT 1", "[]")]
    await database.write(lambda session: SavedQueries(session, owner).add_many(one_more))
    async with database.read() as session:
        with pytest.raises(TooLarge, match="the limit of one export"):
            await SavedQueries(session, owner).all_under("a")
        assert len(await SavedQueries(session, owner).all_under("a/b")) == 1


async def add_versions(database: Database, owner: OwnerId, query_id: UUID, count: int) -> None:
    for number in range(count):
        await database.transaction(
            lambda session, number=number: SavedQueries(session, owner).change(  # type: ignore[misc]
                query_id, text=f"{number % 10}{LONG[1:]}"
            )
        )


async def test_children_of_one_parent_end_early_and_lose_no_row(
    database: Database, owner: OwnerId
) -> None:
    (query_id,) = await save(database, owner, [LONG])
    fit = CHILDREN_BYTES // 1_000_000 + 1
    await add_versions(database, owner, query_id, fit + 2)
    async with database.read() as session:
        versions = SavedVersions(session, owner)
        first = (await versions.of_queries([query_id], Window(50)))[query_id]
        assert [row.version for row in first.rows] == list(range(fit + 2, 2, -1))
        assert first.has_next
        rest = Window(50, after=first.cursor(fit - 1))
        last = (await versions.of_queries([query_id], rest))[query_id]
    assert [row.version for row in last.rows] == [2, 1]
    assert not last.has_next


async def test_children_of_several_parents_have_a_size(database: Database, owner: OwnerId) -> None:
    ids = await save(database, owner, [LONG, LONG])
    for query_id in ids:
        await add_versions(database, owner, query_id, 5)
    async with database.read() as session:
        versions = SavedVersions(session, owner)
        with pytest.raises(TooLarge):
            await versions.of_queries(ids, Window(50))
        few = await versions.of_queries(ids, Window(3))
        assert [len(few[query_id].rows) for query_id in ids] == [3, 3]
        light = await versions.of_queries(ids, Window(50, columns=("version",)))
        assert [len(light[query_id].rows) for query_id in ids] == [5, 5]


LISTED = (
    func.unnest(bindparam("numbers", type_=ARRAY(Integer)), bindparam("texts", type_=ARRAY(Text)))
    .table_valued(column("number", Integer), column("text", Text))
    .render_derived(name="given")
)
MOST = 5
FIRST = compile_statement(
    end_after(select(LISTED.c.number, LISTED.c.text), ["text"], [("number", True)], MOST)
)


async def test_list_ends_with_the_text_that_reaches_the_size(database: Database) -> None:
    chance = random.Random(7)  # noqa: S311 - no secret
    for _ in range(300):
        texts = chance.choices(["", "a", "é", "aéaé", None], k=chance.randrange(9))
        rows = list(enumerate(texts))[::-1]
        shown, size = list[tuple[int, str | None]](), 0
        while len(shown) < len(rows) and size < MOST:
            shown.append(rows[len(shown)])
            size += len((shown[-1][1] or "").encode())
        async with database.read() as session:
            found = await session.rows(FIRST, numbers=list(range(len(texts))), texts=texts)
        more = rows[len(shown) : len(shown) + 1]
        assert ended(found, MOST) == (shown + more, bool(more))
