"""Tasks: the table, its rows, and the repository of one owner."""

from collections.abc import AsyncIterator, Awaitable, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import (
    Computed,
    ForeignKey,
    Index,
    Select,
    Text,
    bindparam,
    case,
    func,
    not_,
    null,
    select,
    tuple_,
)
from sqlalchemy.sql import ClauseElement

from db.errors import BadInput
from db.kit.base import (
    Base,
    HasId,
    HasOwner,
    HasTimes,
    HasVersion,
    Mapped,
    TimestampText,
    mapped_column,
)
from db.kit.lists.paging import Page, PageShape, SortOrder, Window
from db.kit.repository import Repository, S
from db.kit.text_rules import Optional, Required, contains_pattern
from db.postgres.sessions import Session
from db.postgres.statements import change_statement, statement

title_rule = Required("title", max_length=200)
description_rule = Optional("description", max_length=1_000)
search_rule = Required("search", max_length=200)


class Task(HasId, HasOwner, HasTimes, HasVersion, Base):
    """Each sort order of lists has an index, with and without `completed`."""

    __tablename__ = "tasks"

    owner_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    title: Mapped[str] = mapped_column(Text)
    description: Mapped[str | None] = mapped_column(Text)
    completed: Mapped[bool] = mapped_column(server_default="false")
    completed_at: Mapped[TimestampText | None]
    imported_as: Mapped[bytes | None]
    sort_title: Mapped[str] = mapped_column(Text, Computed("lower(title)", persisted=True))
    search_text: Mapped[str] = mapped_column(
        Text,
        Computed("lower((title || chr(10)) || COALESCE(description, ''::text))", persisted=True),
    )

    __table_args__ = (
        *(
            Index(f"ix_tasks_{name}", "owner_id", *columns, "id")
            for name, columns in {
                "created": ["created_at"],
                "updated": ["updated_at"],
                "title": ["sort_title"],
                "completed_created": ["completed", "created_at"],
                "completed_updated": ["completed", "updated_at"],
                "completed_title": ["completed", "sort_title"],
            }.items()
        ),
        Index(
            "ix_tasks_search",
            "owner_id",
            "search_text",
            postgresql_using="gin",
            postgresql_ops={"search_text": "gin_trgm_ops"},
        ),
        Index("uq_tasks_imported_as", "owner_id", "imported_as", unique=True),
    )


class TaskRow(NamedTuple):
    """A task without its owner."""

    id: UUID
    title: str
    description: str | None
    completed: bool
    created_at: TimestampText
    updated_at: TimestampText
    completed_at: TimestampText | None
    version: int


class TaskStatsRow(NamedTuple):
    total: int
    completed: int
    open: int


class TaskFilter(NamedTuple):
    """Conditions of a list of tasks; None means no condition."""

    completed: bool | None = None
    search: str | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None

    @property
    def values(self) -> dict[str, Any]:
        """The conditions that are set. Their names determine the statement."""
        present = {name: value for name, value in self._asdict().items() if value is not None}
        if self.search is not None:
            present["search"] = contains_pattern(search_rule.checked(self.search).lower())
        return present


