from typing import Any

import pytest

from db.connections import ConnectionRow, Connections, parse_draft
from db.errors import BadInput, Conflict, Forbidden, NotFound
from db.kit.base import OwnerId, new_id
from db.kit.lists.paging import Window
from db.postgres.engine import Database
from tests.db.connections.test_drafts import TUNNEL, WHOLE


class ConnectionOwner:
    """An owner, each of whose calls runs in its own transaction, as in the application."""

    def __init__(self, database: Database, owner: OwnerId) -> None:
        self.database = database
        self.owner = owner

    async def do(self, work: Any) -> Any:
        return await self.database.transaction(
            lambda session: work(Connections(session, self.owner))
        )

    async def create(self, sealed: dict[str, bytes | None] | None = None, **given: Any) -> Any:
        taken = await parse_draft(WHOLE | given)
        return await self.do(
            lambda c: c.create(new_id(), taken, sealed or {}, agent=False),
        )

    async def change(
        self,
        row: ConnectionRow,
        sealed: dict[str, bytes | None] | None = None,
        expected_version: int | None = None,
        **given: Any,
    ) -> Any:
        taken = await parse_draft(given)
        return (
            await self.do(
                lambda c: c.change(
                    row, taken, sealed or {}, agent=False, expected_version=expected_version
                )
            )
        ).row

    async def seals(self, row: ConnectionRow) -> Any:
        return (await self.do(lambda c: c.with_secrets(row.id)))[1]


@pytest.fixture
def mine(database: Database, owner: OwnerId) -> ConnectionOwner:
    return ConnectionOwner(database, owner)


@pytest.fixture
def theirs(database: Database, other_owner: OwnerId) -> ConnectionOwner:
    return ConnectionOwner(database, other_owner)


async def test_connection_is_stored_without_readable_secrets(mine: ConnectionOwner) -> None:
    row = await mine.create({"sealed_password": b"sealed"}, ssh_tunnel=TUNNEL, read_only=True)
    assert await mine.do(lambda c: c.get(row.id)) == row
    assert (row.name, row.port, row.read_only, row.version) == ("Orders", 5432, True, 1)
    assert (row.ssh_host, row.ssh_port) == ("bastion.example.com", 22)
    assert row.has_stored_password
    assert b"sealed" not in row
    assert (await mine.seals(row)).sealed_password == b"sealed"


async def test_change_keeps_absent_and_clears_null_fields(mine: ConnectionOwner) -> None:
    row = await mine.create(
        {"sealed_password": b"sealed"}, ssh_tunnel=TUNNEL, statement_timeout_ms=5
    )
    changed = await mine.change(row, database="invoices")
    assert changed == row._replace(database="invoices", version=2, updated_at=changed.updated_at)
    cleared = await mine.change(
        row, {"sealed_password": None}, password=None, ssh_tunnel=None, statement_timeout_ms=None
    )
    assert (cleared.ssh_host, cleared.statement_timeout_ms) == (None, None)
    assert not cleared.has_stored_password


async def test_change_is_validated_as_a_whole(mine: ConnectionOwner) -> None:
    row = await mine.create()
    with pytest.raises(BadInput, match="authority"):
        await mine.change(row, ssl_mode="VERIFY_CA")
    keyed = TUNNEL | {"auth_method": "PRIVATE_KEY"}
    with pytest.raises(BadInput, match="private key"):
        await mine.change(row, ssh_tunnel=keyed)
    await mine.change(row, {"sealed_ssh_private_key": b"key"}, ssh_tunnel=keyed)
    with pytest.raises(BadInput, match="private key"):
        await mine.change(row, {"sealed_ssh_private_key": None})


async def test_change_detects_lost_update(mine: ConnectionOwner) -> None:
    row = await mine.create()
    await mine.change(row, expected_version=1, name="Invoices")
    with pytest.raises(Conflict):
        await mine.change(row, expected_version=1, name="Returns")


async def test_last_connected_is_no_change_of_version(mine: ConnectionOwner) -> None:
    row = await mine.create()
    await mine.do(lambda c: c.record_connected(row.id))
    found = await mine.do(lambda c: c.get(row.id))
    assert found.last_connected_at is not None
    assert found == row._replace(last_connected_at=found.last_connected_at)


async def test_connection_of_other_owner_is_not_found(
    mine: ConnectionOwner, theirs: ConnectionOwner
) -> None:
    row = await theirs.create({"sealed_password": b"sealed"})
    assert await mine.do(lambda c: c.get(row.id)) is None
    with pytest.raises(Forbidden):
        await mine.seals(row)
    assert await mine.do(lambda c: c.count()) == 0
    with pytest.raises(Forbidden):
        await mine.change(row, name="Mine")
    with pytest.raises(Forbidden):
        await mine.do(lambda c: c.remove(row.id))
    await mine.do(lambda c: c.record_connected(row.id))
    assert await theirs.do(lambda c: c.get(row.id)) == row
    with pytest.raises(NotFound):
        await mine.do(lambda c: c.remove(new_id()))


async def test_connections_are_listed_by_name_case_insensitively(mine: ConnectionOwner) -> None:
    for name in ("beta", "Alpha", "ALPHA two", "gamma"):
        await mine.create(name=name)
    page = await mine.do(lambda c: c.page(Window(3)))
    assert [row.name for row in page.rows] == ["Alpha", "ALPHA two", "beta"]
    rest = await mine.do(lambda c: c.page(Window(3, after=page.cursor(-1))))
    assert [row.name for row in rest.rows] == ["gamma"]
