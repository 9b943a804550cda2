"""Rules for every table. A table with an owner is a table with a column `owner_id`."""

from collections.abc import Iterator, Mapping
from typing import Any

from sqlalchemy import (
    Column,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    UniqueConstraint,
)
from sqlalchemy.sql import ClauseElement

from db.kit.repository import Repository
from db.models import metadata
from db.postgres.ownership import OWNER
from db.postgres.statements import StatementMethod, statement

NO_CONFLICT = {
    "uq_tasks_imported_as": "an import skips the records that exist",
    "uq_access_tokens_token_hash": "the token has 190 random bits",
    "uq_password_resets_token_hash": "the token has 256 random bits",
    "uq_users_email": "`Users.add` answers with the user that exists",
    "uq_users_issuer_subject": "an external user is found before it is added",
    "uq_files_key": "the key is a digest that contains the ID",
}
"""Unique constraints that need no message in `Repository.conflicts`, with the reason."""


def keys_without_owner(metadata: MetaData) -> list[str]:
    """Foreign keys between owned tables by which a row could refer to another owner's."""
    return [
        f"{table.name}.{name}: begin the foreign key with the other column and add `owner_id`, "
        f"on both sides: ForeignKeyConstraint([..., 'owner_id'], ['{parent}.id', "
        f"'{parent}.owner_id'])"
        for table, key in foreign_keys(metadata)
        if OWNER in table.c and OWNER in key.referred_table.c
        for name, parent in [(key.column_keys[0], key.referred_table.name)]
        if OWNER not in key.column_keys
    ]


def keys_without_index(metadata: MetaData) -> list[str]:
    """Foreign keys for which the removal of a parent row scans the table of its children."""
    found = []
    for table, key in foreign_keys(metadata):
        own = [name for name in key.column_keys if name != OWNER] or [OWNER]
        starts = [columns[: len(own)] for columns in indexed(table, without=OWNER)]
        if own == [OWNER]:
            starts = [columns[:1] for columns in indexed(table)]
        if own not in starts:
            found.append(
                f"{table.name}({', '.join(key.column_keys)}): add an index that starts with "
                f"`{own[0]}`, or with `owner_id` and `{own[0]}`, for the removal of a parent row"
            )
    return found


def unnamed_conflicts(metadata: MetaData, named: Mapping[str, object]) -> list[str]:
    """Unique constraints whose violation would be answered as an internal error."""
    return [
        f"{name}: name it in `conflicts` of the repository of `{table.name}` with message and "
        "hint, or in NO_CONFLICT with the reason"
        for table in metadata.sorted_tables
        for name in unique_names(table)
        if name not in named
    ]


def unique_names(table: Table) -> list[str]:
    """Without the target of composite foreign keys, (id, owner_id)."""
    names = [str(index.name) for index in table.indexes if index.unique]
    return names + [
        str(constraint.name)
        for constraint in table.constraints
        if isinstance(constraint, UniqueConstraint)
        if {column.name for column in constraint.columns} != {"id", OWNER}
    ]


def foreign_keys(metadata: MetaData) -> Iterator[tuple[Table, ForeignKeyConstraint]]:
    for table in metadata.sorted_tables:
        for key in table.foreign_key_constraints:
            yield table, key


def indexed(table: Table, *, without: str = "") -> Iterator[list[str]]:
    for index in table.indexes:
        options = index.dialect_options["postgresql"]
        if not options["using"] and (options["where"] is None or has_every_child(index)):
            yield [column.name for column in index.columns if column.name != without]
    for constraint in table.constraints:
        if isinstance(constraint, PrimaryKeyConstraint | UniqueConstraint):
            yield [column.name for column in constraint.columns if column.name != without]


def has_every_child(index: Index) -> bool:
    """Whether a partial index leaves out only the rows without a parent, which no removal asks."""
    where = index.dialect_options["postgresql"]["where"]
    return str(where) == f"{index.columns[0].name} IS NOT NULL"


def repositories(base: type[Any] = Repository) -> Iterator[type[Any]]:
    for kind in base.__subclasses__():
        yield kind
        yield from repositories(kind)


def uncompilable(kind: type[Any]) -> list[str]:
    """Statements that do not compile. Those with a shape need a test of their own."""
    found = []
    for name, method in vars(kind).items():
        if isinstance(method, StatementMethod):
            try:
                getattr(kind, name)()
            except TypeError as error:
                if "required positional argument" not in str(error):
                    found.append(f"{kind.__name__}.{name}: {error}")
    return found


def test_foreign_key_between_owned_tables_contains_owner() -> None:
    assert not keys_without_owner(metadata), "\n".join(keys_without_owner(metadata))


def test_foreign_key_has_an_index() -> None:
    assert not keys_without_index(metadata), "\n".join(keys_without_index(metadata))


def test_unique_constraint_has_a_message() -> None:
    named = {name: kind for kind in repositories() for name in kind.conflicts} | NO_CONFLICT
    assert not unnamed_conflicts(metadata, named), "\n".join(unnamed_conflicts(metadata, named))


def test_statement_without_a_test_compiles() -> None:
    found = [words for kind in repositories() for words in uncompilable(kind)]
    assert not found, "\n".join(found)


def planted(*rules: ForeignKeyConstraint | Index | UniqueConstraint) -> MetaData:
    """Two owned tables; `rules` belong to the child."""
    found = MetaData()
    Table(
        "shelves",
        found,
        Column("id", Integer, primary_key=True),
        Column("owner_id", Integer),
        UniqueConstraint("id", "owner_id", name="uq_shelves_id_owner_id"),
    )
    columns = (Column(name, Integer) for name in ("id", "owner_id", "shelf_id", "made_at"))
    Table("books", found, *columns, PrimaryKeyConstraint("id"), *rules)
    return found


BOTH = ["shelf_id", "owner_id"], ["shelves.id", "shelves.owner_id"]


def test_foreign_key_without_owner_is_caught() -> None:
    alone = planted(ForeignKeyConstraint(["shelf_id"], ["shelves.id"]))
    assert "books.shelf_id" in keys_without_owner(alone)[0]
    assert keys_without_owner(planted(ForeignKeyConstraint(*BOTH))) == []


def test_foreign_key_without_index_is_caught() -> None:
    for useless in (
        Index("by_id", "id", "shelf_id"),
        Index("by_time", "owner_id", "made_at", "shelf_id"),
        Index("some", "shelf_id", postgresql_where=Column("made_at") > 1),
    ):
        assert "shelf_id" in keys_without_index(planted(ForeignKeyConstraint(*BOTH), useless))[0]
    for index in (Index("a", "shelf_id"), Index("b", "owner_id", "shelf_id", "id")):
        assert keys_without_index(planted(ForeignKeyConstraint(*BOTH), index)) == []


def test_unique_constraint_without_message_is_caught() -> None:
    unique = planted(UniqueConstraint("owner_id", "made_at", name="uq_books_made_at"))
    assert "uq_books_made_at" in unnamed_conflicts(unique, {})[0]
    assert unnamed_conflicts(unique, {"uq_books_made_at": ""}) == []


def test_statement_that_does_not_compile_is_caught() -> None:
    books = planted().tables["books"]

    class Planted:
        @statement
        def _all(cls) -> ClauseElement:
            return books.select()

    assert "Planted._all: no owner predicate for books" in uncompilable(Planted)[0]
