"""The resolvers of storage on the twin in memory: no database, and storage that fails."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest

from db.errors import HowdahError, Unavailable
from db.events import EventBus
from db.kit.base import new_id
from db.objects.store import open_objects
from db.postgres.engine import Database
from db.security.keys import load_keys
from db.security.vault import Vault
from db.services import Services
from db.settings import Settings
from db.storage import Quota, StorageOperations
from db.storage.memory import MemoryStorage
from db.users import Identity, Role
from db.workbench import Workbench
from db.workbench.execution.runner import Runner
from graph.auth import Viewer
from graph.context import Context
from graph.schema import schema

CREATE_BUCKET = 'mutation { createBucket(input: {name: "b"}) { bucket { id private } } }'
CREATE_FILE = """
mutation ($bucket: ID!, $location: String!, $size: BigInt!, $replicas: Int!) {
  createFile(input: {
    bucketId: $bucket, location: $location, size: $size, desiredReplicas: $replicas
  }) { file { id status replicas { bsp { account } } } uploadUrl }
}
"""


class Nothing:
    """Stands where nothing may be asked for anything."""

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"asked for {name}")


class Desk:
    """One person at a server without a database."""

    def __init__(self, services: Services, role: Role = Role.ADMIN) -> None:
        self.services = services
        expires_at = datetime.now(UTC) + timedelta(hours=1)
        self.viewer = Viewer(id=new_id(), role=role, expires_at=expires_at)

    async def ask(self, document: str, **variables: Any) -> Any:
        context = Context(services=self.services, viewer=self.viewer, request_id="1")
        result = await schema.execute(document, variables, context_value=context)
        for error in result.errors or []:
            raise error.original_error or error
        return result.data

    async def bucket(self) -> str:
        return str((await self.ask(CREATE_BUCKET))["createBucket"]["bucket"]["id"])

    async def file(
        self, bucket: str, location: str = "a", size: int = 1, replicas: int = 0
    ) -> dict[str, Any]:
        values = {"location": location, "size": str(size), "replicas": replicas}
        made: dict[str, Any] = await self.ask(CREATE_FILE, bucket=bucket, **values)
        return cast("dict[str, Any]", made["createFile"])


def services_on(storage: StorageOperations, folder: Path) -> Services:
    settings = Settings(env="development", data_dir=folder)
    nothing = Nothing()
    return Services(
        settings=settings,
        database=cast("Database", nothing),
        events=cast("EventBus", nothing),
        keys=load_keys(settings),
        identity=cast("Identity", nothing),
        storage=storage,
        objects=open_objects(None, data_dir=folder),
        vault=cast("Vault", nothing),
        workbench=cast("Workbench", nothing),
        runner=cast("Runner", nothing),
    )


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(services_on(MemoryStorage(quota=Quota(bytes=1_000)), tmp_path))


async def test_what_is_made_is_found(desk: Desk) -> None:
    await desk.ask(
        'mutation { createBsp(input: {account: "acme", capacity: "50", '
        'multiaddresses: ["/ip4/203.0.113.7/tcp/1"]}) { bsp { id } } }'
    )
    bucket = await desk.bucket()
    made = await desk.file(bucket, "docs/a", size=20, replicas=1)
    assert made["file"]["replicas"] == [{"bsp": {"account": "acme"}}]
    assert made["uploadUrl"].startswith("/files/")
    found = await desk.ask(
        """query($id: ID!) {
          node(id: $id) { ... on Bucket { name private files(first: 1, under: "docs") {
            totalCount nodes { location size bucket { totalSize } }
          } } }
          bsps(first: 1) { nodes { usedCapacity files(last: 1) { totalCount } } }
          files(first: 1) { totalCount }
        }""",
        id=bucket,
    )
    file = {"location": "docs/a", "size": "20", "bucket": {"totalSize": "20"}}
    assert found == {
        "node": {"name": "b", "private": True, "files": {"totalCount": 1, "nodes": [file]}},
        "bsps": {"nodes": [{"usedCapacity": "20", "files": {"totalCount": 1}}]},
        "files": {"totalCount": 1},
    }


async def test_a_quota_is_checked_before_there_is_a_link(desk: Desk) -> None:
    bucket = await desk.bucket()
    with pytest.raises(HowdahError) as caught:
        await desk.file(bucket, size=1_001)
    assert caught.value.code == "TOO_LARGE"


async def test_without_objects_a_file_is_deleted_all_the_same(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    bucket = await desk.bucket()
    made = await desk.file(bucket)
    (desk.services.settings.data_dir / "objects").rmdir()
    (desk.services.settings.data_dir / "objects").write_text("a file where a folder was")
    delete = "mutation($id: ID!) { deleteFile(input: {id: $id}) { deletedFileId } }"
    assert await desk.ask(delete, id=made["file"]["id"])
    counted = await desk.ask("query($id: ID!) { bucket(id: $id) { fileCount } }", id=bucket)
    assert counted == {"bucket": {"fileCount": 0}}


async def test_storage_that_fails_is_told_as_it_is(tmp_path: Path) -> None:
    class Failing(MemoryStorage):
        async def create_bucket(self, *_: Any, **__: Any) -> Any:
            raise Unavailable("The database does not answer.", hint="Try again.")

    with pytest.raises(Unavailable, match="does not answer"):
        await Desk(services_on(Failing(), tmp_path)).bucket()
