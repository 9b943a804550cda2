import asyncio
import json
import os
import re
import sys
from asyncio.subprocess import PIPE
from pathlib import Path
from typing import NamedTuple

import asyncpg
import pytest

from db.version import __version__
from graph.commands import main
from graph.schema import schema

ROOT = Path(__file__).parents[3]


class Ended(NamedTuple):
    """Output and exit code of a command."""

    code: int
    output: str
    errors: str


async def howdah(*arguments: str, **environment: str) -> Ended:
    clean = {name: value for name, value in os.environ.items() if "HOWDAH" not in name}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "graph.commands.main", *arguments),
        cwd=ROOT,
        env=clean | environment,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=PIPE,
        stderr=PIPE,
    )
    output, errors = await process.communicate()
    return Ended(process.returncode or 0, output.decode(), errors.decode())


async def test_help_imports_neither_server_nor_database() -> None:
    code, _, imports = await howdah("--help", PYTHONPROFILEIMPORTTIME="1")
    loaded = {line.rpartition("|")[2].strip() for line in imports.splitlines()}
    assert code == 0
    assert "click" in loaded
    assert loaded.isdisjoint(
        {"typer", "pydantic", "rich", "sqlalchemy", "strawberry", "uvicorn", "asyncpg", "alembic"}
    )


async def test_schema_needs_no_database() -> None:
    url = "postgresql://nobody@127.0.0.1:1/nothing"
    assert await howdah("schema", HOWDAH_DATABASE_URL=url) == (0, schema.as_str() + "\n", "")


async def test_error_has_two_lines_and_no_traceback(tmp_path: Path) -> None:
    url = "postgresql://ann:hunter2@127.0.0.1:1/nothing"
    code, output, errors = await howdah(
        *("migrate", "--data-dir", str(tmp_path)),
        HOWDAH_DATABASE_URL=url,
        HOWDAH_DATABASE_CONNECT_MS="200",
    )
    assert (code, output) == (1, "")
    message, hint = errors.splitlines()
    assert message.startswith("error: ")
    assert hint.startswith("hint: ")
    assert "127.0.0.1:1" in message
    assert "hunter2" not in errors


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["serve", "--prot", "1"], "--port"),
        (["serve", "--port", "many"], "not a valid integer"),
        (["serve", "--workers", "0"], "0 is not in the range"),
        (["sing"], "No such command"),
    ],
)
async def test_usage_error_is_a_message_and_a_hint(arguments: list[str], words: str) -> None:
    code, output, errors = await howdah(*arguments)
    assert (code, output) == (2, "")
    message, hint = errors.splitlines()
    assert message.startswith("error: ")
    assert words in message
    assert hint.startswith("hint: Run `howdah ")


async def test_command_without_arguments_prints_its_help() -> None:
    code, _, errors = await howdah("user")
    assert code == 2
    assert "Manage user accounts." in errors


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("HOWDAH_PORT", "abc"),
        ("HOWDAH_DATABASE_POOL_SIZE", "0"),
        ("HOWDAH_JWT_ALGORITHMS", "none"),
        ("HOWDAH_DATA_DIR", "/dev/null/here"),
        ("HOWDAH_DIRECT_DATABASE_URL", "postgres://ann:hunter2@db/howdah"),
    ],
)
async def test_invalid_setting_is_named_with_hint(name: str, value: str) -> None:
    code, output, errors = await howdah("serve", **{name: value})
    assert (code, output) == (1, "")
    message, hint = errors.splitlines()
    assert message.startswith("error: ")
    assert name in message + hint
    assert "hunter2" not in errors


@pytest.mark.parametrize(
    ("arguments", "exit_code"), [(["serve"], 1), (["serve", "--prot", "1"], 2)]
)
async def test_error_is_one_line_of_json_where_the_log_is_json(
    arguments: list[str], exit_code: int
) -> None:
    environment = {"HOWDAH_LOG_FORMAT": "json", "HOWDAH_PORT": "abc"}
    code, output, errors = await howdah(*arguments, **environment)
    assert (code, output) == (exit_code, "")
    (line,) = errors.splitlines()
    entry = json.loads(line)
    assert entry["level"] == "error"
    assert "port" in entry["message"].lower()
    assert entry["hint"]


def test_unexpected_error_is_one_line_of_json_where_the_log_is_json(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(**_: object) -> None:
        raise RuntimeError("postgresql://ann:hunter2@db/howdah")

    monkeypatch.setattr(main.app, "main", fail)
    with pytest.raises(RuntimeError):
        main.run()
    monkeypatch.setenv("HOWDAH_LOG_FORMAT", "json")
    with pytest.raises(SystemExit):
        main.run()
    (line,) = capsys.readouterr().err.splitlines()
    assert "RuntimeError" in json.loads(line)["exception"]
    assert "hunter2" not in line


async def test_invalid_direct_url_is_named() -> None:
    code, _, errors = await howdah(
        "migrate",
        HOWDAH_DATABASE_URL="postgresql://ann@127.0.0.1:1/nothing",
        HOWDAH_DIRECT_DATABASE_URL="mysql://ann:hunter2@127.0.0.1:1/nothing",
    )
    assert code == 1
    assert "HOWDAH_DIRECT_DATABASE_URL" in errors
    assert "hunter2" not in errors


async def test_migrate_goes_up_and_down_and_checks(committed_url: str) -> None:
    async def migrate(*arguments: str) -> Ended:
        return await howdah("migrate", *arguments, HOWDAH_DATABASE_URL=committed_url)

    assert (await migrate("--check")).code == 0
    assert (await migrate("--down", "0001", "--yes")).code == 0
    unfinished = await migrate("--check")
    assert unfinished.code == 1
    assert "howdah migrate" in unfinished.errors
    assert "is now at" in (await migrate()).output
    assert "was already at" in (await migrate()).output
    assert (await migrate("--down", "0001", "--check")).code == 1
    assert (await migrate("--yes")).code == 1
    unknown = await migrate("--down", "0815")
    assert unknown.code == 1
    assert "0001" in unknown.errors


async def test_downgrade_says_what_it_deletes_and_needs_yes(committed_url: str) -> None:
    async def down(*arguments: str) -> Ended:
        return await howdah("migrate", "--down", *arguments, HOWDAH_DATABASE_URL=committed_url)

    connection = await asyncpg.connect(committed_url)
    await connection.execute(
        """INSERT INTO users (id, email, name, suspended_at)
        SELECT gen_random_uuid(), n || '@example.com', n, CASE WHEN n = 1 THEN now() END
        FROM generate_series(1, 3) AS n"""
    )
    refused = await down("base")
    assert refused.code == 1
    assert re.search(r"^  users +3 rows$", refused.output, re.MULTILINE)
    assert "Nothing was changed." in refused.errors
    assert await connection.fetchval("SELECT count(*) FROM users") == 3
    to_first = await down("0001")
    assert (to_first.code, "rows" in to_first.output) == (1, False)
    assert re.search(r"^  users.suspended_at +1 values$", to_first.output, re.MULTILINE)
    done = await down("base", "--yes")
    assert (done.code, done.errors) == (0, "")
    assert re.search(r"^  users +3 rows$", done.output, re.MULTILINE)
    assert not await connection.fetchval("SELECT to_regclass('users') IS NOT NULL")
    await connection.close()


async def test_version_is_printed() -> None:
    assert await howdah("--version") == (0, f"howdah {__version__}\n", "")
