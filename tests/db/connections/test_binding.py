"""Changes of a connection invalidate the stored secrets that are bound to it."""

import asyncio
from typing import Any

import pytest
from sqlalchemy import text

from db.connections import (
    SECRETS,
    SecretRequired,
    check_binding,
    parse_draft,
    secret_locations,
    with_defaults,
)
from db.connections.binding import BOUND_TO, DATABASE
from db.connections.repository import DatabaseConnection
from db.errors import Conflict
from db.kit.base import OwnerId, new_id
from db.postgres.engine import Database
from db.postgres.statements import compile_statement
from tests.db.connections.test_drafts import WHOLE
from tests.db.connections.test_repository import ConnectionOwner
from tests.fixtures.workbench import until

BEFORE: dict[str, Any] = with_defaults(WHOLE) | {
    "ssh_host": "bastion.example.com",
    "ssh_port": 22,
    "ssh_username": "ada",
    "ssh_auth_method": "PASSWORD",
    "ssh_host_key_fingerprint": "SHA256:known",
}
FREE = {"name", "database", "read_only", "statement_timeout_ms", "ssh_auth_method"}
FIELDS = {
    "password": "password",
    "ssh_password": "sshTunnel.password",
    "ssh_private_key": "sshTunnel.privateKey",
}
_WAITING = compile_statement(
    text(
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
)


def change_of(column: str) -> dict[str, Any]:
    return BEFORE | {column: 1 if column.endswith("port") else "another"}


def test_binding_covers_every_column_of_a_connection() -> None:
    """A new column must be listed: either a secret is bound to it, or it is known to be free."""
    table = DatabaseConnection.__table__
    ours = {"id", "owner_id", "sort_name", "version", "created_at", "updated_at"}
    ours |= {"last_connected_at", "secrets_version", "disconnect_count"}
    ours |= {f"sealed_{name}" for name in SECRETS}
    assert {column.name for column in table.columns} == ours | FREE | set(DATABASE)
    assert set(BOUND_TO) == set(SECRETS)


@pytest.mark.parametrize("secret", BOUND_TO)
@pytest.mark.parametrize("column", sorted({*DATABASE, *FREE}))
def test_binding_of_secret_covers_its_columns_only(secret: str, column: str) -> None:
    after = change_of(column)
    places = [secret_locations(values, row=ROW, owner=OWNER)[secret] for values in (BEFORE, after)]
    if column not in BOUND_TO[secret]:
        check_binding(BEFORE, after, stored={secret}, entered=())
        assert places[0] == places[1]
        return
    with pytest.raises(SecretRequired) as caught:
        check_binding(BEFORE, after, stored={secret}, entered=())
    assert caught.value.field == FIELDS[secret]
    assert places[0] != places[1]
    check_binding(BEFORE, after, stored={secret}, entered={secret})
    check_binding(BEFORE, after, stored=(), entered=())


ROW, OWNER = new_id(), OwnerId(new_id())


def test_binding_error_names_changed_fields() -> None:
    after = BEFORE | {"host": "other", "port": 1, "ssl_mode": "REQUIRE"}
    with pytest.raises(SecretRequired, match="`host`, `port` and `sslMode` changed"):
        check_binding(BEFORE, after, stored=SECRETS, entered=())


@pytest.fixture
def desk(committed: Database, committed_owner: OwnerId) -> ConnectionOwner:
    return ConnectionOwner(committed, committed_owner)


async def test_change_refuses_secret_sealed_for_changed_destination(desk: ConnectionOwner) -> None:
    seen = await desk.create()
    await desk.change(seen, host="other.example.com")
    with pytest.raises(Conflict, match="changed at the same time"):
        await desk.change(seen, {"sealed_password": b"for the first"}, password="x", port=5433)
    assert (await desk.seals(seen)).stored_secrets == set()
    renamed = await desk.change(seen, name="Renamed")
    assert (renamed.host, renamed.name) == ("other.example.com", "Renamed")


@pytest.mark.parametrize(
    ("first", "second", "error"),
    [
        ({"password": "typed"}, {"host": "other.example.com"}, SecretRequired),
        ({"host": "other.example.com"}, {"password": "typed"}, Conflict),
        ({"host": "other.example.com"}, {"port": 1, "password": "typed"}, Conflict),
    ],
)
async def test_change_is_safe_under_concurrency(
    desk: ConnectionOwner, first: dict[str, Any], second: dict[str, Any], error: type[Exception]
) -> None:
    """The second change begins after the first has updated the row, before its commit."""
    seen = await desk.create()
    drafts = [await parse_draft(given) for given in (first, second)]
    seals: list[dict[str, bytes | None]] = [
        {f"sealed_{name}": b"sealed" for name in taken.secrets} for taken in drafts
    ]

    async def second_waits() -> bool:
        async with desk.database.read() as session:
            return int(await session.value(_WAITING)) == 1

    async def work(connections: Any) -> asyncio.Task[Any]:
        await connections.change(seen, drafts[0], seals[0], agent=False)
        overlapping = asyncio.create_task(
            desk.do(lambda c: c.change(seen, drafts[1], seals[1], agent=False))
        )
        await until(second_waits)
        return overlapping

    overlapping = await desk.do(work)
    with pytest.raises(error):
        await overlapping
    row, _ = await desk.do(lambda c: c.with_secrets(seen.id))
    assert row.version == 2
