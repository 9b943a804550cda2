"""What the answer says if a request is cancelled, takes too long or loses its connection."""

import pytest

from tests.fixtures.changes import Grid, insert, update

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
