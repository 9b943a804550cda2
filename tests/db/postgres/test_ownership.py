"""No statement on an owned table compiles without an owner predicate. Each violation is planted."""

from typing import Any

import pytest
from sqlalchemy import (
    Column,
    ForeignKey,
    Integer,
    MetaData,
    Select,
    Table,
    and_,
    bindparam,
    case,
    delete,
    exists,
    func,
    insert,
    literal,
    literal_column,
    not_,
    or_,
    select,
    table,
    text,
    true,
    update,
)
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.sql import ClauseElement

from db.postgres.ownership import PublicRows, require_owner
from db.postgres.statements import compile_change, compile_statement, unscoped_statement

metadata = MetaData()
shelves = Table(
    "shelves",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("owner_id", Integer),
    Column("public", Integer),
)
books = Table(
    "books",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("owner_id", Integer),
    Column("shelf_id", ForeignKey("shelves.id")),
)
people = Table("people", metadata, Column("id", Integer, primary_key=True), info={"owner": "id"})
cities = Table("cities", metadata, Column("id", Integer, primary_key=True))
shelf, book, city = shelves.c, books.c, cities.c
OWNER: Any = bindparam("owner_id")
MINE, MY_BOOK = shelf.owner_id == OWNER, book.owner_id == OWNER
ON = book.shelf_id == shelf.id
SAME = book.owner_id == shelf.owner_id
other = shelves.alias("other")


def mine() -> Select[Any]:
    return select(shelf.id).where(MINE)


