"""The scripts of docs/deploy/backup on a real database."""

import base64
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from db.objects.store import open_objects
from db.postgres.engine import Database
from tests.db.backup.test_backup import create
from tests.db.backup.test_objects import Files
from tests.fixtures.people import add_person
from tests.fixtures.ship_tools import DEPLOY

SCRIPTS = DEPLOY / "backup"

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="the scripts are for bash 4 and GNU"
)


def run(script: str, environment: dict[str, str]) -> tuple[int, str]:
    clean = {name: value for name, value in os.environ.items() if "HOWDAH" not in name}
    path = f"{Path(sys.executable).parent}:{clean['PATH']}"
    done = subprocess.run(  # noqa: S603
        SCRIPTS / script,
        env=clean | environment | {"PATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout


@pytest.fixture
async def environment(committed: Database, committed_url: str, tmp_path: Path) -> dict[str, str]:
    await create(committed, await add_person(committed, "Ada"), "feed the elephant")
    (tmp_path / "data").mkdir()
    return {
        "HOWDAH_DATABASE_URL": committed_url,
        "HOWDAH_DATA_DIR": str(tmp_path / "data"),
        "HOWDAH_CREDENTIAL_KEY": f"k1:{base64.b64encode(os.urandom(32)).decode()}",
        "HOWDAH_BACKUP_DIR": str(tmp_path / "backups"),
        "HOWDAH_DRILL_DIR": str(tmp_path),
    }


async def test_drill_restores_the_newest_backup(
    environment: dict[str, str], tmp_path: Path
) -> None:
    folder = tmp_path / "backups"
    folder.mkdir()
    for day in range(1, 4):
        (folder / f"howdah-2026010{day}T023000Z.backup").touch()
    code, output = run("howdah-backup", environment | {"HOWDAH_BACKUP_KEEP": "2"})
    assert code == 0, output
    old, new = sorted(path.name for path in folder.iterdir())
    assert old == "howdah-20260103T023000Z.backup"

    standbys = {"HOWDAH_READ_DATABASE_URLS": environment["HOWDAH_DATABASE_URL"]}
    code, output = run("howdah-restore-drill", environment | standbys)
    assert code == 0, output
    assert f"{new} was restored in " in output
    assert "counts and checksums match" in output
    assert list(tmp_path.glob("howdah-drill.*")) == []


async def test_backup_without_the_bytes_of_a_file_removes_no_older_one(
    environment: dict[str, str], committed: Database, tmp_path: Path
) -> None:
    """They may have its only copy. What a killed backup left behind goes."""
    folder = tmp_path / "backups"
    folder.mkdir()
    older = {f"howdah-2026010{day}T023000Z.backup" for day in range(1, 4)}
    for name in older:
        (folder / name).touch()
    for name, age_s in (("killed", 200_000), ("running", 0)):
        part = folder / f"howdah-20260104T023000Z.backup.unfinished-{name}"
        part.touch()
        os.utime(part, (time.time() - age_s,) * 2)
    elsewhere = open_objects(None, data_dir=tmp_path / "elsewhere")
    await Files(committed, elsewhere, await add_person(committed, "Bob")).store(b"film")
    code, output = run("howdah-backup", environment | {"HOWDAH_BACKUP_KEEP": "2"})
    assert (code, "1 files are missing or changed" in output) == (1, True), output
    left = {path.name for path in folder.iterdir()}
    assert older < left
    assert len(left - older) == 2
    assert [name for name in left if "unfinished" in name] == [
        "howdah-20260104T023000Z.backup.unfinished-running"
    ]


async def test_drill_fails_without_a_fresh_backup(
    environment: dict[str, str], tmp_path: Path
) -> None:
    folder = tmp_path / "backups"
    folder.mkdir()
    code, output = run("howdah-restore-drill", environment)
    assert (code, "there is no backup" in output) == (1, True)
    backup = folder / "howdah-20260101T023000Z.backup"
    backup.write_bytes(b"damaged")
    code, output = run("howdah-restore-drill", environment)
    assert code != 0
    assert "was restored" not in output
    os.utime(backup, (1, 1))
    code, output = run("howdah-restore-drill", environment)
    assert (code, "is older than 26 hours" in output) == (1, True)
    assert list(tmp_path.glob("howdah-drill.*")) == []
