import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from db.errors import BadInput, NotFound
from db.kit.base import OwnerId
from db.postgres.engine import Database
from db.settings import Settings
from db.tasks import Tasks
from db.users import OwnUser
from graph.commands.import_tasks import import_tasks

OLD = [{"id": 1, "title": "Feed [red]"}, {"id": 2, "title": " "}, {"id": 3, "title": "Wash"}]


@pytest.fixture
def settings(committed_url: str, tmp_path: Path) -> Settings:
    return Settings(database_url=committed_url, env="development", data_dir=tmp_path)


@pytest.fixture
async def email(committed: Database, committed_owner: OwnerId) -> str:
    async with committed.read() as session:
        (user,) = await OwnUser(session, committed_owner).get_many([committed_owner])
    assert user.email
    return user.email


async def run(settings: Settings, file: Path, email: str, *, dry_run: bool = False) -> bool:
    return await asyncio.to_thread(import_tasks, settings, file, email=email, dry_run=dry_run)


async def total(committed: Database, owner: OwnerId) -> int:
    async with committed.read() as session:
        return (await Tasks(session, owner).stats()).total


def written(folder: Path, records: Any, encoding: str = "utf-8-sig") -> Path:
    file = folder / "old.json"
    file.write_text(json.dumps(records, ensure_ascii=False), encoding=encoding)
    return file


async def test_import_tasks_prints_a_report(
    settings: Settings,
    committed: Database,
    committed_owner: OwnerId,
    email: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = written(settings.data_dir, {"tasks": OLD})
    assert not await run(settings, file, email, dry_run=True)
    assert "Would be created: 2" in capsys.readouterr().out
    assert await total(committed, committed_owner) == 0
    assert not await run(settings, file, email)
    said = capsys.readouterr().out
    assert "record 1: `title` is empty." in said
    assert "Created: 2   unchanged: 0   rejected: 1" in said
    assert "2 records match the file" in said
    assert await run(settings, written(settings.data_dir, [OLD[0], OLD[2]], "utf-16"), email)
    assert "Created: 0   unchanged: 2   rejected: 0" in capsys.readouterr().out
    assert await total(committed, committed_owner) == 2


async def test_import_tasks_requires_user_and_file(settings: Settings, email: str) -> None:
    with pytest.raises(BadInput, match="not a file"):
        await run(settings, settings.data_dir / "nothing.json", email)
    with pytest.raises(NotFound):
        await run(settings, written(settings.data_dir, OLD), "nobody@example.com")
    with pytest.raises(BadInput, match="no list of tasks"):
        await run(settings, written(settings.data_dir, "nothing"), email)
