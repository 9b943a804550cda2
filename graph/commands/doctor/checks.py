"""All checks, in the order in which they are printed."""

import asyncio
import os
import shutil
import stat
from collections.abc import AsyncIterator, Iterator
from urllib.parse import urlsplit

import click

from db.errors import HowdahError, Unavailable
from db.events import open_events
from db.objects.store import open_objects
from db.own_database import OwnDatabase, open_own_database, split_urls
from db.postgres.embedded import use_running_server
from db.replicas.fingerprints import find_differences, is_fatal, take_fingerprints
from db.security.keys import load_keys
from db.security.vault import Keychain
from db.settings import PREFIX, Settings, load_settings, sources, unknown_variables
from db.system.health import probe_database
from db.workbench import Reach
from db.workbench.results.formats import ResultFormat, require_format
from graph.commands.doctor.findings import CheckState, Finding, broken
from graph.commands.doctor.own_database import check_database, check_pooler, check_standbys

SECRETS = {"secret_key", "credential_key", "jwt_secret", "metrics_token"}
MIN_FREE_BYTES = 500_000_000
OBJECTS_S = 10.0
OBJECTS_HINT = "Check HOWDAH_OBJECTS_URL, the credentials of the provider, and the network."


def run_checks(**chosen: object) -> bool:
    """Print the findings and return whether nothing is broken.

    `chosen` are the settings of the command line.
    """
    chosen = {name: value for name, value in chosen.items() if value is not None}
    try:
        settings = load_settings(None, **chosen)
    except HowdahError as error:
        findings = [broken("settings", error)]
    else:
        _print_settings(settings, sources() | dict.fromkeys(chosen, "command line"))
        findings = asyncio.run(_check(settings))
    for state, subject, message, hint in findings:
        click.echo(f"{state.value:10} {subject:12} {message}")
        if hint:
            click.echo(f"{'':23} {hint}")
    return all(finding.state is not CheckState.BROKEN for finding in findings)


def _print_settings(settings: Settings, sources: dict[str, str]) -> None:
    names = Settings.__struct_fields__
    width = len(PREFIX) + max(map(len, names))
    for name in names:
        variable, value = PREFIX + name.upper(), _display(name, getattr(settings, name))
        click.echo(f"{variable:{width}} {value:40} {sources.get(name, 'default')}")
    click.echo()


def _display(name: str, value: object) -> str:
    """A secret is hidden, and so is a URL in which a password cannot be told from the rest.

    Other URLs are shown without user, password and parameters.
    """
    if value in {None, ""}:
        return "-"
    if name in SECRETS:
        return "(set)"
    if name.endswith("_urls"):
        return ", ".join(map(_display_url, split_urls(str(value))))
    return _display_url(str(value)) if name.endswith("_url") else str(value)


