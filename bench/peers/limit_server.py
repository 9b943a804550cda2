"""The limit: the most that one Python process can answer with these rows and libraries.

A bare ASGI function under uvicorn: it knows the operations beforehand, verifies no token, and
encodes asyncpg's records directly as JSON.
"""

import asyncio
import gc
import itertools
import os
import socket
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeAlias
from uuid import UUID

import asyncpg
import msgspec
import uvicorn
import uvloop
from starlette.types import Receive, Scope, Send

from db.kit.base import new_id

CONNECTIONS = 32

TASK = "id, title, description, completed, created_at, updated_at"
ONE = f"SELECT {TASK} FROM tasks WHERE owner_id = $1 AND id = $2"
PAGE = f"SELECT {TASK} FROM tasks WHERE owner_id = $1 ORDER BY created_at DESC, id DESC LIMIT $2"
BUCKETS = """
SELECT page.bucket_id, page.name, files.id, location, size, content_type, files.created_at
FROM (
    SELECT id AS bucket_id, name, created_at AS made_at FROM buckets WHERE owner_id = $1
    ORDER BY created_at DESC, id DESC LIMIT $2
) AS page, LATERAL (
    SELECT id, location, size, content_type, created_at FROM files
    WHERE files.bucket_id = page.bucket_id AND files.owner_id = $1
    ORDER BY location, id LIMIT $3
) AS files
ORDER BY page.made_at DESC, page.bucket_id DESC, location
"""
CREATE = f"INSERT INTO tasks (id, owner_id, title) VALUES ($1, $2, $3) RETURNING {TASK}"
TOGGLE = f"""
UPDATE tasks SET completed = NOT completed, updated_at = now(), version = version + 1,
    completed_at = CASE WHEN completed THEN NULL ELSE now() END
WHERE owner_id = $1 AND id = $2 RETURNING {TASK}
"""

Variables: TypeAlias = dict[str, Any]
Answer: TypeAlias = Callable[[Variables], Awaitable[object]]

free: asyncio.Queue[Any] = asyncio.Queue()
"""Connections that no request uses."""
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


def as_task(record: Sequence[Any]) -> dict[str, Any]:
    id_, title, description, completed, created_at, updated_at = record
    return {
        "id": f"task_{id_.hex}",
        "title": title,
        "description": description,
        "completed": completed,
        "createdAt": created_at,
        "updatedAt": updated_at,
    }


def as_file(record: Sequence[Any]) -> dict[str, Any]:
    _, _, id_, location, size, content_type, created_at = record
    return {
        "id": f"file_{id_.hex}",
        "location": location,
        "size": str(size),
        "contentType": content_type,
        "createdAt": created_at,
    }


def as_bucket(records: list[Sequence[Any]]) -> dict[str, Any]:
    bucket_id, name, *_ = records[0]
    return {
        "id": f"bucket_{bucket_id.hex}",
        "name": name,
        "files": {"nodes": [as_file(record) for record in records]},
    }


async def fetch(sql: str, *arguments: Any) -> Any:
    connection = await free.get()
    try:
        return await connection.fetch(sql, *arguments)
    finally:
        free.put_nowait(connection)


async def task(asked: Variables) -> object:
    (found,) = await fetch(ONE, owner(asked), task_id(asked))
    return {"task": as_task(found)}


async def tasks(asked: Variables) -> object:
    found = await fetch(PAGE, owner(asked), asked["first"])
    return {"tasks": {"nodes": [as_task(record) for record in found]}}


async def buckets(asked: Variables) -> object:
    found = await fetch(BUCKETS, owner(asked), asked["buckets"], asked["files"])
    each = itertools.groupby(found, key=lambda record: record[0])
    return {"buckets": {"nodes": [as_bucket(list(records)) for _, records in each]}}


async def create(asked: Variables) -> object:
    (made,) = await fetch(CREATE, new_id(), owner(asked), asked["title"])
    return {"createTask": {"task": as_task(made)}}


async def toggle(asked: Variables) -> object:
    (turned,) = await fetch(TOGGLE, owner(asked), task_id(asked))
    return {"toggleTask": {"task": as_task(turned)}}


def owner(asked: Variables) -> UUID:
    return UUID(asked["owner"])


def task_id(asked: Variables) -> UUID:
    return UUID(asked["id"].removeprefix("task_"))


ANSWERS: dict[str, Answer] = {
    "/task": task,
    "/tasks": tasks,
    "/buckets": buckets,
    "/create": create,
    "/toggle": toggle,
}


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    asked = _decode((await receive())["body"])
    data = await ANSWERS[scope["path"]](asked)
    payload = _encode({"data": data})
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(payload))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": payload})


async def main() -> None:
    for _ in range(CONNECTIONS):
        free.put_nowait(await asyncpg.connect(os.environ["DATABASE_URL"]))
    config = uvicorn.Config(app, lifespan="off", access_log=False, log_level="warning")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        print(f"http://127.0.0.1:{listener.getsockname()[1]}/graphql", flush=True)
        gc.collect()
        gc.freeze()
        gc.set_threshold(50_000, 5, 10)
        await uvicorn.Server(config).serve(sockets=[listener])


if __name__ == "__main__":
    uvloop.run(main())
