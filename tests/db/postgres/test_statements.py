import enum
import uuid
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import (
    ARRAY,
    Column,
    Enum,
    Integer,
    MetaData,
    Table,
    Text,
    Uuid,
    any_,
    bindparam,
    delete,
    func,
    insert,
    literal,
    select,
    text,
    update,
)
from sqlalchemy.dialects.postgresql import JSONB, TIMESTAMP
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.sql import ClauseElement

from db.postgres.engine import Database
from db.postgres.sessions import Session
from db.postgres.statements import (
    Changes,
    Statement,
    compile_change,
    compile_statement,
    statement,
)


class Mood(enum.Enum):
    GOOD = "good"
    BAD = "bad"


things = Table(
    "things",
    MetaData(),
    Column("id", Uuid, primary_key=True),
    Column("name", Text),
    Column("size", Integer, server_default="7"),
    Column("data", JSONB),
    Column("tags", ARRAY(Text)),
    Column("mood", Enum(Mood, name="mood")),
    Column("word", Enum(Mood, name="word", native_enum=False)),
    Column("seen_at", TIMESTAMP(timezone=True)),
)
SETUP = [
    "CREATE TYPE mood AS ENUM ('GOOD', 'BAD')",
    """CREATE TABLE things (id uuid PRIMARY KEY, name text, size int DEFAULT 7, data jsonb,
       tags text[], mood mood, word varchar(4), seen_at timestamptz)""",
]


async def set_up(session: Session) -> None:
    for line in SETUP:
        await session.rows(compile_change(text(line)))


def adding(*names: str) -> Statement[Changes]:
    values: dict[str, Any] = {name: bindparam(name) for name in names}
    return compile_change(insert(things).values(values).returning(things))


ROWS: list[dict[str, Any]] = [
    {"data": {"a": [1, 2.5, None, "é", {"b": True}]}, "tags": ["x", "y,z", '"', ""]},
    {"data": [], "tags": []},
    {"data": "only text", "tags": ["NULL", None]},
    {"data": 12345678901234567890, "tags": None},
    {"mood": Mood.GOOD, "word": Mood.BAD},
    {"mood": None, "word": None},
    {"name": "", "size": -1, "seen_at": datetime(2026, 11, 21, 7, tzinfo=UTC)},
    {"name": None, "size": None, "seen_at": None},
    {"name": "'; DROP TABLE things; --", "size": 2**31 - 1},
]


async def test_statement_values_round_trip(database: Database) -> None:
    async def work(session: Session) -> None:
        await set_up(session)
        for row in ROWS:
            given = {"id": uuid.uuid4(), **row}
            found = await session.row(adding(*given), **given)
            back = dict(zip(things.c.keys(), found or (), strict=True))
            assert {name: back[name] for name in given} == given

    await database.transaction(work)


async def test_statement_omitted_value_uses_server_default(database: Database) -> None:
    async def work(session: Session) -> None:
        await set_up(session)
        (row,) = await session.rows(adding("id"), id=uuid.uuid4())
        assert row[2] == 7

    await database.transaction(work)


async def test_statement_list_is_one_parameter(database: Database) -> None:
    by_ids = compile_statement(
        select(things.c.id).where(things.c.id == any_(bindparam("ids", type_=ARRAY(Uuid))))
    )
    moods = compile_statement(
        select(things.c.mood).where(things.c.mood == any_(bindparam("m", type_=ARRAY(Enum(Mood)))))
    )

    async def work(session: Session) -> None:
        await set_up(session)
        ids = [uuid.uuid4() for _ in range(3)]
        for row_id in ids:
            await session.rows(adding("id", "mood"), id=row_id, mood=Mood.BAD)
        assert {found[0] for found in await session.rows(by_ids, ids=[*ids, uuid.uuid4()])} == {
            *ids
        }
        assert len(await session.rows(by_ids, ids=[])) == 0
        assert [tuple(found) for found in await session.rows(moods, m=[Mood.BAD])] == [
            (Mood.BAD,)
        ] * 3

    await database.transaction(work)


async def test_statement_value_may_occur_several_times(database: Database) -> None:
    twice = compile_statement(
        select(bindparam("x", type_=Integer) + bindparam("x", type_=Integer), literal(5))
    )
    async with database.read() as session:
        found = await session.row(twice, x=4)
    assert found is not None
    assert tuple(found) == (8, 5)


async def test_statement_literal_is_a_default() -> None:
    clause = select(things.c.id).where(things.c.size == bindparam("size", 3)).limit(10)
    query = compile_statement(clause)
    assert query.arguments({}) == [3, 10]
    assert query.arguments({"size": 4}) == [4, 10]


async def test_statement_missing_value_is_named() -> None:
    query = compile_statement(
        select(things.c.id).where(things.c.id == bindparam("id"), things.c.name == bindparam("n"))
    )
    with pytest.raises(TypeError, match="no value for n of: SELECT"):
        query.arguments({"id": uuid.uuid4()})


async def test_statement_refuses_unknown_enum_value() -> None:
    query = adding("id", "mood")
    with pytest.raises(LookupError, match="mood"):
        query.arguments({"id": uuid.uuid4(), "mood": 5})


async def test_statement_refuses_list_in_sql() -> None:
    with pytest.raises(TypeError, match="any_"):
        compile_statement(select(things).where(things.c.size.in_([1, 2])))


ADDED = insert(things).values(id=bindparam("id")).returning(things.c.id)


@pytest.mark.parametrize(
    ("clause", "changes"),
    [
        (select(things), False),
        (select(things).with_for_update(), False),
        (select(things.c.id).union(select(things.c.id)), False),
        (select(select(things.c.id).cte("seen").c.id), False),
        (select(select(func.count()).select_from(things).scalar_subquery()), False),
        (text("  select 1"), False),
        (text("SHOW server_version"), False),
        (insert(things), True),
        (update(things).values(size=1), True),
        (delete(things), True),
        (upsert(things).on_conflict_do_nothing(), True),
        (select(ADDED.cte("added").c.id), True),
        (select(things.c.id).union(select(ADDED.cte("added").c.id)), True),
        (select(things).where(things.c.id.in_(select(ADDED.cte("added").c.id))), True),
        (text("WITH gone AS (DELETE FROM things RETURNING 1) SELECT 1"), True),
        (text("TRUNCATE things"), True),
    ],
)
async def test_statement_knows_if_it_changes_rows(clause: ClauseElement, *, changes: bool) -> None:
    both: list[Any] = [compile_statement, compile_change]
    wrong, right = both if changes else reversed(both)
    assert right(clause).changes is changes
    with pytest.raises(TypeError, match="so it needs"):
        wrong(clause)


class Shelf:
    built: list[tuple[object, tuple[str, ...]]]

    @statement
    def by(cls, *names: str) -> ClauseElement:
        cls.built.append((cls, names))
        return select(things.c.id).where(*(things.c[name] == bindparam(name) for name in names))


class OtherShelf(Shelf):
    pass


async def test_statement_is_compiled_once_per_class_and_shape() -> None:
    Shelf.built = []
    first = Shelf.by("name")
    assert Shelf().by("name") is first
    assert Shelf.by("name", "size") is not first
    assert OtherShelf.by("name") is not first
    assert OtherShelf.by("name") is OtherShelf.by("name")
    shapes = [(Shelf, ("name",)), (Shelf, ("name", "size")), (OtherShelf, ("name",))]
    assert Shelf.built == shapes