def _display_url(url: str) -> str:
    """An `@` behind the host may belong to a password that contains `/`, `?` or `#`."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "(set)"
    if not parts.scheme or "@" in f"{parts.path}{parts.query}{parts.fragment}":
        return "(set)"
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


async def _check(settings: Settings) -> list[Finding]:
    findings = [*_settings(settings), _folder(settings), _keys(settings)]
    findings += [await _keychain(settings), _parquet(), *_documents(settings)]
    findings.append(await _objects(settings))
    findings += [finding async for finding in _database(settings)]
    return findings


def _settings(settings: Settings) -> Iterator[Finding]:
    kind = "development" if settings.development else "production"
    yield Finding(CheckState.OK, "settings", f"The settings are those of a {kind} server.")
    if not settings.development and not (settings.public_url or settings.trusted_proxies):
        yield Finding(
            CheckState.ATTENTION,
            "settings",
            "Links to uploads and downloads start with the `Host` of the request.",
            "Set HOWDAH_PUBLIC_URL to the address that clients use, or HOWDAH_TRUSTED_PROXIES.",
        )
    if not settings.development and not settings.allow_root and os.geteuid() == 0:
        yield Finding(
            CheckState.ATTENTION,
            "settings",
            "This command runs as root; a production server does not start as root.",
            "Run the server under an account of its own, or set HOWDAH_ALLOW_ROOT=true.",
        )
    try:
        Reach.parse(settings.targets, private_by_default=False)
    except HowdahError as error:
        yield broken("settings", error)
    for name in unknown_variables():
        yield Finding(
            CheckState.ATTENTION,
            "settings",
            f"{name} is not a setting.",
            "Correct the name as in the list above, or unset the variable.",
        )


def _folder(settings: Settings) -> Finding:
    folder = settings.data_dir
    if not folder.exists():
        return Finding(CheckState.OK, "data folder", f"{folder} will be created on start.")
    if not (folder.is_dir() and os.access(folder, os.R_OK | os.W_OK | os.X_OK)):
        hint = "Make it writable for the user that runs Howdah, or set another HOWDAH_DATA_DIR."
        return Finding(CheckState.BROKEN, "data folder", f"{folder} cannot be written.", hint)
    if (free := shutil.disk_usage(folder).free) < MIN_FREE_BYTES:
        message = f"{free / 1e6:.0f} MB of disk space are left."
        hint = "Free disk space, or set another HOWDAH_DATA_DIR."
        return Finding(
            CheckState.ATTENTION,
            "data folder",
            message,
            hint,
        )
    if stat.S_IMODE(folder.stat().st_mode) & 0o077:
        hint = f"Run `chmod 700 '{folder}'`."
        return Finding(CheckState.ATTENTION, "data folder", f"Other users can read {folder}.", hint)
    return Finding(CheckState.OK, "data folder", str(folder))


def _keys(settings: Settings) -> Finding:
    paths = [settings.data_dir / name for name in ("secret_key", "credential_key")]
    if settings.development and not all(path.exists() for path in paths):
        return Finding(CheckState.OK, "keys", "Missing keys will be created on start.")
    try:
        load_keys(settings)
    except HowdahError as error:
        return broken("keys", error)
    return Finding(CheckState.OK, "keys", "The secret key and the credential key are usable.")


async def _keychain(settings: Settings) -> Finding:
    if settings.single_user and await Keychain.find():
        return Finding(CheckState.OK, "keychain", "Secrets are stored in the system keychain.")
    return Finding(CheckState.OK, "keychain", "Not used: secrets are sealed in the database.")


def _parquet() -> Finding:
    try:
        require_format(ResultFormat.PARQUET)
    except Unavailable:
        message = "For Parquet and Arrow, install arro3: `pip install 'howdah[parquet]'`."
        return Finding(CheckState.OK, "parquet", message)
    return Finding(CheckState.OK, "parquet", "Results can be exported as Parquet and Arrow.")


def _documents(settings: Settings) -> Iterator[Finding]:
    """The list of documents, and those of them that the schema of this version refuses."""
    if settings.documents_path is None:
        return
    from graph.operations import ListedDocuments  # imported only for a list: the schema is slow
    from graph.schema import schema

    listed = ListedDocuments(settings.documents_path)
    try:
        listed.load()
    except HowdahError as error:
        yield broken("documents", error)
        return
    runs = "No other runs." if settings.trusts_listed_documents_only else "Any other runs too."
    yield Finding(CheckState.OK, "documents", f"{listed.count:,} documents are listed. {runs}")
    for document_id, reason in listed.faults(schema._schema):  # noqa: SLF001 - it has no public name
        yield Finding(
            CheckState.ATTENTION,
            "documents",
            f"The listed document {document_id} does not run: {reason}",
            "Let the build of its client write the list against the schema of this version.",
        )


async def _database(settings: Settings) -> AsyncIterator[Finding]:
    try:
        settings = use_running_server(settings)
        if settings.embedded and not (settings.data_dir / "postgres" / "cluster").exists():
            yield Finding(
                CheckState.OK,
                "database",
                "The embedded database will be created on start.",
            )
            return
        async with open_own_database(settings) as own:
            async for finding in check_database(own):
                yield finding
            can_query = True  # not through a pooler that the URL denies
            if settings.database_url is not None:
                async for finding in check_pooler(own, settings.database_url):
                    can_query &= finding.state is not CheckState.BROKEN
                    yield finding
            async for finding in check_standbys(settings, own):
                yield finding
            yield await _events(settings.events_url or own.direct_url)
            if can_query and not settings.development:
                async for finding in _replicas(settings, own):
                    yield finding
    except HowdahError as error:
        yield broken("database", error)


async def _events(url: str) -> Finding:
    try:
        bus = await open_events(url)
    except HowdahError as error:
        return broken("events", error)
    try:
        await bus.ping()
    except HowdahError as error:
        return Finding(CheckState.ATTENTION, "events", error.message, error.hint)
    finally:
        await bus.close()
    return Finding(CheckState.OK, "events", f"The event bus is {bus.kind}.")


async def _replicas(settings: Settings, own: OwnDatabase) -> AsyncIterator[Finding]:
    """Settings that differ from those of the replicas that serve now, as a start finds them."""
    if not (await probe_database(own.database)).serves:
        return
    try:
        keys = load_keys(settings)
        objects = open_objects(settings.objects_url, data_dir=settings.data_dir, create=False)
        fingerprints = await take_fingerprints(keys, objects, settings.events_url)
    except HowdahError:
        return  # the findings about keys and objects say so
    for difference in await find_differences(own.database, fingerprints):
        state = CheckState.BROKEN if is_fatal(difference) else CheckState.ATTENTION
        message = f"{difference.setting} is not the same as at the replica on {difference.host}."
        hint = "Set the same value on all replicas; a folder for objects must be shared by all."
        yield Finding(state, "replicas", message, hint)


async def _objects(settings: Settings) -> Finding:
    try:
        objects = open_objects(settings.objects_url, data_dir=settings.data_dir, create=False)
        if objects.is_new:
            message = "The folder for files will be created on start."
            return Finding(CheckState.OK, "objects", message)
        async with asyncio.timeout(OBJECTS_S):
            await objects.ping()
            await objects.identify()
    except HowdahError as error:
        if error.__cause__ is None:
            return broken("objects", error)
        reason = str(error.__cause__).partition("\n")[0]  # this command has no log to look into
        message = f"{error.message} {reason}"
        return Finding(CheckState.BROKEN, "objects", message, OBJECTS_HINT)
    except TimeoutError:
        message = f"The object store did not respond within {OBJECTS_S:g} seconds."
        return Finding(CheckState.BROKEN, "objects", message, OBJECTS_HINT)
    return Finding(CheckState.OK, "objects", f"The object store ({objects.kind}) responds.")
