"""The repository of providers."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Uuid, bindparam, func, insert, select, true
from sqlalchemy.sql import ClauseElement

from db.kit.audit import AuditKind, record
from db.kit.lists.paging import Page, PageShape, Window
from db.kit.repository import Repository, S
from db.postgres.sessions import Session
from db.postgres.statements import change_statement, statement
from db.storage import errors, rules
from db.storage.rows import NEWEST, BspRow, NewBsp
from db.storage.tables import Bsp


class Bsps(Repository[BspRow, S]):
    """All providers. They have no owner, so `is_owned` restricts nothing."""

    model = Bsp
    row = BspRow
    noun = "provider"
    conflicts = {  # noqa: RUF012 - a Mapping, never written to
        "uq_bsps_account": errors.ACCOUNT_TAKEN,
        "fk_replicas_bsp_id_bsps": errors.STILL_HAS_FILES,
    }

    @classmethod
    def is_owned(cls) -> ColumnElement[bool]:
        return true()

    async def create(self: "Bsps[Session]", new: NewBsp) -> BspRow:
        bsp = await self.add(**rules.checked_bsp(new)._asdict())
        await self._record(AuditKind.BSP_CREATED, bsp)
        return bsp

    async def set_capacity(
        self: "Bsps[Session]", bsp_id: UUID, capacity: int, *, expected_version: int | None = None
    ) -> BspRow:
        capacity = rules.checked_capacity(capacity)
        values: dict[str, Any] = {"id": bsp_id, "capacity": capacity}
        if expected_version is not None:
            values["expected_version"] = expected_version
        changed = await self.one(self._set_capacity(expected_version is not None), **values)
        if changed is not None:
            await self._record(AuditKind.BSP_UPDATED, changed)
            return changed
        present = await self.get(bsp_id)
        if present is not None and present.used_capacity > capacity:
            raise errors.capacity_in_use(present.used_capacity)
        raise await self.missing_row_error(bsp_id, field="id")

    async def set_multiaddresses(
        self: "Bsps[Session]",
        bsp_id: UUID,
        multiaddresses: Sequence[str],
        *,
        expected_version: int | None = None,
    ) -> BspRow:
        checked = rules.checked_multiaddresses(multiaddresses)
        bsp = await self.update(bsp_id, expected_version=expected_version, multiaddresses=checked)
        await self._record(AuditKind.BSP_UPDATED, bsp)
        return bsp

    async def remove(
        self: "Bsps[Session]", row_id: UUID, *, expected_version: int | None = None
    ) -> UUID:
        bsp = await self.require(row_id)
        await super().remove(row_id, expected_version=expected_version)
        await self._record(AuditKind.BSP_DELETED, bsp)
        return row_id

    async def page(self, window: Window) -> Page[BspRow]:
        return await self.fetch_page(self._page(window.shape), window, NEWEST)

    async def count(self) -> int:
        return int(await self.value(self._count()))

    async def _record(self: "Bsps[Session]", kind: AuditKind, bsp: BspRow) -> None:
        """Records the act in its transaction, so the act needs one."""
        await record(
            self.session,
            kind,
            subject_id=bsp.id,
            subject_name=bsp.account,
            details={"capacity": str(bsp.capacity), "multiaddresses": list(bsp.multiaddresses)},
        )

    @change_statement
    def _insert(cls, names: tuple[str, ...]) -> ClauseElement:
        values: dict[str, Any] = {name: bindparam(name) for name in ("id", *names)}
        return insert(cls.table()).values(values).returning(*cls.columns())

    @change_statement
    def _set_capacity(cls, versioned: bool) -> ClauseElement:  # noqa: FBT001 - a shape, passed by position
        bsp = cls.table().c
        fits = bsp.used_capacity <= bindparam("capacity", type_=bsp.capacity.type)
        change = cls.owned_update().where(bsp.id == bindparam("id"), fits)
        if versioned:
            change = change.where(bsp.version == bindparam("expected_version"))
        return change.values(cls.assignments("capacity") | cls.audit_columns()).returning(
            *cls.columns()
        )

    @statement
    def _page(cls, shape: PageShape) -> ClauseElement:
        return cls.select_page(cls.owned(), NEWEST, shape)

    @statement
    def _count(cls) -> ClauseElement:
        return cls.owned(func.count())

    @statement
    def _owner_of(cls) -> ClauseElement:
        """Returns the caller if the provider exists, so that it is never another user's."""
        return select(bindparam("owner_id", type_=Uuid())).where(
            cls.table().c.id == bindparam("id")
        )