SCOPED: dict[str, ClauseElement] = {
    "no owned table": select(city.id),
    "no table": select(literal(1)),
    "select": mine(),
    "select, the other way round": select(shelf.id).where(shelf.owner_id == OWNER),
    "select in parentheses": select(shelf.id).where(and_(MINE, shelf.id > 1).self_group()),
    "alias": select(other.c.id).where(other.c.owner_id == OWNER),
    "join by the owner": select(book.id).join(shelves, and_(ON, SAME)).where(MINE),
    "outer join": select(shelf.id).outerjoin(books, and_(ON, MY_BOOK)).where(MINE),
    "subquery": select(mine().subquery().c.id),
    "correlated": mine().where(exists().where(ON, SAME)),
    "lateral": mine().join(select(book.id).where(ON, SAME).lateral("l"), true()),
    "cte": select(mine().cte("mine").c.id),
    "union": mine().union(mine()),
    "public": select(shelf.id).where(or_(MINE, PublicRows(shelf.public == 1))),
    "update": update(shelves).where(MINE).values(public=1),
    "update from": update(shelves).where(MINE, ON, SAME).values(public=book.id),
    "delete": delete(shelves).where(MINE),
    "delete using": delete(shelves).where(MINE, ON, SAME),
    "insert": insert(shelves).values(id=1, owner_id=OWNER),
    "insert of all columns": insert(shelves),
    "insert from": insert(books).from_select(["id", "owner_id"], select(city.id, OWNER)),
    "insert from its own": insert(books).from_select(
        ["id", "owner_id"], select(shelf.id, shelf.owner_id).where(MINE)
    ),
    "owner column of another name": select(people.c.id).where(people.c.id == OWNER),
    "owner column of another name, joined": mine().where(people.c.id == shelf.owner_id),
    "upsert": upsert(shelves)
    .values(id=1, owner_id=OWNER)
    .on_conflict_do_update(index_elements=["owner_id", "id"], set_={"public": 1}),
    "upsert where": upsert(shelves)
    .values(id=1, owner_id=OWNER)
    .on_conflict_do_update(index_elements=["id"], set_={"public": 1}, where=MINE),
}
added = insert(shelves).values(id=1, owner_id=OWNER)
PLANTED: dict[str, ClauseElement] = {
    "no predicate": select(shelf.id),
    "another column": select(shelf.id).where(shelf.id == OWNER),
    "another bind": select(shelf.id).where(shelf.owner_id == bindparam("user_id")),
    "a literal": select(shelf.id).where(shelf.owner_id == 5),
    "not equal": select(shelf.id).where(shelf.owner_id != OWNER),
    "negated": select(shelf.id).where(not_(and_(MINE, shelf.id > 1))),
    "or": select(shelf.id).where(or_(MINE, shelf.public == 1)),
    "or of public only": select(shelf.id).where(PublicRows(shelf.public == 1)),
    "a count": select(func.count()).select_from(shelves),
    "a case": select(shelf.id).where(case((MINE, True), else_=True)),
    "having only": select(shelf.owner_id).group_by(shelf.owner_id).having(MINE),
    "alias without its own": select(other.c.id).join(shelves, shelf.id == other.c.id).where(MINE),
    "join": select(book.id).join(shelves, ON).where(MINE),
    "join of one owner that is not bound": select(book.id).join(shelves, and_(ON, SAME)),
    "implicit join": select(book.id).where(MINE, ON),
    "outer join without": select(shelf.id).outerjoin(books, ON).where(MINE),
    "outer join, the left side": select(shelf.id).outerjoin(books, and_(ON, MINE, MY_BOOK)),
    "full join": select(shelf.id).join(books, and_(ON, MINE, MY_BOOK), full=True),
    "subquery in from": select(select(shelf.id).subquery().c.id),
    "subquery of the same table": mine().where(
        shelf.id.in_(select(select(shelf.id).subquery().c.id))
    ),
    "scalar subquery": mine().add_columns(select(func.max(book.id)).scalar_subquery()),
    "in": mine().where(shelf.id.in_(select(book.shelf_id))),
    "exists": mine().where(exists().where(ON)),
    "not exists": mine().where(~exists().where(ON)),
    "lateral": mine().join(select(book.id).where(ON).lateral("l"), true()),
    "cte": mine().where(shelf.id.in_(select(select(book.id).cte("all").c.id))),
    "cte that is only attached": mine().add_cte(select(book.id).cte("all")),
    "cte that changes": select(delete(books).returning(book.id).cte("gone").c.id),
    "union": mine().union(select(shelf.id)),
    "order by a subquery": mine().order_by(select(func.max(book.id)).scalar_subquery()),
    "table without columns": select(literal_column("id")).select_from(table("shelves")),
    "text in from": select(literal_column("id")).select_from(text("shelves")),
    "update": update(shelves).values(public=1),
    "update from": update(shelves).where(MINE, ON).values(public=1),
    "update from, in the values": update(shelves).where(MINE).values(public=book.id),
    "update by a subquery": update(shelves)
    .where(MINE)
    .values(public=select(func.max(book.id)).scalar_subquery()),
    "update that gives away": update(shelves).where(MINE).values(owner_id=bindparam("new")),
    "update that returns another": update(shelves).where(MINE).values(public=1).returning(book.id),
    "owner column of another name": select(people.c.id).where(people.c.id == bindparam("id")),
    "owner column of another name, joined": mine().join(people, true()),
    "owner column of another name, inserted": insert(people).values(id=bindparam("id")),
    "delete": delete(shelves),
    "delete using": delete(shelves).where(MINE, ON),
    "delete by a subquery": delete(shelves).where(MINE, shelf.id.in_(select(book.shelf_id))),
    "insert for another": insert(shelves).values(id=1, owner_id=bindparam("user_id")),
    "insert without": insert(shelves).values(id=1),
    "insert of many": insert(shelves).values([{"id": 1, "owner_id": OWNER}]),
    "insert from another's": insert(shelves).from_select(
        ["id", "owner_id"], select(book.id, OWNER).select_from(books)
    ),
    "insert from, for another": insert(books).from_select(
        ["id", "owner_id"], select(city.id, city.id)
    ),
    "insert of a subquery": insert(shelves).values(
        id=select(func.max(book.id)).scalar_subquery(), owner_id=OWNER
    ),
    "upsert of another's row": upsert(shelves)
    .values(id=1, owner_id=OWNER)
    .on_conflict_do_update(index_elements=["id"], set_={"public": 1}),
    "upsert that gives away": upsert(shelves)
    .values(id=1, owner_id=OWNER)
    .on_conflict_do_update(index_elements=["owner_id"], set_={"owner_id": bindparam("new")}),
    "upsert by a subquery": upsert(shelves)
    .values(id=1, owner_id=OWNER)
    .on_conflict_do_update(
        index_elements=["owner_id"], set_={"public": select(func.max(book.id)).scalar_subquery()}
    ),
    "insert of what a cte reads": insert(cities).from_select(
        ["id"], select(select(book.id).cte("all").c.id)
    ),
}


@pytest.mark.parametrize("clause", SCOPED.values(), ids=SCOPED)
def test_statement_with_owner_predicate_passes(clause: ClauseElement) -> None:
    require_owner(clause)


@pytest.mark.parametrize("clause", PLANTED.values(), ids=PLANTED)
def test_statement_without_owner_predicate_is_refused(clause: ClauseElement) -> None:
    with pytest.raises(TypeError, match="no owner predicate for"):
        require_owner(clause)


def test_compile_checks_owner_predicates_unless_unscoped() -> None:
    with pytest.raises(TypeError, match="no owner predicate for shelves"):
        compile_statement(select(shelf.id))
    with pytest.raises(TypeError, match="no owner predicate for shelves"):
        compile_change(delete(shelves))
    assert compile_statement(select(shelf.id), unscoped=True).sql.startswith("SELECT")
    assert compile_change(delete(shelves), unscoped=True).changes

    class Everything:
        @unscoped_statement
        def every(cls) -> ClauseElement:
            return select(shelf.id)

    assert Everything.every().sql.startswith("SELECT")
