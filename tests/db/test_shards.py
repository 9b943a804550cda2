"""docs/scale.md says which keys lack the owner, as sharding by owner would need them.

The models decide what stands in the column "keys without the owner": primary keys, unique keys and
foreign keys between distributed tables. A foreign key with the owner must not set columns to NULL.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from sqlalchemy import Column, ForeignKeyConstraint, Integer, MetaData, Table, UniqueConstraint

from db.models import metadata
from db.postgres.ownership import OWNER

PAGE = Path(__file__).parents[2] / "docs" / "scale.md"


def lacking(table: Table) -> list[str]:
    """What Citus refuses in a distributed table, as the page writes it."""
    if OWNER not in table.c:
        return []
    return [
        *(["`owner_id` may be null"] if table.c[OWNER].nullable else []),
        *(f"{kind} {named(columns)}" for kind, columns in keys(table) if OWNER not in columns),
        *sorted(foreign(table)),
    ]


def keys(table: Table) -> Iterator[tuple[str, list[str]]]:
    yield "primary", table.primary_key.columns.keys()
    found = [each for each in table.constraints if isinstance(each, UniqueConstraint)]
    yield from sorted(("unique", each.columns.keys()) for each in found)
    yield from (("unique", each.columns.keys()) for each in table.indexes if each.unique)


def foreign(table: Table) -> Iterator[str]:
    for key in table.foreign_key_constraints:
        is_distributed = OWNER in key.referred_table.c
        if is_distributed and OWNER not in key.column_keys:
            yield f"foreign {named(key.column_keys)}"
        elif (key.ondelete or "").startswith("SET") and OWNER in key.column_keys:
            yield f"{(key.ondelete or '').lower().split()[1]} of `{key.column_keys[0]}`"


def named(columns: Sequence[str]) -> str:
    return f"`({', '.join(columns)})`"


def rows(text: str) -> dict[str, tuple[str, str]]:
    """Of each table: how it is placed, and its keys without the owner."""
    part = text.partition("<!-- shards -->")[2].partition("\n\nWhat else")[0]
    found = re.findall(r"^\| `(\w+)` \| ([^|]+) \| ([^|]*) \| [^|]+ \|$", part, re.MULTILINE)
    return {name: (place, lacks.strip()) for name, place, lacks in found}


def test_page_names_the_keys_without_owner() -> None:
    on_page = {name: lacks for name, (_, lacks) in rows(PAGE.read_text(encoding="utf-8")).items()}
    assert on_page == {each.name: "; ".join(lacking(each)) for each in metadata.sorted_tables}


def test_tables_with_owner_are_those_the_page_distributes() -> None:
    places = rows(PAGE.read_text(encoding="utf-8")).items()
    distributed = {name for name, (place, _) in places if place == "`owner_id`"}
    assert distributed == {each.name for each in metadata.sorted_tables if OWNER in each.c}


def test_keys_without_owner_are_found() -> None:
    planted = MetaData()
    own = [Column(name, Integer) for name in ("id", OWNER, "shelf_id", "code")]
    shelves = Table("shelves", planted, Column("id", Integer, primary_key=True), Column(OWNER))
    pair = ForeignKeyConstraint(
        ["shelf_id", OWNER], ["shelves.id", "shelves.owner_id"], ondelete="SET NULL (shelf_id)"
    )
    alone = ForeignKeyConstraint(["shelf_id"], ["shelves.id"])
    books = Table("books", planted, *own, pair, alone, UniqueConstraint("code", name="uq_code"))
    assert lacking(shelves) == ["`owner_id` may be null", "primary `(id)`"]
    assert lacking(books)[2:] == [
        "unique `(code)`",
        "foreign `(shelf_id)`",
        "null of `shelf_id`",
    ]
