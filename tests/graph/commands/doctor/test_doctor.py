import asyncio
import base64
import contextlib
import re
import secrets
import socket
import tomllib
from pathlib import Path

import pytest

from db.postgres.route.urls import parse_url
from graph.commands.doctor.checks import _display
from graph.commands.doctor.findings import CheckState
from graph.commands.doctor.own_database import TESTED_VERSIONS, untested_version
from tests.fixtures.connected import connected
from tests.fixtures.pgbouncer import PGBOUNCER, pgbouncer
from tests.fixtures.replicas import OpenReplica
from tests.fixtures.served import served
from tests.graph.commands.test_cli import ROOT, Ended, howdah

SECRET = "x7Gq2-Lw9_pT4vRb8Zk1Nc6Yd3Hs5Jf0Ma"
PASSWORD = "hunter2-canary"


async def doctor(folder: Path, **environment: str) -> Ended:
    return await howdah("doctor", "--data-dir", str(folder), **environment)


def found(ended: Ended, subject: str) -> list[str]:
    """The states of what was found about a subject."""
    lines = [line.split() for line in ended.output.splitlines()]
    states = {"ok", "attention", "broken"}
    return [line[0] for line in lines if line and line[0] in states and subject in line[1:3]]


async def test_doctor_on_fresh_machine_creates_nothing(tmp_path: Path) -> None:
    ended = await doctor(tmp_path / "data")
    assert ended.code == 0
    assert not (tmp_path / "data").exists()
    assert found(ended, "database") == ["ok"]


async def test_doctor_beside_running_server_succeeds(tmp_path: Path) -> None:
    async with served(tmp_path / "data"):
        ended = await doctor(tmp_path / "data")
    assert ended.code == 0
    for subject in (
        "settings",
        "data",
        "keys",
        "parquet",
        "database",
        "migrations",
        "events",
        "objects",
    ):
        assert found(ended, subject) == ["ok"], ended.output


@pytest.mark.parametrize("version", ["16.4", "19beta1", "15.7 (Debian 15.7-1)", "18devel", ""])
def test_doctor_notes_an_untested_version_of_postgresql(version: str) -> None:
    note = untested_version(version)
    assert note is not None
    assert note.state is CheckState.ATTENTION  # which is no failure
    assert "tested with PostgreSQL 17 and 18" in note.message


def test_doctor_notes_no_version_that_the_tests_run_with() -> None:
    """The versions are those of the servers that the development environment installs."""
    for version in ("18.6", "17.10 (Debian 17.10-1.pgdg12+1)"):
        assert untested_version(version) is None
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    installed = str([project["project"]["optional-dependencies"], project["dependency-groups"]])
    found = re.findall(r"(?:embedded|celerp)-postgres>=(\d+)", installed)
    assert {int(major) for major in found} == set(TESTED_VERSIONS)
    page = (ROOT / "docs" / "deployment.md").read_text(encoding="utf-8")
    assert f"tested with {' and '.join(map(str, TESTED_VERSIONS))}" in page


async def test_doctor_lists_settings_with_source_and_without_secrets(tmp_path: Path) -> None:
    url = f"postgresql://ann:{PASSWORD}@127.0.0.1:1/howdah?password={PASSWORD}"
    ended = await doctor(
        tmp_path / "data",
        HOWDAH_DATABASE_URL=url,
        HOWDAH_DATABASE_CONNECT_MS="200",
        HOWDAH_SECRET_KEY=SECRET,
        HOWDAH_METRICS_TOKEN=PASSWORD,
        HOWDAH_PROT="8001",
    )
    lines = {line.split()[0]: line.split()[1:] for line in ended.output.splitlines() if line}
    assert lines["HOWDAH_DATABASE_URL"] == ["postgresql://127.0.0.1:1/howdah", "environment"]
    assert lines["HOWDAH_SECRET_KEY"] == ["(set)", "environment"]
    assert lines["HOWDAH_DATA_DIR"] == [str(tmp_path / "data"), "command", "line"]
    assert lines["HOWDAH_PORT"] == ["8000", "default"]
    for secret in (PASSWORD, SECRET):
        assert secret not in ended.output + ended.errors
    assert found(ended, "HOWDAH_PROT") == ["attention"]
    assert found(ended, "keys") == ["broken"]
    assert found(ended, "database") == ["broken"]
    assert ended.code == 1


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://ann:{PASSWORD}/x@db/howdah",
        f"postgresql://ann:x?{PASSWORD}@db/howdah",
        f"postgresql://ann:x#{PASSWORD}@db/howdah",
        f"postgresql://ann:x@y/{PASSWORD}@db/howdah",
        f"nats://ann:x@one:4222,nats://ann:{PASSWORD}@two:4222",
        f"host=db user=ann password={PASSWORD}",
        f"postgresql://ann:{PASSWORD}@[db/howdah",
    ],
)
def test_doctor_hides_a_url_that_is_not_valid(url: str) -> None:
    assert _display("database_url", url) == "(set)"


