"""The services of a process, opened in order and closed in reverse."""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING
from uuid import UUID

from db.audit import sweep as sweep_audit
from db.concurrency.waiting import StopTimer
from db.connections import sweep as sweep_connections
from db.database_sessions import delete_closed_sessions
from db.events import EventBus, open_events
from db.installation import SweptStore, recognize
from db.kit import idempotency
from db.kit.sweeps import Sweep, SweepFigures, sweep_in_background
from db.mail import Mail, MailServer
from db.objects.store import ObjectStore, open_objects
from db.own_database import (
    OwnDatabase,
    SharedPostgres,
    migrate,
    open_own_database,
    standby_urls,
)
from db.postgres.engine import Database
from db.postgres.own_cluster import OwnCluster
from db.postgres.route.urls import parse_url
from db.postgres.standbys import Standbys, open_standbys
from db.quotas import Quotas, file_quota
from db.replicas import Heartbeat, ReplicaProcesses
from db.replicas.joining import join_replicas
from db.runs import kept_result_bytes
from db.security.keys import Keys, load_keys
from db.settings import Settings
from db.storage import FileOperations, PostgresStorage, kept_file_bytes
from db.storage import sweep as sweep_storage
from db.system.integrity import Checks
from db.system.kept_bytes import KeptBytes
from db.users import (
    Attempts,
    Identity,
    UnscopedAccessTokens,
    UnscopedPasswordResets,
    UnscopedSessions,
    is_local_admin,
    open_identity,
)

if TYPE_CHECKING:
    from db.postgres.embedded import EmbeddedPostgres
from db.security.vault import Keychain, Vault
from db.workbench import Reach, Targets, Workbench
from db.workbench.catalogue.run_changes import RunChanges
from db.workbench.catalogue.snapshot_cache import CacheLimits, CatalogueCache
from db.workbench.changes.row_changes import open_changes
from db.workbench.completion.service import CompletionService
from db.workbench.copy.import_sources import ImportSources
from db.workbench.execution.live_status import LiveStatus
from db.workbench.execution.run_executor import RunOpeners
from db.workbench.execution.runner import Runner
from db.workbench.execution.runner_lifecycle import open_runner
from db.workbench.live.live_samples import LiveSamples
from db.workbench.result_cleanup import (
    delete_expired_runs,
    delete_orphaned_objects,
    delete_partial_results,
    delete_scripts,
)
from db.workbench.results.result_files import ResultFiles
from db.workbench.results.result_store import ResultStore
from db.workbench.results.scans.scanned_results import ResultScans
from db.workbench.scripts.lifecycle import open_scripts
from db.workbench.scripts.script_source import QueuedScripts
from db.workbench.scripts.service import ScriptsService
from db.workbench.sessions.lifecycle import open_sessions
from db.workbench.sessions.service import DatabaseSessionsService
from db.workbench.setting_limits import run_limits, session_limits, target_limits

