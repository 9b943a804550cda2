"""The same schema the stock way: Strawberry with its DataLoader over SQLAlchemy's AsyncSession.

Entities of the ORM, one session for each batch or mutation, Strawberry's ASGI application with its
caches of parsed and validated documents. It takes the owner from the header without verifying it.
"""

import os
import socket
from collections import defaultdict
from datetime import UTC, datetime
from typing import Any, TypeAlias
from uuid import UUID

import strawberry
import uvicorn
import uvloop
from sqlalchemy import DateTime, func, select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from starlette.requests import Request
from starlette.responses import Response
from starlette.websockets import WebSocket
from strawberry.asgi import GraphQL
from strawberry.dataloader import DataLoader
from strawberry.extensions import ParserCache, ValidationCache

from bench.peers.limit_server import CONNECTIONS
from db.kit.base import new_id


class Base(DeclarativeBase):
    type_annotation_map = {datetime: DateTime(timezone=True)}  # noqa: RUF012 - as SQLAlchemy says
    __mapper_args__ = {"eager_defaults": True}  # noqa: RUF012 - as SQLAlchemy says


class TaskEntity(Base):
    __tablename__ = "tasks"
    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    owner_id: Mapped[UUID]
    title: Mapped[str]
    description: Mapped[str | None]
    completed: Mapped[bool] = mapped_column(server_default="false")
    completed_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now(), onupdate=func.now())
    version: Mapped[int] = mapped_column(server_default="1")


class BucketEntity(Base):
    __tablename__ = "buckets"
    id: Mapped[UUID] = mapped_column(primary_key=True)
    owner_id: Mapped[UUID]
    name: Mapped[str]
    created_at: Mapped[datetime]


class FileEntity(Base):
    __tablename__ = "files"
    id: Mapped[UUID] = mapped_column(primary_key=True)
    owner_id: Mapped[UUID]
    bucket_id: Mapped[UUID]
    location: Mapped[str]
    size: Mapped[int]
    content_type: Mapped[str]
    created_at: Mapped[datetime]


class Context:
    """The owner of a request and its loaders."""

    def __init__(self, owner: UUID, sessions: async_sessionmaker[AsyncSession]) -> None:
        self.owner = owner
        self.sessions = sessions
        self.tasks = DataLoader(self._load_tasks)
        self.files = DataLoader(self._load_files)

    async def _load_tasks(self, ids: list[UUID]) -> list[TaskEntity | None]:
        wanted = select(TaskEntity).where(TaskEntity.owner_id == self.owner, TaskEntity.id.in_(ids))
        async with self.sessions() as session:
            found = {task.id: task for task in await session.scalars(wanted)}
        return [found.get(one) for one in ids]

    async def _load_files(self, buckets: list[UUID]) -> list[list[FileEntity]]:
        wanted = (
            select(FileEntity)
            .where(FileEntity.owner_id == self.owner, FileEntity.bucket_id.in_(buckets))
            .order_by(FileEntity.location, FileEntity.id)
        )
        found: dict[UUID, list[FileEntity]] = defaultdict(list)
        async with self.sessions() as session:
            for file in await session.scalars(wanted):
                found[file.bucket_id].append(file)
        return [found[bucket] for bucket in buckets]


Info: TypeAlias = strawberry.Info[Context, None]


@strawberry.type
class Task:
    id: strawberry.ID
    title: str
    description: str | None
    completed: bool
    created_at: datetime
    updated_at: datetime


@strawberry.type
class TaskConnection:
    nodes: list[Task]


@strawberry.type
class File:
    id: strawberry.ID
    location: str
    size: str
    content_type: str
    created_at: datetime


@strawberry.type
class FileConnection:
    nodes: list[File]


@strawberry.type
class Bucket:
    key: strawberry.Private[UUID]
    id: strawberry.ID
    name: str

    @strawberry.field
    async def files(self, info: Info, first: int) -> FileConnection:
        found = await info.context.files.load(self.key)
        return FileConnection(nodes=[to_file(file) for file in found[:first]])


@strawberry.type
class BucketConnection:
    nodes: list[Bucket]


@strawberry.input
class CreateTaskInput:
    title: str


