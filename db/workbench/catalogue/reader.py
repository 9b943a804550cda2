"""`CatalogueReader`, which lists and finds the objects of a user's database."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Annotated, Any, TypeVar
from uuid import UUID

from msgspec import Meta, convert

from db.errors import TooLarge
from db.kit.base import OwnerId
from db.kit.lists.paging import Page, SortOrder, Window, decode_cursor, make_page
from db.workbench.catalogue.definitions import DefinedKind, definitions
from db.workbench.catalogue.fetching import Fetch, read_catalogue
from db.workbench.catalogue.objects import CatalogueRow, ObjectFact, ObjectKind, Oid
from db.workbench.catalogue.read_only_risks import READ_ONLY_RISKS, ReadOnlyRisk, parse_risks
from db.workbench.connections.workbench import Workbench

TIMEOUT_S = 5.0
MAX_COLUMNS = 50_000
"""Columns, indexes, constraints ... of all tables whose lists are read at once."""
DATABASE = UUID(int=0)
"""The parent of schemas and extensions."""

T = TypeVar("T")
V = TypeVar("V")

_COUNTS = list[tuple[Oid, Annotated[int, Meta(ge=0, le=2**31 - 1)]]]
_BY_NAME = SortOrder("name", descending=False)
_MAX_BIGINT = 2**63 - 1


class CatalogueReader:
    """Reads the catalogues of one owner's databases, each method with one statement.

    Each call borrows a connection of the workbench, which opens it if necessary, and raises what
    the workbench raises if that fails. The database always answers: nothing is cached here.
    """

    def __init__(self, workbench: Workbench, owner: OwnerId) -> None:
        self._workbench = workbench
        self._owner = owner

    async def pages(
        self, connection_id: UUID, kind: ObjectKind[Any], parents: Sequence[UUID], window: Window
    ) -> Mapping[UUID, Page[Any]]:
        """Returns the page at `window` of each parent.

        One row more than requested is selected for each, which shows if more follow.
        """
        bounds = [*_bound(window.after, "after"), *_bound(window.before, "before")]
        rows = await self._fetch(
            connection_id,
            kind.page(backward=window.backward),
            [_oids(parents), *bounds, window.size + 1],
            lambda found: _by_parent(parents, kind.to_rows(connection_id, found, is_page=True)),
        )
        return {parent: make_page(rows[parent], window, _BY_NAME) for parent in parents}

    async def count(
        self, connection_id: UUID, kind: ObjectKind[Any], parents: Sequence[UUID]
    ) -> Mapping[UUID, int]:
        counts = await self._fetch(
            connection_id, kind.count, [_oids(parents)], lambda found: dict(convert(found, _COUNTS))
        )
        return {parent: counts.get(parent.int, 0) for parent in parents}

    async def lists(
        self, connection_id: UUID, kind: ObjectKind[Any], parents: Sequence[UUID]
    ) -> Mapping[UUID, list[CatalogueRow]]:
        """Returns all objects of each parent.

        Raises:
            TooLarge: They are more than `MAX_COLUMNS` together.
        """

        def parse(found: Sequence[Any]) -> dict[UUID, list[CatalogueRow]]:
            if len(found) > MAX_COLUMNS:
                raise TooLarge(
                    f"The requested tables have more than {MAX_COLUMNS} {kind.noun} together.",
                    hint=f"Request the {kind.noun} of fewer tables at once.",
                )
            return _by_parent(parents, kind.to_rows(connection_id, found))

        values = [_oids(parents), MAX_COLUMNS + 1]
        return await self._fetch(connection_id, kind.lists, values, parse)

    async def named(
        self, connection_id: UUID, kind: ObjectKind[Any], keys: Sequence[tuple[str, ...]]
    ) -> Mapping[tuple[str, ...], CatalogueRow]:
        """Returns the objects that exist, by their keys."""
        wanted = [key for key in keys if not any("\0" in name for name in key)]
        if not wanted:
            return {}
        columns = [list(names) for names in zip(*wanted, strict=True)]
        return await self._fetch(
            connection_id,
            kind.by_key,
            columns,
            lambda found: {row.key: row for _, row in kind.to_rows(connection_id, found)},
        )

    async def facts(
        self, connection_id: UUID, fact: ObjectFact[V], ids: Sequence[UUID]
    ) -> Mapping[UUID, V]:
        """Returns the fact for each object that exists."""
        return await self._fetch(connection_id, fact.sql, [_oids(ids)], fact.to_values)

    async def definitions(
        self, connection_id: UUID, kind: DefinedKind, ids: Sequence[UUID]
    ) -> Mapping[UUID, str]:
        """Returns SQL that recreates each object. Some exist only with another one.

        Raises:
            TooLarge: The definitions are too long together.
        """
        async with self._workbench.lend(self._owner, connection_id) as connection:
            found = await read_catalogue(
                connection,
                lambda fetch: definitions(fetch, kind, _oids(ids)),
                TIMEOUT_S,
                in_path=False,
            )
        return {UUID(int=oid): text for oid, text in found.items()}

    async def read_only_risks(self, connection_id: UUID) -> list[ReadOnlyRisk]:
        """Returns the rights with which the role can make changes while it only reads."""
        return await self._fetch(connection_id, READ_ONLY_RISKS, [], parse_risks)

    async def _fetch(
        self,
        connection_id: UUID,
        sql: str,
        values: list[Any],
        parse: Callable[[Sequence[Any]], T],
    ) -> T:
        """Rows that `parse` refuses are an error of the database, which belongs to the user."""

        async def read(fetch: Fetch) -> T:
            return parse(await fetch(sql, values))

        async with self._workbench.lend(self._owner, connection_id) as connection:
            return await read_catalogue(connection, read, TIMEOUT_S)


def _oids(ids: Sequence[UUID]) -> list[int]:
    return [each.int for each in ids]


def _by_parent(
    parents: Sequence[UUID], found: Iterable[tuple[int, CatalogueRow]]
) -> dict[UUID, list[CatalogueRow]]:
    """Raises LookupError for a parent that was not asked for."""
    rows: dict[int, list[CatalogueRow]] = {parent.int: [] for parent in parents}
    for parent, row in found:
        rows[parent].append(row)
    return {parent: rows[parent.int] for parent in parents}


def _bound(cursor: str | None, field: str) -> tuple[str | None, int | None]:
    """Returns (name, OID) of a cursor, changed to values that PostgreSQL accepts."""
    if cursor is None:
        return None, None
    position = decode_cursor(cursor, _BY_NAME, kind=str, field=field)
    return position.key.replace("\0", ""), min(position.id.int, _MAX_BIGINT)