class Tasks(Repository[TaskRow, S]):
    """The tasks of one owner."""

    model = Task
    row = TaskRow
    noun = "task"

    def create(
        self: "Tasks[Session]", *, title: str, description: str | None = None
    ) -> Awaitable[TaskRow]:
        return self.add(
            title=title_rule.checked(title), description=description_rule.checked(description)
        )

    async def change(
        self: "Tasks[Session]",
        task_id: UUID,
        *,
        expected_version: int | None = None,
        **changes: Any,
    ) -> TaskRow:
        """Sets the fields in `changes`: title, description and completed. Others stay."""
        for rule in (title_rule, description_rule):
            if rule.field in changes:
                changes[rule.field] = rule.checked(changes[rule.field])
        if changes.get("completed", False) is None:
            raise BadInput(
                "`completed` is null.",
                hint="Pass true or false, or omit it.",
                field="completed",
            )
        return await self.update(task_id, expected_version=expected_version, **changes)

    def toggle(
        self: "Tasks[Session]", task_id: UUID, *, expected_version: int | None = None
    ) -> Awaitable[TaskRow]:
        values: dict[str, Any] = {"id": task_id}
        if expected_version is not None:
            values["expected_version"] = expected_version
        return self.one_or_raise(task_id, self._toggle(len(values) > 1), **values)

    async def remove_completed(self: "Tasks[Session]") -> Sequence[UUID]:
        return [found[0] for found in await self.run(self._remove_completed())]

    async def page(self, window: Window, filters: TaskFilter, order: SortOrder) -> Page[TaskRow]:
        values = filters.values
        return await self.fetch_page(
            self._page(tuple(values), order, window.shape), window, order, **values
        )

    async def count(self, filters: TaskFilter) -> int:
        values = filters.values
        return int(await self.value(self._count(tuple(values)), **values))

    async def stats(self) -> TaskStatsRow:
        total, completed = (await self.run(self._stats()))[0]
        return TaskStatsRow(total, completed, total - completed)

    async def now(self) -> datetime:
        """The time of PostgreSQL's clock, which sets `updated_at`."""
        now: datetime = await self.value(self._now())
        return now

    async def changed_since(self, moment: datetime) -> AsyncIterator[Sequence[TaskRow]]:
        """Yields the tasks updated at `moment` or later in batches, the oldest change first."""
        last = UUID(int=0)
        while rows := await self.all(self._changed_since(), moment=moment, last=last):
            yield rows
            moment, last = datetime.fromisoformat(rows[-1].updated_at), rows[-1].id

    @classmethod
    def assignments(cls, name: str) -> dict[str, Any]:
        """`completed` also sets `completed_at`, which stays if the task was already completed."""
        values = super().assignments(name)
        if name == "completed":
            task, now_completed = cls.table().c, values[name]
            values["completed_at"] = case(
                (not_(now_completed), null()), (task.completed, task.completed_at), else_=func.now()
            )
        return values

    @change_statement
    def _toggle(cls, versioned: bool) -> ClauseElement:  # noqa: FBT001 - a shape, passed by position
        task = cls.table().c
        change = cls.owned_update().where(task.id == bindparam("id"))
        if versioned:
            change = change.where(task.version == bindparam("expected_version"))
        toggled = {
            "completed": not_(task.completed),
            "completed_at": case((task.completed, null()), else_=func.now()),
        }
        return change.values(toggled | cls.audit_columns()).returning(*cls.columns())

    @change_statement
    def _remove_completed(cls) -> ClauseElement:
        task = cls.table().c
        return cls.owned_delete().where(task.completed).returning(task.id)

    @statement
    def _page(cls, filters: tuple[str, ...], order: SortOrder, shape: PageShape) -> ClauseElement:
        return cls.select_page(cls._filtered(cls.owned(), filters), order, shape)

    @statement
    def _count(cls, filters: tuple[str, ...]) -> ClauseElement:
        return cls._filtered(cls.owned(func.count()), filters)

    @statement
    def _stats(cls) -> ClauseElement:
        done = func.count().filter(cls.table().c.completed)
        return cls.owned(func.count(), done)

    @statement
    def _now(cls) -> ClauseElement:
        return select(func.clock_timestamp())

    @statement
    def _changed_since(cls) -> ClauseElement:
        task = cls.table().c
        start = tuple_(
            bindparam("moment", type_=task.updated_at.type), bindparam("last", type_=task.id.type)
        )
        newer = cls.owned().where(tuple_(task.updated_at, task.id) > start)
        return newer.order_by(task.updated_at, task.id).limit(1_000)

    @classmethod
    def _filtered(cls, query: Select[Any], filters: tuple[str, ...]) -> Select[Any]:
        task = cls.table().c
        conditions = {
            "completed": task.completed == bindparam("completed"),
            "search": task.search_text.like(bindparam("search"), escape="\\"),
            "created_after": task.created_at > bindparam("created_after"),
            "created_before": task.created_at < bindparam("created_before"),
        }
        return query.where(*(conditions[name] for name in filters))
