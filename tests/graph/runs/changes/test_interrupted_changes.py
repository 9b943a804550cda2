"""What the answer says if a request is cancelled, takes too long or loses its connection."""

import pytest

from tests.fixtures.changes import Grid, insert, update
from tests.fixtures.replicas import CANCEL
from tests.fixtures.session_desk import open_session

ENDS = """CREATE OR REPLACE FUNCTION ends() RETURNS trigger LANGUAGE plpgsql AS
  $$ BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NEW; END $$"""
SLEEPS = """CREATE OR REPLACE FUNCTION sleeps() RETURNS trigger LANGUAGE plpgsql AS
  $$ BEGIN PERFORM pg_sleep(60); RETURN NEW; END $$"""


@pytest.mark.parametrize("when", ["before the commit", "during the commit"])
async def test_lost_connection_says_whether_the_outcome_is_known(grid: Grid, when: str) -> None:
    await grid.run(ENDS)
    deferred = when == "during the commit"
    kind = "CONSTRAINT TRIGGER ended" if deferred else "TRIGGER ended"
    timing = "DEFERRABLE INITIALLY DEFERRED" if deferred else ""
    await grid.run(
        f"CREATE {kind} AFTER UPDATE ON goods {timing} FOR EACH ROW EXECUTE FUNCTION ends()"
    )
    answer = await grid.change(insert(id=4), update({"id": 1}, {"name": "one"}, name="x"))
    assert (answer["applied"], answer["run"]["state"]) == (False, "FAILED")
    assert answer["error"]["sqlstate"] == "57P01"
    if deferred:
        assert answer["error"]["code"] == "UNAVAILABLE"
        assert "either all changes were made, or none" in answer["error"]["hint"]
    else:
        assert answer["error"]["code"] is None
        assert "nothing was changed" in answer["error"]["hint"]
    assert await grid.rows("SELECT name FROM goods WHERE id IN (1, 4)") == [{"name": "one"}]


async def test_answer_that_was_not_awaited_is_read_with_the_same_key(grid: Grid) -> None:
    holder = await open_session(grid.client, grid.connection)
    await holder.do("BEGIN")
    await holder.do("SELECT * FROM goods FOR UPDATE")
    change = update({"id": 1}, {"name": "one"}, name="x")
    first = await grid.change(change, idempotencyKey="a", waitMs=0)
    assert (first["applied"], first["rows"], first["statements"]) == (False, [], [])
    assert first["run"]["state"] in {"QUEUED", "RUNNING"}
    await holder.roll_back()
    again = await grid.change(change, idempotencyKey="a", waitMs=30_000)
    assert (again["replayed"], again["applied"]) == (True, True)
    assert again["rows"] == [{"id": 1, "name": "x", "price": "1.50"}]
    assert again["run"]["id"] == first["run"]["id"]
    await holder.close()


async def test_cancelled_changes_are_undone(grid: Grid) -> None:
    holder = await open_session(grid.client, grid.connection)
    await holder.do("BEGIN")
    await holder.do("SELECT * FROM goods FOR UPDATE")
    change = update({"id": 1}, {"name": "one"}, name="x")
    asked = await grid.change(insert(id=4), change, idempotencyKey="a", waitMs=0)
    cancelled = (await grid.client.ask(CANCEL, id=asked["run"]["id"]))["cancelQuery"]
    assert cancelled["run"]["state"] == "CANCELLED"
    answer = await grid.change(insert(id=4), change, idempotencyKey="a")
    assert (answer["applied"], answer["run"]["state"], answer["rows"]) == (False, "CANCELLED", [])
    await holder.roll_back()
    assert await grid.rows("SELECT name FROM goods WHERE id IN (1, 4)") == [{"name": "one"}]
    await holder.close()


@pytest.mark.parametrize("timing", ["", "DEFERRABLE INITIALLY DEFERRED"])
async def test_changes_that_take_too_long_are_undone(grid: Grid, timing: str) -> None:
    await grid.run(SLEEPS)
    await grid.run(
        f"CREATE CONSTRAINT TRIGGER slow AFTER UPDATE ON goods {timing} FOR EACH ROW "
        "EXECUTE FUNCTION sleeps()"
    )
    answer = await grid.change(
        insert(id=4), update({"id": 1}, {"name": "one"}, name="x"), timeoutMs=500
    )
    assert (answer["applied"], answer["run"]["state"]) == (False, "TIMED_OUT")
    assert answer["error"]["sqlstate"] == "57014"
    assert await grid.rows("SELECT name FROM goods WHERE id IN (1, 4)") == [{"name": "one"}]
    await grid.apply(insert(id=4))