async def test_doctor_tells_which_variable_names_the_database(tmp_path: Path) -> None:
    ended = await doctor(
        tmp_path / "data",
        NEON_DATABASE_URL="postgresql://127.0.0.1:1/howdah",
        HOWDAH_DATABASE_CONNECT_MS="200",
    )
    lines = [line.split() for line in ended.output.splitlines()]
    shown = [line[2:] for line in lines if line[:1] == ["HOWDAH_DATABASE_URL"]]
    assert shown == [["environment,", "NEON_DATABASE_URL"]]


async def test_doctor_reports_missing_migrations(committed_url: str, tmp_path: Path) -> None:
    async with connected(committed_url) as connection:
        await connection.execute("UPDATE alembic_version SET version_num = '0001'")
    ended = await doctor(tmp_path, HOWDAH_DATABASE_URL=committed_url, HOWDAH_ENV="development")
    assert found(ended, "migrations") == ["attention"]
    assert "howdah migrate" in ended.output


async def test_doctor_reports_that_the_user_may_not_migrate(
    empty_url: str, committed_url: str, tmp_path: Path
) -> None:
    """The user of the direct URL: a start would fail, and later an update."""

    async def look(url: str) -> Ended:
        place = parse_url(url)
        direct = f"postgresql://{role}:peanuts@{place.place}/{place.database}"
        return await doctor(
            tmp_path,
            HOWDAH_DATABASE_URL=url,
            HOWDAH_DIRECT_DATABASE_URL=direct,
            HOWDAH_ENV="development",
        )

    role = f"role_{secrets.token_hex(4)}"
    async with connected(empty_url) as connection:
        await connection.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'peanuts'")
        try:
            empty, migrated = await asyncio.gather(look(empty_url), look(committed_url))
        finally:
            await connection.execute(f"DROP ROLE {role}")
    assert (empty.code, found(empty, "migrations")) == (1, ["attention", "broken", "broken"])
    assert f"{role} may not create tables in the schema public." in empty.output
    assert f"{role} may not create the extensions pg_trgm, btree_gin." in empty.output
    assert "ALTER DATABASE howdah OWNER TO howdah" in empty.output
    assert (migrated.code, found(migrated, "migrations")) == (0, ["ok", "attention", "attention"])
    assert f"{role} does not own all tables: access_tokens, alembic_version, " in migrated.output


async def test_doctor_warns_of_a_production_server_without_a_public_url(tmp_path: Path) -> None:
    keys = {
        name: secrets.token_urlsafe(48) for name in ("HOWDAH_SECRET_KEY", "HOWDAH_CREDENTIAL_KEY")
    }
    production = {"HOWDAH_ENV": "production", "HOWDAH_ALLOW_ROOT": "true"} | keys
    unset, named, proxied = await asyncio.gather(
        doctor(tmp_path / "data", **production),
        doctor(tmp_path / "data", **production, HOWDAH_PUBLIC_URL="https://howdah.example.com"),
        doctor(tmp_path / "data", **production, HOWDAH_TRUSTED_PROXIES="10.0.0.1"),
    )
    assert found(unset, "settings") == ["ok", "attention"]
    assert "HOWDAH_PUBLIC_URL" in unset.output
    assert found(named, "settings") == found(proxied, "settings") == ["ok"]


