"""Uploads and downloads over HTTP on the in-memory twin, without a database."""

import contextlib
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import httpx
import pytest

from db.errors import Unavailable
from db.events import EventBus
from db.kit.base import OwnerId, new_id
from db.objects.store import open_objects
from db.postgres.engine import Database
from db.quotas import Quotas
from db.security.keys import load_keys
from db.security.vault import Vault
from db.services import Services
from db.settings import Settings
from db.storage import UPLOAD_WITHIN, FileRow, NewFile, StorageOperations
from db.storage.memory import MemoryStorage
from db.users import Identity
from db.workbench import Workbench
from db.workbench.catalogue.snapshot_cache import CatalogueCache
from db.workbench.completion.service import CompletionService
from db.workbench.copy.import_sources import ImportSources
from db.workbench.execution.live_status import LiveStatus
from db.workbench.execution.runner import Runner
from db.workbench.live.live_samples import LiveSamples
from db.workbench.results.result_files import ResultFiles
from db.workbench.results.result_store import ResultStore
from db.workbench.results.scans.scanned_results import ResultScans
from db.workbench.scripts.service import ScriptsService
from db.workbench.sessions.service import DatabaseSessionsService
from graph.app import build_app
from graph.auth import authenticate
from graph.kit.signed_links import Links
from graph.schema import schema
from graph.transport.files.file_routes import file_path
from tests.fixtures.toy import calling

DATA = b"Hay: 150 kg a day"


class Unused:
    """Takes the place of a service that must not be used."""

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"a service was used: {name}")


class AuditOnly(Unused):
    """A database for the event of a download, which is dropped."""

    async def write(self, work: object) -> None:
        del work


class FailingStorage(MemoryStorage):
    """The twin, with a database that does not respond when an upload ends."""

    async def finish_upload(self, *_: Any, **__: Any) -> FileRow:
        raise Unavailable("The database does not respond.", hint="Try again.")


def services_on(storage: StorageOperations, folder: Path) -> Services:
    settings = Settings(env="development", data_dir=folder)
    unused = Unused()
    return Services(
        settings=settings,
        database=cast("Database", AuditOnly()),
        events=cast("EventBus", unused),
        keys=load_keys(settings),
        identity=cast("Identity", unused),
        storage=storage,
        objects=open_objects(None, data_dir=folder),
        vault=cast("Vault", unused),
        workbench=cast("Workbench", unused),
        catalogues=cast("CatalogueCache", unused),
        completion=cast("CompletionService", unused),
        runner=cast("Runner", unused),
        database_sessions=cast("DatabaseSessionsService", unused),
        scripts=cast("ScriptsService", unused),
        results=cast("ResultStore", unused),
        result_files=cast("ResultFiles", unused),
        result_scans=cast("ResultScans", unused),
        import_sources=cast("ImportSources", unused),
        live_status=cast("LiveStatus", unused),
        live_samples=cast("LiveSamples", unused),
        quotas=Quotas(settings),
    )


@contextlib.asynccontextmanager
async def client_of(services: Services) -> AsyncIterator[httpx.AsyncClient]:
    @contextlib.asynccontextmanager
    async def opened(_: Settings) -> AsyncIterator[Services]:
        yield services

    app = build_app(
        services.settings, schema=schema, authenticate=authenticate, open_services=opened
    )
    async with calling(app) as client:
        yield client


async def make_file(storage: StorageOperations) -> FileRow:
    owner = OwnerId(new_id())
    bucket = await storage.create_bucket(owner, "b", private=True)
    return await storage.create_file(owner, NewFile(bucket.id, "may.txt", len(DATA)))


def link(services: Services, method: str, file: FileRow) -> str:
    return Links(services.keys).sign(method, file_path(file.id), expires_in=UPLOAD_WITHIN)


async def test_upload_stores_bytes_that_a_download_returns(tmp_path: Path) -> None:
    storage = MemoryStorage()
    services = services_on(storage, tmp_path)
    file = await make_file(storage)
    async with client_of(services) as client:
        uploaded = await client.put(link(services, "PUT", file), content=DATA)
        downloaded = await client.get(link(services, "GET", file))
    assert uploaded.status_code == 201
    assert uploaded.json()["fingerprint"] == hashlib.sha256(DATA).hexdigest()
    assert downloaded.content == DATA
    (stored,) = await storage.files_by_id(file.owner_id, [file.id])
    assert stored.status == "STORED"


async def test_upload_without_a_database_is_reported_and_keeps_the_file_pending(
    tmp_path: Path,
) -> None:
    storage = FailingStorage()
    services = services_on(storage, tmp_path)
    file = await make_file(storage)
    async with client_of(services) as client:
        answer = await client.put(link(services, "PUT", file), content=DATA)
    assert answer.status_code == 503
    assert "does not respond" in answer.text
    assert await storage.known_files([file.id]) == [file]


@pytest.mark.parametrize("method", ["PUT", "GET"])
async def test_link_to_a_missing_file_is_not_found(tmp_path: Path, method: str) -> None:
    storage = MemoryStorage()
    services = services_on(storage, tmp_path)
    missing = (await make_file(storage))._replace(id=new_id())
    async with client_of(services) as client:
        answer = await client.request(method, link(services, method, missing), content=DATA)
    assert answer.status_code == 404
