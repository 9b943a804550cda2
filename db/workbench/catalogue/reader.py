"""`CatalogueReader`, which lists and finds the objects of a user's database."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from db.errors import TooLarge
from db.kit.base import OwnerId
from db.kit.paging import Page, SortOrder, Window, decode_cursor, make_page
from db.workbench.catalogue.definitions import DefinedKind, definitions
from db.workbench.catalogue.fetching import read_catalogue
from db.workbench.catalogue.objects import CatalogueRow, ObjectKind
from db.workbench.catalogue.read_only_risks import READ_ONLY_RISKS, ReadOnlyRisk, parse_risks
from db.workbench.connections.workbench import Workbench

TIMEOUT_S = 5.0
MAX_COLUMNS = 50_000
"""Columns, indexes, constraints ... of all tables whose lists are read at once."""
DATABASE = UUID(int=0)
"""The parent of schemas and extensions."""

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
        found = await self._fetch(
            connection_id,
            kind.page(backward=window.backward),
            [_oids(parents), *bounds, window.size + 1],
        )
        rows = _by_parent(connection_id, kind, parents, found)
        return {parent: make_page(rows[parent], window, _BY_NAME) for parent in parents}

    async def count(
        self, connection_id: UUID, kind: ObjectKind[Any], parents: Sequence[UUID]
    ) -> Mapping[UUID, int]:
        counts = dict(await self._fetch(connection_id, kind.count, [_oids(parents)]))
        return {parent: counts.get(parent.int, 0) for parent in parents}

    async def lists(
        self, connection_id: UUID, kind: ObjectKind[Any], parents: Sequence[UUID]
    ) -> Mapping[UUID, list[CatalogueRow]]:
        """Returns all objects of each parent.

        Raises:
            TooLarge: They are more than `MAX_COLUMNS` together.
        """
        found = await self._fetch(connection_id, kind.lists, [_oids(parents), MAX_COLUMNS + 1])
        if len(found) > MAX_COLUMNS:
            raise TooLarge(
                f"The requested tables have more than {MAX_COLUMNS} {kind.noun} together.",
                hint=f"Request the {kind.noun} of fewer tables at once.",
            )
        return _by_parent(connection_id, kind, parents, found)

    async def named(
        self, connection_id: UUID, kind: ObjectKind[Any], keys: Sequence[tuple[str, ...]]
    ) -> Mapping[tuple[str, ...], CatalogueRow]:
        """Returns the objects that exist, by their keys."""
        wanted = [key for key in keys if not any("\0" in name for name in key)]
        if not wanted:
            return {}
        columns = [list(names) for names in zip(*wanted, strict=True)]
        found = await self._fetch(connection_id, kind.by_key, columns)
        return {row.key: row for _, row in kind.to_rows(connection_id, found)}

    async def facts(
        self, connection_id: UUID, sql: str, ids: Sequence[UUID]
    ) -> Mapping[UUID, tuple[Any, ...]]:
        """Returns what a statement selects beside the OID, for each object that exists."""
        found = await self._fetch(connection_id, sql, [_oids(ids)])
        return {UUID(int=oid): tuple(values) for oid, *values in found}

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
        rows = await self._fetch(connection_id, READ_ONLY_RISKS, [])
        return parse_risks(list(rows))

    async def _fetch(self, connection_id: UUID, sql: str, values: list[Any]) -> Sequence[Any]:
        async with self._workbench.lend(self._owner, connection_id) as connection:
            return await read_catalogue(connection, lambda fetch: fetch(sql, values), TIMEOUT_S)


def _oids(ids: Sequence[UUID]) -> list[int]:
    return [each.int for each in ids]


def _by_parent(
    connection_id: UUID, kind: ObjectKind[Any], parents: Sequence[UUID], found: Sequence[Any]
) -> dict[UUID, list[CatalogueRow]]:
    rows: dict[int, list[CatalogueRow]] = {parent.int: [] for parent in parents}
    for parent, row in kind.to_rows(connection_id, found):
        rows[parent].append(row)
    return {parent: rows[parent.int] for parent in parents}


def _bound(cursor: str | None, field: str) -> tuple[str | None, int | None]:
    """Returns (name, OID) of a cursor, changed to values that PostgreSQL accepts."""
    if cursor is None:
        return None, None
    position = decode_cursor(cursor, _BY_NAME, kind=str, field=field)
    return position.key.replace("\0", ""), min(position.id.int, _MAX_BIGINT)