KEPT = {"files": kept_file_bytes, "results": kept_result_bytes}
"""What users keep, and how its bytes are counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """Opened once per process and passed to every request in its context."""

    settings: Settings
    database: Database
    events: EventBus
    keys: Keys
    identity: Identity
    storage: FileOperations
    objects: ObjectStore
    vault: Vault
    workbench: Workbench
    catalogues: CatalogueCache
    completion: CompletionService
    runner: Runner
    database_sessions: DatabaseSessionsService
    scripts: ScriptsService
    results: ResultStore
    result_files: ResultFiles
    result_scans: ResultScans
    import_sources: ImportSources
    live_status: LiveStatus
    live_samples: LiveSamples
    quotas: Quotas
    heartbeat: Heartbeat | None = None
    standbys: Standbys | None = None
    embedded: "EmbeddedPostgres | None" = None
    shared: "SharedPostgres | None" = None
    checks: Checks = field(default_factory=Checks)
    sweeps: SweepFigures = field(default_factory=SweepFigures)
    kept: KeptBytes = field(default_factory=KeptBytes)
    stop_timer: StopTimer = field(default_factory=lambda: StopTimer(0))

    @property
    def findings(self) -> Sequence[str]:
        """Problems of the embedded PostgreSQL, as text."""
        if self.shared is not None:
            return self.shared.findings()
        return self.embedded.findings if self.embedded else ()


@contextlib.asynccontextmanager
async def open_services(
    settings: Settings, *, shared: SharedPostgres | None = None
) -> AsyncIterator[Services]:
    """Opens all services."""
    keys = load_keys(settings)
    async with contextlib.AsyncExitStack() as stack:
        enter = stack.enter_async_context
        own = await enter(_open_prepared(settings, shared))
        database = own.database
        events = await enter(_open_events(settings, own))
        vault = open_vault(settings, keys, database)
        workbench, catalogues = await enter(_open_workbench(settings, own, vault, events))
        objects = _open_objects(settings, database)
        heartbeat = await enter(_join_replicas(settings, database, keys, objects))
        results, sources = ResultStore(database, objects), ImportSources(database, objects)
        runner, database_sessions, scripts, stop_timer = await enter(
            _open_runs(settings, own, events, heartbeat, results, workbench, catalogues, sources)
        )
        services = Services(
            settings=settings,
            database=database,
            heartbeat=heartbeat,
            events=events,
            keys=keys,
            identity=await enter(_open_identity(settings, database, keys, events)),
            storage=PostgresStorage(database, quota=file_quota(settings)),
            objects=objects,
            vault=vault,
            workbench=workbench,
            catalogues=catalogues,
            completion=CompletionService(catalogues),
            runner=runner,
            database_sessions=database_sessions,
            scripts=scripts,
            results=results,
            result_files=ResultFiles(results),
            result_scans=ResultScans(results, objects),
            import_sources=sources,
            live_status=LiveStatus(database, events),
            live_samples=await enter(LiveSamples.opened(database, events, workbench)),
            quotas=Quotas(settings),
            standbys=await enter(_open_standbys(settings, database, keys)),
            embedded=own.embedded,
            shared=shared,
            stop_timer=stop_timer,
        )
        await enter(_background_work(services))
        yield services


def _open_objects(settings: Settings, database: Database) -> ObjectStore:
    objects = open_objects(settings.objects_url, data_dir=settings.data_dir)
    objects.may_delete = SweptStore(database, objects).may_delete
    return objects


@contextlib.asynccontextmanager
async def _open_runs(
    settings: Settings,
    own: OwnDatabase,
    events: EventBus,
    heartbeat: Heartbeat,
    results: ResultStore,
    workbench: Workbench,
    catalogues: CatalogueCache,
    sources: ImportSources,
) -> AsyncIterator[tuple[Runner, DatabaseSessionsService, ScriptsService, StopTimer]]:
    """Opens what executes statements: runs by themselves, runs in sessions, and scripts."""
    database, limits = own.database, run_limits(settings)
    stop_timer = StopTimer(settings.stop_seconds)
    async with (
        open_runner(
            database,
            events,
            results,
            workbench,
            heartbeat,
            openers=RunOpeners(sources.open, open_changes),
            limits=limits,
            grace=stop_timer.left_s,
            after_run=RunChanges(catalogues.mark_changed).after_run,
        ) as runner,
        open_sessions(
            database,
            events,
            workbench,
            runner,
            limits=session_limits(settings),
            grace=stop_timer.left_s,
            sources=[QueuedScripts(database, events, limits)],
        ) as database_sessions,
        open_scripts(database, events, runner, database_sessions) as scripts,
    ):
        yield runner, database_sessions, scripts, stop_timer


@contextlib.asynccontextmanager
async def _background_work(services: Services) -> AsyncIterator[None]:
    """Sweeps, and counts what users keep."""
    in_charge = services.runner.heartbeat.is_oldest
    async with (
        sweep_in_background(sweeps_of(services), services.sweeps, is_in_charge=in_charge),
        services.kept.counting(services.database, KEPT, is_in_charge=in_charge),
    ):
        yield


def sweeps_of(services: Services) -> dict[str, Sweep]:
    """The background sweeps by name."""
    database, write = services.database, services.database.write
    limits, store = run_limits(services.settings), SweptStore(database, services.objects)

    async def sweep_files() -> int:
        return sum(await sweep_storage(services, owns_objects=await store.is_ours()))

    async def in_own_store(sweep: Sweep) -> int:
        return await sweep() if await store.is_ours() else 0

    return {
        "audit events": lambda: database.transaction(
            lambda session: sweep_audit(session, days=services.settings.audit_days)
        ),
        "idempotency keys": lambda: write(idempotency.sweep),
        "sessions": lambda: write(lambda session: UnscopedSessions(session).sweep()),
        "access tokens": lambda: write(lambda session: UnscopedAccessTokens(session).sweep()),
        "password resets": lambda: write(lambda session: UnscopedPasswordResets(session).sweep()),
        "attempts": lambda: write(lambda session: Attempts(session).sweep()),
        "open connections": lambda: write(sweep_connections),
        "files": sweep_files,
        "runs": lambda: delete_expired_runs(database, services.runner, limits),
        "database sessions": lambda: write(
            lambda session: delete_closed_sessions(session, keep=limits.retention)
        ),
        "scripts": lambda: delete_scripts(database, limits),
        "partial results": lambda: in_own_store(
            lambda: delete_partial_results(database, services.results)
        ),
        "replicas": lambda: write(lambda session: ReplicaProcesses(session).sweep()),
        "results": lambda: in_own_store(
            lambda: delete_orphaned_objects(database, services.objects)
        ),
    }


@contextlib.asynccontextmanager
async def _open_prepared(
    settings: Settings, shared: SharedPostgres | None
) -> AsyncIterator[OwnDatabase]:
    """Migrates, and recognizes a copy before anything acts on its runs."""
    async with open_own_database(settings, shared) as own:
        await migrate(own)
        await _identify(settings, own.database)
        yield own


def _join_replicas(
    settings: Settings, database: Database, keys: Keys, objects: ObjectStore
) -> contextlib.AbstractAsyncContextManager[Heartbeat]:
    identify = partial(_identify, settings, database)
    return join_replicas(settings, database, keys, objects, identify=identify)


async def _identify(settings: Settings, database: Database) -> UUID:
    """The installation of the database; a copy becomes one of its own."""
    return (await recognize(database, keep=run_limits(settings).retention)).id


def _open_standbys(
    settings: Settings, database: Database, keys: Keys
) -> contextlib.AbstractAsyncContextManager[Standbys | None]:
    urls, size = standby_urls(settings), settings.database_pool_size
    return open_standbys(urls, database, pool_size=size, key=keys.secret.derive("positions"))


@contextlib.asynccontextmanager
async def _open_events(settings: Settings, own: OwnDatabase) -> AsyncIterator[EventBus]:
    bus = await open_events(settings.events_url or own.direct_url)
    try:
        yield bus
    finally:
        await bus.close()


def _open_identity(
    settings: Settings, database: Database, keys: Keys, events: EventBus
) -> contextlib.AbstractAsyncContextManager[Identity]:
    mail = None
    if settings.smtp_url is not None:
        mail = Mail(MailServer.parse(settings.smtp_url), settings.mail_from or "")
    return open_identity(settings, database, keys.secret, events=events, mail=mail)


def open_vault(settings: Settings, keys: Keys, database: Database) -> Vault:
    return Vault(
        keys.credentials,
        find_keychain=Keychain.find if settings.single_user else None,
        lends_keychain_to=_local_admin_only(settings, database),
    )


@contextlib.asynccontextmanager
async def _open_workbench(
    settings: Settings, own: OwnDatabase, vault: Vault, events: EventBus
) -> AsyncIterator[tuple[Workbench, CatalogueCache]]:
    """Opens what connects to users' databases, and the copies of their catalogues."""
    limits = CacheLimits(settings.catalogue_seconds, settings.catalogue_bytes)
    async with (
        Workbench.opened(
            own.database,
            vault,
            _targets(settings, own),
            target_limits(settings),
            _local_admin_only(settings, own.database),
            events,
        ) as workbench,
        CatalogueCache.opened(own.database, workbench, events, limits) as catalogues,
    ):
        yield workbench, catalogues


def _local_admin_only(
    settings: Settings, database: Database
) -> Callable[[UUID], Awaitable[bool]] | None:
    """Accepts the local admin of a single-user server, who owns what its account can use.

    The SSH agent and the keychain are theirs, also if others have accounts on their server.
    """
    return partial(is_local_admin, database) if settings.single_user else None


def _targets(settings: Settings, own: OwnDatabase) -> Targets:
    """The hosts that users may connect to, without Howdah's own database."""
    urls = (settings.database_url, settings.direct_database_url, own.direct_url)
    places = [*(parse_url(url) for url in urls if url), *standby_urls(settings)]
    return Targets(
        Reach.parse(
            settings.targets, private_by_default=settings.development and settings.on_loopback
        ),
        own={
            # A UNIX socket belongs to a server of this machine.
            ("localhost" if host.startswith(("/", "@")) else host, port)
            for place in places
            for host, port in place.hosts
        },
        own_cluster=OwnCluster(own.database),
    )