@strawberry.input
class ToggleTaskInput:
    id: strawberry.ID


@strawberry.type
class TaskPayload:
    task: Task


def to_task(task: TaskEntity) -> Task:
    return Task(
        id=strawberry.ID(f"task_{task.id.hex}"),
        title=task.title,
        description=task.description,
        completed=task.completed,
        created_at=task.created_at,
        updated_at=task.updated_at,
    )


def to_file(file: FileEntity) -> File:
    return File(
        id=strawberry.ID(f"file_{file.id.hex}"),
        location=file.location,
        size=str(file.size),
        content_type=file.content_type,
        created_at=file.created_at,
    )


def to_uuid(id: strawberry.ID) -> UUID:
    return UUID(id.removeprefix("task_"))


@strawberry.type
class Query:
    @strawberry.field
    async def task(self, info: Info, id: strawberry.ID) -> Task | None:
        found = await info.context.tasks.load(to_uuid(id))
        return None if found is None else to_task(found)

    @strawberry.field
    async def tasks(self, info: Info, first: int) -> TaskConnection:
        page = (
            select(TaskEntity)
            .where(TaskEntity.owner_id == info.context.owner)
            .order_by(TaskEntity.created_at.desc(), TaskEntity.id.desc())
            .limit(first)
        )
        async with info.context.sessions() as session:
            return TaskConnection(nodes=[to_task(task) for task in await session.scalars(page)])

    @strawberry.field
    async def buckets(self, info: Info, first: int) -> BucketConnection:
        page = (
            select(BucketEntity)
            .where(BucketEntity.owner_id == info.context.owner)
            .order_by(BucketEntity.created_at.desc(), BucketEntity.id.desc())
            .limit(first)
        )
        async with info.context.sessions() as session:
            return BucketConnection(
                nodes=[
                    Bucket(key=one.id, id=strawberry.ID(f"bucket_{one.id.hex}"), name=one.name)
                    for one in await session.scalars(page)
                ]
            )


@strawberry.type
class Mutation:
    @strawberry.mutation
    async def create_task(self, info: Info, input: CreateTaskInput) -> TaskPayload:
        async with info.context.sessions.begin() as session:
            task = TaskEntity(owner_id=info.context.owner, title=input.title)
            session.add(task)
        return TaskPayload(task=to_task(task))

    @strawberry.mutation
    async def toggle_task(self, info: Info, input: ToggleTaskInput) -> TaskPayload:
        wanted = select(TaskEntity).where(
            TaskEntity.owner_id == info.context.owner, TaskEntity.id == to_uuid(input.id)
        )
        async with info.context.sessions.begin() as session:
            task = (await session.scalars(wanted.with_for_update())).one()
            task.completed = not task.completed
            task.completed_at = datetime.now(UTC) if task.completed else None
            task.version += 1
        return TaskPayload(task=to_task(task))


class Application(GraphQL[Context, None]):
    def __init__(self, sessions: async_sessionmaker[AsyncSession], **options: Any) -> None:
        super().__init__(**options)
        self._sessions = sessions

    async def get_context(
        self,
        request: Request | WebSocket,
        response: Response | WebSocket,  # noqa: ARG002 - named by Strawberry
    ) -> Context:
        owner = request.headers["authorization"].removeprefix("Bearer ")
        return Context(UUID(owner), self._sessions)


async def main() -> None:
    url = os.environ["DATABASE_URL"].replace("postgresql://", "postgresql+asyncpg://")
    engine = create_async_engine(url, pool_size=CONNECTIONS, max_overflow=0)
    parsed, validated = ParserCache(), ValidationCache()
    schema = strawberry.Schema(Query, Mutation, extensions=[lambda: parsed, lambda: validated])
    app = Application(async_sessionmaker(engine, expire_on_commit=False), schema=schema)
    config = uvicorn.Config(app, lifespan="off", access_log=False, log_level="warning")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        print(f"http://127.0.0.1:{listener.getsockname()[1]}/graphql", flush=True)
        await uvicorn.Server(config).serve(sockets=[listener])


if __name__ == "__main__":
    uvloop.run(main())
