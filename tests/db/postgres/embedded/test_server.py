"""The embedded PostgreSQL without faults: created, restarted, closed, or refused."""

import asyncio
import re
import shutil
import socket
from pathlib import Path

import pytest

from db.errors import Unavailable
from db.postgres.embedded import EmbeddedPostgres, binaries, binary, processes, server
from tests.fixtures.cluster import open_fast, query


async def test_new_cluster_has_checksums_and_no_trust(tmp_path: Path) -> None:
    async with await open_fast(tmp_path / "new") as opened:
        assert opened.findings == ()
        assert opened.version == await query(opened, "show server_version")
        assert await query(opened, "show data_checksums") == "on"
        rules = "select string_agg(distinct auth_method, ',') from pg_hba_file_rules"
        assert await query(opened, rules) == "scram-sha-256"
        password = tmp_path / "new" / "password"
        assert password.stat().st_mode & 0o777 == 0o600
        assert password.read_text().strip() in opened.url
    shutil.rmtree(tmp_path / "new")


async def test_folder_may_have_any_path(tmp_path: Path) -> None:
    folder = tmp_path.joinpath("with spaces", "Élefant 象", 'it\'s "quoted"', *["long" * 50] * 3)
    async with await open_fast(folder) as opened:
        await query(opened, "create table kept as select 42 as n")
    async with await open_fast(folder) as opened:
        assert await query(opened, "select n from kept") == 42
    shutil.rmtree(folder)


async def test_close_ends_all_processes_and_keeps_the_data(data_dir: Path) -> None:
    async with await open_fast(data_dir) as opened:
        assert await query(opened, "select n from kept") == 42
        assert opened.findings == ()
        assert processes.find(processes.marker(data_dir))
    assert not processes.find(processes.marker(data_dir))
    assert not (data_dir / "server.json").exists()


async def test_fsync_is_on_by_default(data_dir: Path) -> None:
    async with await EmbeddedPostgres.open(data_dir) as opened:
        assert await query(opened, "show fsync") == "on"


async def test_terminate_keeps_committed_data(data_dir: Path) -> None:
    opened = await EmbeddedPostgres.open(data_dir)
    await query(opened, "create table committed as select 1 as n")
    opened.terminate()
    opened.terminate()  # a second call has no effect
    assert not processes.find(processes.marker(data_dir))
    async with await open_fast(data_dir) as again:
        assert await query(again, "select n from committed") == 1
        await query(again, "drop table committed")


async def test_cancelled_open_leaves_no_process(data_dir: Path) -> None:
    opening = asyncio.create_task(open_fast(data_dir))
    while not processes.find(processes.marker(data_dir)):  # noqa: ASYNC110 - nothing to wait on
        await asyncio.sleep(0.001)
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    assert not processes.find(processes.marker(data_dir))
    async with await open_fast(data_dir) as opened:
        assert await query(opened, "select n from kept") == 42


async def test_locked_folder_error_names_the_server(data_dir: Path) -> None:
    async with await open_fast(data_dir) as opened:
        opened.announce("http://127.0.0.1:8000/graphql")
        with pytest.raises(Unavailable) as refused:
            await open_fast(data_dir)
        said = refused.value.message
        assert re.search(r"pid \d+, since \d{4}-\d\d-\d\dT", said)
        assert "http://127.0.0.1:8000/graphql" in said
        assert str(data_dir) in said
        assert await query(opened, "select n from kept") == 42


async def test_port_in_use_is_avoided(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        ports = [taken, server._free_port()]
        monkeypatch.setattr(server, "_free_port", lambda: ports.pop(0))
        async with await open_fast(data_dir) as opened:
            assert ports == []
            assert f":{taken}/" not in opened.url
            assert await query(opened, "select n from kept") == 42


async def test_lost_password_is_replaced(data_dir: Path) -> None:
    before = (data_dir / "password").read_text()
    (data_dir / "password").unlink()
    async with await open_fast(data_dir) as opened:
        assert await query(opened, "select n from kept") == 42
        assert opened.findings == ("The password file was missing: a new password was set.",)
    assert (data_dir / "password").read_text() != before


async def test_wrong_password_error_does_not_show_it(data_dir: Path) -> None:
    password = (data_dir / "password").read_text()
    (data_dir / "password").write_text("not-the-one")
    with pytest.raises(Unavailable, match="is not the password of the cluster") as refused:
        await open_fast(data_dir)
    (data_dir / "password").write_text(password)
    assert "Delete the file `password`" in refused.value.hint
    assert "not-the-one" not in f"{refused.value.message} {refused.value.hint}"


async def test_client_programs_run_on_the_cluster(data_dir: Path, tmp_path: Path) -> None:
    dump = tmp_path / "dump"
    async with await open_fast(data_dir) as opened:
        await opened.run("pg_dump", "--format=custom", "--file", dump)
        assert "TABLE DATA public kept" in await opened.run("pg_restore", "--list", dump)
        with pytest.raises(Unavailable, match=r"pg_dump failed: .*no matching tables"):
            await opened.run("pg_dump", "--table=no_such_table")
    with pytest.raises(Unavailable, match="no program 'pg_dunno'"):
        binary("pg_dunno")


async def test_missing_extra_creates_no_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(binaries, "find_spec", lambda _: None)
    with pytest.raises(Unavailable, match="not installed") as refused:
        await open_fast(tmp_path / "data")
    assert "howdah[embedded]" in refused.value.hint
    assert "HOWDAH_DATABASE_URL" in refused.value.hint
    assert list(tmp_path.iterdir()) == []


async def test_unusable_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Unavailable, match="file/data cannot be used: Not a directory") as refused:
        await open_fast(tmp_path / "file" / "data")
    assert "HOWDAH_DATA_DIR" in refused.value.hint
