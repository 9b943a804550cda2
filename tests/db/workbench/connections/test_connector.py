"""Connections to real servers with and without TLS, and to other services."""

import asyncio
import contextlib
import gc
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from db.errors import BadInput, HowdahError, Unavailable
from db.postgres.route.urls import parse_url
from db.workbench.connections import connector as module
from db.workbench.connections import libpq
from db.workbench.connections.connection_errors import Unreachable
from db.workbench.connections.connector import Connector
from db.workbench.connections.libpq import Connection
from db.workbench.connections.targets.destinations import Destination
from db.workbench.connections.targets.network_policy import Targets
from tests.fixtures.certificates import self_signed
from tests.fixtures.cluster import Cluster
from tests.fixtures.patience import patience
from tests.fixtures.ports import free_port
from tests.fixtures.targets import CANARY, Talk, Target, silent, speaking


@contextlib.asynccontextmanager
async def connected(destination: Destination, targets: Targets) -> AsyncIterator[Connection]:
    connector = Connector(destination, targets)
    try:
        connection = await connector.connect()
        try:
            yield connection
        finally:
            await connection.close()
    finally:
        await connector.close()


async def refusal(destination: Destination, targets: Targets) -> HowdahError:
    with pytest.raises(HowdahError) as caught:
        async with connected(destination, targets):
            pass
    assert CANARY not in f"{caught.value.message} {caught.value.hint} {caught.value!r}"
    return caught.value


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A certificate that vouches for nobody else."""
    text = self_signed(tmp_path_factory.mktemp("stranger"), "localhost").read_text()
    return text[: text.index("-----BEGIN PRIVATE KEY")]


@pytest.fixture(scope="module")
def clear_text(cluster: Cluster) -> Destination:
    """A PostgreSQL without TLS."""
    url = parse_url(cluster.url)
    password = unquote(cluster.url.partition("@")[0].rpartition(":")[2])
    return Destination(
        host=url.host,
        port=url.port,
        database=url.database,
        username=url.user,
        ssl_mode="PREFER",
        password=password,
    )


OK_TLS, OK_CLEAR = "TLS", "clear"


@pytest.mark.parametrize(
    ("mode", "authority", "host", "outcome"),
    [
        ("DISABLE", None, "localhost", OK_CLEAR),
        ("PREFER", None, "localhost", OK_TLS),
        ("PREFER", "wrong", "127.0.0.1", OK_TLS),
        ("REQUIRE", None, "127.0.0.1", OK_TLS),
        ("REQUIRE", "right", "127.0.0.1", OK_TLS),
        ("REQUIRE", "wrong", "localhost", "sslRootCertificate"),
        ("VERIFY_CA", "right", "localhost", OK_TLS),
        ("VERIFY_CA", "right", "127.0.0.1", OK_TLS),
        ("VERIFY_CA", "wrong", "localhost", "sslRootCertificate"),
        ("VERIFY_FULL", "right", "localhost", OK_TLS),
        ("VERIFY_FULL", "right", "127.0.0.1", "host"),
        ("VERIFY_FULL", "wrong", "localhost", "sslRootCertificate"),
        ("VERIFY_FULL", None, "localhost", "sslRootCertificate"),
    ],
)
async def test_tls_modes_equal_libpq(
    target: Target,
    targets: Targets,
    stranger: str,
    mode: str,
    authority: str | None,
    host: str,
    outcome: str,
) -> None:
    roots = {None: None, "right": target.certificate, "wrong": stranger}
    destination = target.destination(
        ssl_mode=mode, host=host, ssl_root_certificate=roots[authority]
    )
    if outcome not in {OK_TLS, OK_CLEAR}:
        assert (await refusal(destination, targets)).field == outcome
        return
    async with connected(destination, targets) as connection:
        assert connection.pgconn.ssl_in_use is (outcome == OK_TLS)


async def test_facts_of_a_hostile_server_can_be_stored(
    target: Target, targets: Targets, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fetch_value(*_: object) -> str:
        return "TLSv1.3\0 " + "x" * 1_000_000

    monkeypatch.setattr(libpq, "fetch_value", fetch_value)
    async with connected(target.destination(), targets) as connection:
        facts = await libpq.facts_of(connection)
    assert facts.tls == ("TLSv1.3 " + "x" * 1_000)[: libpq.MAX_FACT_CHARS]


async def test_connection_facts_include_version_protocol_and_cipher(
    target: Target, targets: Targets
) -> None:
    connector = Connector(target.destination(), targets)
    connection = await connector.connect()
    assert connector.facts is not None
    assert connector.facts.server_version.startswith("17.")
    assert connector.facts.tls == "TLSv1.3 TLS_AES_256_GCM_SHA384"
    await connection.close()
    await connector.close()


@pytest.mark.parametrize("mode", ["REQUIRE", "VERIFY_CA", "VERIFY_FULL"])
async def test_tls_is_never_downgraded_silently(
    clear_text: Destination, targets: Targets, stranger: str, mode: str
) -> None:
    insisting = replace(clear_text, ssl_mode=mode, ssl_root_certificate=stranger)
    error = await refusal(insisting, targets)
    assert (error.field, "does not support TLS" in error.message) == ("sslMode", True)
    async with connected(clear_text, targets) as connection:
        assert not connection.pgconn.ssl_in_use


async def test_certificates_leave_no_file(target: Target, targets: Targets) -> None:
    connector = Connector(
        target.destination(ssl_mode="VERIFY_CA", ssl_root_certificate=target.certificate), targets
    )
    file = connector._certificates
    assert file is not None
    assert file.parent.stat().st_mode & 0o777 == 0o700
    await connector.close()
    assert not file.parent.exists()


@pytest.mark.parametrize(
    ("changes", "field", "words"),
    [
        ({"password": "wrong"}, "password", "refused this user or password"),
        ({"username": "nobody"}, "password", "refused this user or password"),
        ({"password": None}, "password", "requires a password"),
        ({"database": "nowhere"}, "database", "database nowhere does not exist"),
        ({"username": "nobody_logs_in"}, "username", "not permitted"),
        ({"username": "few"}, None, "too many connections"),
        ({"username": "tls_only", "ssl_mode": "DISABLE"}, None, "pg_hba.conf"),
        ({"username": "clear"}, "sslMode", "clear text"),
        ({"username": "clear", "ssl_mode": "REQUIRE"}, "sslMode", "clear text"),
        ({"host": "no-such-host.invalid"}, "host", "not found"),
    ],
)
async def test_connection_error_has_hint(
    target: Target, targets: Targets, changes: dict[str, Any], field: str | None, words: str
) -> None:
    error = await refusal(target.destination(**changes), targets)
    assert words in error.message
    assert error.field == field
    assert error.hint


async def test_password_is_sent_in_clear_text_only_over_verified_tls(
    target: Target, targets: Targets
) -> None:
    proven = target.destination(
        username="clear", ssl_mode="VERIFY_FULL", ssl_root_certificate=target.certificate
    )
    async with connected(proven, targets) as connection:
        assert connection.info.user == "clear"


async def http(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(8)
    writer.write(b"HTTP/1.1 400 Bad Request\r\nServer: internal-secrets/1.0\r\n\r\n")
    await writer.drain()


async def memcached(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(8)
    writer.write(b"ERROR internal-secrets\r\n")
    await writer.drain()


async def closing(_: asyncio.StreamReader, __: asyncio.StreamWriter) -> None:
    """Hangs up at once."""


async def half_open(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Lets everybody in without a password, and then says nothing."""
    await reader.read(1024)
    writer.write(b"R\0\0\0\x08\0\0\0\0" + b"Z\0\0\0\x05I")
    await silent(reader, writer)