async def test_doctor_refuses_what_a_start_beside_another_replica_refuses(
    open_replica: OpenReplica, committed_url: str, tmp_path: Path
) -> None:
    folder = tmp_path / "shared"
    sealing = f"k1:{base64.b64encode(secrets.token_bytes(32)).decode()}"
    keys = {"secret_key": secrets.token_urlsafe(48), "credential_key": sealing}
    production = {
        "HOWDAH_ENV": "production",
        "HOWDAH_ALLOW_ROOT": "true",
        "HOWDAH_DATABASE_URL": committed_url,
        **{f"HOWDAH_{name.upper()}": key for name, key in keys.items()},
    }
    async with open_replica(env="production", objects_url=f"file://{folder}", **keys):
        data = tmp_path / "other"
        same, alone = await asyncio.gather(
            doctor(data, **production, HOWDAH_OBJECTS_URL=f"file://{folder}"),
            doctor(data, **production, HOWDAH_TARGETS="public,10.0.0.0/8"),
        )
    assert (same.code, found(same, "replicas"), found(same, "objects")) == (0, [], ["ok"])
    assert (alone.code, found(alone, "replicas"), found(alone, "objects")) == (
        1,
        ["broken"],
        ["ok"],
    )
    assert "HOWDAH_OBJECTS_URL is not the same as at the replica on" in alone.output
    assert "HOWDAH_TARGETS is neither public" in alone.output
    assert not data.exists()


async def test_doctor_reports_an_object_store_that_does_not_respond(tmp_path: Path) -> None:
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as closed:
        address = f"http://127.0.0.1:{closed.getsockname()[1]}"
    ended = await doctor(
        tmp_path / "data",
        HOWDAH_OBJECTS_URL="s3://bucket/prefix",
        AWS_ENDPOINT_URL=address,
        AWS_REGION="local",
        AWS_ACCESS_KEY_ID="one",
        AWS_SECRET_ACCESS_KEY=PASSWORD,
    )
    assert (ended.code, found(ended, "objects")) == (1, ["broken"])
    assert PASSWORD not in ended.output + ended.errors


async def test_doctor_reports_invalid_folder_and_setting(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    wrong, unusable = await asyncio.gather(
        doctor(tmp_path, HOWDAH_DATA_DIR="/x", HOWDAH_LOG_LEVEL="loud"),
        howdah("doctor", HOWDAH_DATA_DIR=str(file)),
    )
    assert (wrong.code, found(wrong, "settings")) == (1, ["broken"])
    assert "HOWDAH_LOG_LEVEL" in wrong.output
    assert (unusable.code, found(unusable, "data")) == (1, ["broken"])


async def test_doctor_checks_listed_documents(tmp_path: Path) -> None:
    path = tmp_path / "documents.json"
    chosen = {"HOWDAH_DOCUMENTS": "trusted", "HOWDAH_DOCUMENTS_PATH": str(path)}
    missing = await doctor(tmp_path / "data", **chosen)
    assert found(missing, "documents") == ["broken"]
    assert missing.code == 1
    path.write_text('{"good": "{ viewer { id } }", "old": "{ gone }", "broken": "{"}')
    checked = await doctor(tmp_path / "data", **chosen)
    assert found(checked, "documents") == ["ok", "attention", "attention"]
    assert "The listed document old does not run: Cannot query field 'gone'" in checked.output
    assert checked.code == 0


async def test_serve_with_a_faulty_list_of_documents_does_not_start(tmp_path: Path) -> None:
    chosen = {"HOWDAH_DOCUMENTS": "trusted", "HOWDAH_DOCUMENTS_PATH": str(tmp_path / "none")}
    ended = await howdah("serve", "--data-dir", str(tmp_path / "data"), "--port", "0", **chosen)
    assert ended.code == 1
    assert "cannot be read: No such file or directory." in ended.errors
    assert "Traceback" not in ended.errors
    assert not (tmp_path / "data").exists()


@pytest.mark.skipif(PGBOUNCER is None, reason="there is no pgbouncer on this machine")
async def test_doctor_finds_the_pooler_and_its_settings(committed_url: str, tmp_path: Path) -> None:
    async def look(url: str, **environment: str) -> tuple[list[str], str]:
        folder = tmp_path / "data"
        ended = await doctor(
            folder, HOWDAH_DATABASE_URL=url, HOWDAH_ENV="development", **environment
        )
        return found(ended, "pooler"), ended.output

    direct = {"HOWDAH_DIRECT_DATABASE_URL": committed_url}
    assert (await look(committed_url))[0] == ["ok"]
    async with pgbouncer(committed_url) as url:
        states, output = await look(url, **direct)
        assert states == ["ok", "attention"], output
        assert "refuses clients for 15 s" in output
        states, output = await look(url)
        assert states == ["attention", "attention"], output
        states, output = await look(f"{url}&pgbouncer=false", **direct)
        assert states[0] == "broken", output
