"""`howdah doctor`: looks at everything a server needs, and says what to mend. It mends nothing."""

import asyncio
import os
import shutil
import stat
from collections.abc import AsyncIterator, Iterator
from enum import Enum
from typing import NamedTuple
from urllib.parse import urlsplit

import click

from db.errors import HowdahError, Unavailable
from db.events import open_events
from db.postgres import migrations
from db.postgres.embedded import use_running_server
from db.security.keys import load_keys
from db.security.vault import Keychain
from db.services import OwnDatabase, open_own_database
from db.settings import PREFIX, Settings, load_settings, sources, unknown_variables
from db.system.health import probe_database
from db.workbench.results.formats import ResultFormat, require_format

SECRETS = {"secret_key", "credential_key", "jwt_secret", "metrics_token"}
ROOM_BYTES = 500_000_000


class State(Enum):
    """How something is."""

    OK = "ok"
    ATTENTION = "attention"
    BROKEN = "broken"


class Finding(NamedTuple):
    """One thing that was looked at."""

    state: State
    subject: str
    words: str
    mend: str = ""


def run_checks(**chosen: object) -> bool:
    """Print what is found; whether nothing is broken. `chosen` are the command line's settings."""
    chosen = {name: value for name, value in chosen.items() if value is not None}
    try:
        settings = load_settings(None, **chosen)
    except HowdahError as error:
        findings = [_broken("settings", error)]
    else:
        _list(settings, sources() | dict.fromkeys(chosen, "command line"))
        findings = asyncio.run(_look(settings))
    for state, subject, words, mend in findings:
        click.echo(f"{state.value:10} {subject:12} {words}")
        if mend:
            click.echo(f"{'':23} {mend}")
    return all(finding.state is not State.BROKEN for finding in findings)


def _list(settings: Settings, found: dict[str, str]) -> None:
    for name in Settings.__struct_fields__:
        variable, value = PREFIX + name.upper(), _shown(name, getattr(settings, name))
        click.echo(f"{variable:32} {value:40} {found.get(name, 'default')}")
    click.echo()


def _shown(name: str, value: object) -> str:
    """Of a secret only that it is set; of an address neither user, password nor parameters."""
    if value in {None, ""}:
        return "-"
    if name in SECRETS:
        return "(set)"
    if name.endswith("_url"):
        parts = urlsplit(str(value))
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
    return str(value)


async def _look(settings: Settings) -> list[Finding]:
    findings = [*_settings(settings), _folder(settings), _keys(settings)]
    findings += [await _keychain(settings), _parquet()]
    findings += [finding async for finding in _database(settings)]
    return findings


def _settings(settings: Settings) -> Iterator[Finding]:
    kind = "development" if settings.development else "production"
    yield Finding(State.OK, "settings", f"They are those of a {kind} server.")
    for name in unknown_variables():
        yield Finding(
            State.ATTENTION,
            "settings",
            f"{name} is no setting.",
            "Correct its name as in the list above, or remove it.",
        )


def _folder(settings: Settings) -> Finding:
    folder = settings.data_dir
    if not folder.exists():
        return Finding(State.OK, "data folder", f"{folder} is made at the first start.")
    if not (folder.is_dir() and os.access(folder, os.R_OK | os.W_OK | os.X_OK)):
        mend = "Give it to the user who runs Howdah, or choose another HOWDAH_DATA_DIR."
        return Finding(State.BROKEN, "data folder", f"{folder} cannot be written.", mend)
    if (free := shutil.disk_usage(folder).free) < ROOM_BYTES:
        mend = "Free some space, or choose another HOWDAH_DATA_DIR."
        return Finding(State.ATTENTION, "data folder", f"{free / 1e6:.0f} MB are left.", mend)
    if stat.S_IMODE(folder.stat().st_mode) & 0o077:
        mend = f"chmod 700 '{folder}'"
        return Finding(State.ATTENTION, "data folder", f"Others may look into {folder}.", mend)
    return Finding(State.OK, "data folder", str(folder))


def _keys(settings: Settings) -> Finding:
    kept = [settings.data_dir / name for name in ("secret_key", "credential_key")]
    if settings.development and not all(path.exists() for path in kept):
        return Finding(State.OK, "keys", "What is not set is made at the first start.")
    try:
        load_keys(settings)
    except HowdahError as error:
        return _broken("keys", error)
    return Finding(State.OK, "keys", "Sessions are signed, credentials sealed.")


async def _keychain(settings: Settings) -> Finding:
    if settings.single_user and await Keychain.find():
        return Finding(State.OK, "keychain", "Credentials are kept in this machine's.")
    return Finding(State.OK, "keychain", "None is used: credentials are sealed in their rows.")


def _parquet() -> Finding:
    try:
        require_format(ResultFormat.PARQUET)
    except Unavailable:
        words = "Results leave as CSV and JSON lines; pip install 'howdah[parquet]' adds Parquet."
        return Finding(State.OK, "parquet", words)
    return Finding(State.OK, "parquet", "Results leave as Parquet too.")


async def _database(settings: Settings) -> AsyncIterator[Finding]:
    try:
        settings = use_running_server(settings)
        if settings.embedded and not (settings.data_dir / "postgres" / "cluster").exists():
            yield Finding(State.OK, "database", "The embedded one is made at the first start.")
            return
        async with open_own_database(settings) as own:
            async for finding in _own(own):
                yield finding
            yield await _events(settings.events_url or own.direct_url)
    except HowdahError as error:
        yield _broken("database", error)


async def _own(own: OwnDatabase) -> AsyncIterator[Finding]:
    found = await probe_database(own.database)
    if not found.ok:
        mend = "Look at its log, its load and the way there."
        yield Finding(State.BROKEN, "database", "It does not answer within a second.", mend)
        return
    answer = f"PostgreSQL {found.version} answers in {found.latency_ms:.1f} ms."
    yield Finding(State.OK, "database", answer)
    for words in own.embedded.findings if own.embedded else ():
        yield Finding(State.ATTENTION, "database", words)
    if found.newer_revision is not None:
        mend = "Update this Howdah too; until then it goes on as it is."
        yield Finding(State.ATTENTION, "migrations", found.findings[0], mend)
    elif found.migrations_current:
        yield Finding(State.OK, "migrations", f"The database is at {migrations.head()}.")
    else:
        mend = "`howdah migrate` brings it there; `howdah serve` does so by itself."
        words = f"The database is not at {migrations.head()}."
        yield Finding(State.ATTENTION, "migrations", words, mend)


async def _events(url: str) -> Finding:
    try:
        bus = await open_events(url)
    except HowdahError as error:
        return _broken("events", error)
    try:
        await bus.ping()
    except HowdahError as error:
        return Finding(State.ATTENTION, "events", error.message, error.hint)
    finally:
        await bus.close()
    return Finding(State.OK, "events", f"They travel over {bus.kind}.")


def _broken(subject: str, error: HowdahError) -> Finding:
    return Finding(State.BROKEN, subject, error.message, error.hint)