async def endless_notices(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(1024)
    writer.write(b"R\0\0\0\x08\0\0\0\0")
    body = b"SNOTICE\0VNOTICE\0C00000\0M" + b"x" * 1000 + b"\0\0"
    notice = b"N" + (len(body) + 4).to_bytes(4, "big") + body
    while True:
        writer.write(notice * 50)
        await writer.drain()


async def huge_length(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(1024)
    writer.write(b"R\x7f\xff\xff\xff\0\0\0\0")
    await silent(reader, writer)


@pytest.mark.parametrize(
    "talk", [http, memcached, closing, silent, half_open, endless_notices, huge_length]
)
@pytest.mark.parametrize("mode", ["DISABLE", "PREFER", "REQUIRE"])
async def test_foreign_server_looks_like_unreachable_one(
    target: Target, targets: Targets, monkeypatch: pytest.MonkeyPatch, talk: Talk, mode: str
) -> None:
    monkeypatch.setattr(module, "CONNECT_S", 0.5)
    absent = await refusal(target.destination(port=free_port(), ssl_mode=mode), targets)
    async with speaking(talk) as port:
        error = await refusal(target.destination(port=port, ssl_mode=mode), targets)
    assert isinstance(error, Unreachable)
    assert isinstance(absent, Unreachable)
    assert (error.code, error.hint, error.field) == (absent.code, absent.hint, absent.field)
    assert error.message.partition(":")[0] == absent.message.partition(":")[0]
    assert "internal-secrets" not in error.message


@pytest.mark.parametrize("mode", ["DISABLE", "PREFER", "REQUIRE"])
async def test_clear_text_password_request_is_refused(
    target: Target, targets: Targets, mode: str
) -> None:
    heard = bytearray()

    async def greedy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if (first := await reader.read(8)) and first[4:8] == b"\x04\xd2\x16\x2f":
            writer.write(b"N")
        writer.write(b"R\0\0\0\x08\0\0\0\x03")
        while more := await reader.read(1024):
            heard.extend(more)

    async with speaking(greedy) as port:
        error = await refusal(target.destination(port=port, ssl_mode=mode), targets)
    assert isinstance(error, BadInput | Unavailable)
    assert CANARY.encode() not in heard


@pytest.fixture
def hostile_account(
    target: Target, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, stranger: str
) -> None:
    """An account whose own settings would take a connection elsewhere, or give it away."""
    home = tmp_path / "home"
    certificates = home / ".postgresql"
    certificates.mkdir(parents=True)
    both = self_signed(tmp_path, "ours").read_text()
    for name in ("postgresql.crt", "postgresql.key", "root.crt", "root.crl"):
        (certificates / name).write_text(both)
        (certificates / name).chmod(0o600)
    passwords = home / ".pgpass"
    passwords.write_text(f"*:*:*:*:{CANARY}\n")
    passwords.chmod(0o600)
    (home / ".pg_service.conf").write_text(f"[ours]\nhost=127.0.0.1\npassword={CANARY}\n")
    variables = {
        "HOME": str(home),
        "PGPASSWORD": CANARY,
        "PGPASSFILE": str(passwords),
        "PGSERVICE": "ours",
        "PGSERVICEFILE": str(home / ".pg_service.conf"),
        "PGUSER": "postgres",
        "PGDATABASE": "template1",
        "PGHOST": "/var/run/postgresql",
        "PGHOSTADDR": "192.0.2.1",
        "PGPORT": "1",
        "PGOPTIONS": "-c search_path=ours",
        "PGAPPNAME": "ours",
        "PGTZ": "Asia/Kolkata",
        "PGDATESTYLE": "German",
        "PGSSLMODE": "disable",
        "PGSSLROOTCERT": str(certificates / "root.crt"),
        "PGSSLCERT": str(certificates / "postgresql.crt"),
        "PGSSLKEY": str(certificates / "postgresql.key"),
        "PGREQUIREAUTH": "gss",
        "PGCHANNELBINDING": "require",
        "PGTARGETSESSIONATTRS": "standby",
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)


@pytest.mark.usefixtures("hostile_account")
async def test_account_files_are_not_used(target: Target, targets: Targets) -> None:
    error = await refusal(target.destination(password=None), targets)
    assert "requires a password" in error.message
    async with connected(target.destination(ssl_mode="REQUIRE"), targets) as connection:
        found = await connection.execute(
            "SELECT current_user, current_database(), current_setting('TimeZone'),"
            " current_setting('search_path'), current_setting('application_name'),"
            " current_setting('DateStyle'), client_dn FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
        )
        row = await found.fetchone()
    assert row == ("ada", "postgres", "UTC", '"$user", public', "howdah", "ISO, MDY", None)


@pytest.mark.parametrize(
    "field", [{"database": "host=192.0.2.1 user=postgres"}, {"username": "postgresql://x@y/z"}]
)
async def test_database_name_is_not_parsed_as_options(
    target: Target, targets: Targets, field: dict[str, str]
) -> None:
    error = await refusal(target.destination(**field), targets)
    assert isinstance(error, BadInput)
    assert error.field in {"database", "password"}


async def test_login_that_its_caller_leaves_logs_no_error(
    target: Target,
    targets: Targets,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    identifying = asyncio.Event()

    async def identify(connection: Connection) -> libpq.ServerFacts:
        identifying.set()
        await libpq.command(connection, "SELECT pg_sleep(3600)")
        raise AssertionError

    monkeypatch.setattr(libpq, "facts_of", identify)
    connector = Connector(target.destination(), targets)
    connecting = asyncio.create_task(connector.connect())
    async with patience():
        await identifying.wait()
        connecting.cancel()
        await asyncio.wait({connecting})
    await connector.close()
    assert connecting.cancelled()
    del connecting
    gc.collect()  # asyncio logs an error that was not retrieved when its task is freed
    assert "never retrieved" not in caplog.text
