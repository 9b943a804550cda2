"""Triggers, policies, views and partitions behave as PostgreSQL lets them, and are told."""

import asyncio

from tests.fixtures.changes import Grid, delete, insert, update

EDITORS = 4
EDITS = 5


async def test_no_edit_of_concurrent_editors_is_lost(grid: Grid) -> None:
    """Each adds its mark to what it has read, and reads again after a conflict."""
    await grid.run("UPDATE goods SET name = '' WHERE id = 1")
    conflicts = 0

    async def edit(mark: str) -> None:
        nonlocal conflicts
        row = {"id": 1, "name": ""}
        for _ in range(EDITS):
            while True:
                change = update({"id": 1}, {"name": row["name"]}, name=f"{row['name']}{mark}")
                answer = await grid.change(change)
                if answer["applied"]:
                    (row,) = answer["rows"]
                    break
                assert answer["error"]["code"] == "CONFLICT", answer
                conflicts += 1
                row = answer["conflicts"][0]["row"]

    await asyncio.gather(*(edit(mark) for mark in "abcdef"[:EDITORS]))
    (row,) = await grid.rows("SELECT name FROM goods WHERE id = 1")
    assert sorted(row["name"]) == sorted("abcdef"[:EDITORS] * EDITS)
    assert conflicts


async def test_change_that_trigger_suppresses_is_not_called_made(grid: Grid) -> None:
    await grid.run("""CREATE OR REPLACE FUNCTION swallow() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN RAISE NOTICE 'swallowed'; RETURN NULL; END $$""")
    await grid.run(
        "CREATE TRIGGER swallows BEFORE INSERT OR UPDATE OR DELETE ON goods FOR EACH ROW "
        "WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION swallow()"
    )
    for change in (
        insert(id=4),
        update({"id": 1}, {"name": "one"}, name="x"),
        delete({"id": 1}, {}),
    ):
        answer = await grid.change(change)
        assert (answer["error"]["code"], answer["errorIndex"]) == ("CONFLICT", 0)
        assert "suppressed" in answer["error"]["message"]
        assert (answer["applied"], answer["conflicts"]) == (False, [])
        assert answer["run"]["notices"] == [{"message": "swallowed"}]
    assert len(await grid.rows("SELECT id FROM goods")) == 3


async def test_trigger_that_changes_the_row_is_seen_in_the_answer(grid: Grid) -> None:
    await grid.run("""CREATE OR REPLACE FUNCTION raised() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN NEW.price := NEW.price * 2; RETURN NEW; END $$""")
    await grid.run(
        "CREATE TRIGGER raises BEFORE INSERT OR UPDATE ON goods FOR EACH ROW "
        "EXECUTE FUNCTION raised()"
    )
    answer = await grid.apply(
        insert(id=4, price="2.5"), update({"id": 1}, {"price": "1.50"}, price="3")
    )
    assert [row["price"] for row in answer["rows"]] == ["5.0", "6"]


async def test_row_hidden_by_policy_is_a_conflict_without_values(grid: Grid) -> None:
    await grid.run("ALTER TABLE goods ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY")
    await grid.run("CREATE POLICY visible ON goods USING (id <> 2) WITH CHECK (id < 9)")
    answer = await grid.change(update({"id": 2}, {"name": "two"}, name="x"))
    assert answer["conflicts"] == [{"index": 0, "row": None}]
    answer = await grid.change(update({"id": 1}, {"name": "one"}, id=9))
    assert (answer["error"]["sqlstate"], answer["errorIndex"]) == ("42501", 0)
    await grid.apply(update({"id": 1}, {"name": "one"}, id=8))


async def test_views_are_changed_by_any_columns_that_match_one_row(grid: Grid) -> None:
    await grid.run("CREATE VIEW cheap AS SELECT name, price, id FROM goods WHERE price < 2")
    answer = await grid.apply(update({"name": "one"}, {"price": "1.50"}, price="1"), table="cheap")
    assert answer["rows"] == [{"name": "one", "price": "1", "id": 1}]
    await grid.apply(insert(id=4, price="1"), table="cheap")
    answer = await grid.change(delete({"price": "1"}, {}), table="cheap")
    assert (answer["error"]["code"], answer["errorIndex"]) == ("CONFLICT", 0)
    assert "more than one row" in answer["error"]["message"]
    answer = await grid.change(update({"price": "1"}, {"id": 77}, id=78), table="cheap")
    assert "more than one row" in answer["error"]["message"]
    await grid.apply(delete({"id": 4}, {}), table="cheap")
    await grid.run("INSERT INTO goods SELECT i, 'n' || i, 0 FROM generate_series(10, 60) AS i")
    for change in (update({"price": "0"}, {}, price="-1"), delete({"price": "0"}, {})):
        answer = await grid.change(insert(id=8, price="1"), change, table="cheap")
        assert (answer["errorIndex"], answer["applied"]) == (1, False)
    await grid.run("DELETE FROM goods WHERE id > 3")
    await grid.run("CREATE VIEW totals AS SELECT sum(price) AS total FROM goods")
    answer = await grid.change(update({"total": "3"}, {}, total="4"), table="totals")
    assert (answer["error"]["sqlstate"], answer["errorIndex"]) == ("55000", 0)


async def test_row_moves_to_another_partition(grid: Grid) -> None:
    await grid.run("DROP TABLE IF EXISTS days")
    await grid.run("CREATE TABLE days (day date PRIMARY KEY, n int) PARTITION BY RANGE (day)")
    for year in (2025, 2026):
        await grid.run(
            f"CREATE TABLE days_{year} PARTITION OF days FOR VALUES "
            f"FROM ('{year}-01-01') TO ('{year + 1}-01-01')"
        )
    await grid.apply(insert(day="2025-05-01", n=1), table="days")
    await grid.apply(update({"day": "2025-05-01"}, {}, day="2026-05-01"), table="days")
    assert await grid.rows("SELECT * FROM days_2026") == [{"day": "2026-05-01", "n": 1}]
    answer = await grid.change(insert(day="2030-01-01"), table="days")
    assert answer["error"]["sqlstate"] == "23514"


async def test_rows_have_the_columns_that_the_role_may_read(grid: Grid) -> None:
    await grid.run("CREATE TABLE IF NOT EXISTS partly (id int PRIMARY KEY, secret text, n int)")
    await grid.run("REVOKE SELECT ON partly FROM ada")
    await grid.run("GRANT SELECT (id, n), INSERT, UPDATE, DELETE ON partly TO ada")
    try:
        answer = await grid.apply(insert(id=1, secret="s", n=2), table="partly")
        assert answer["rows"] == [{"id": 1, "n": 2}]
        moved = await grid.change(update({"id": 1}, {"n": 3}, n=4), table="partly")
        assert moved["conflicts"] == [{"index": 0, "row": {"id": 1, "n": 2}}]
        answer = await grid.change(update({"id": 1}, {"secret": "s"}, secret="t"), table="partly")
        assert (answer["error"]["sqlstate"], answer["errorIndex"]) == ("42501", 0)
    finally:
        await grid.run("DROP TABLE partly")


async def test_rows_are_found_by_a_unique_key_of_many_types(grid: Grid) -> None:
    await grid.run("DROP TABLE IF EXISTS keyed")
    await grid.run("DROP TYPE IF EXISTS spot, hue")
    await grid.run("CREATE TYPE spot AS (x int, y text)")
    await grid.run("CREATE TYPE hue AS ENUM ('red', 'blue')")
    columns = {
        "a": ("spot", '(1,"a b")'),
        "b": ("hue", "red"),
        "c": ("int[]", "{1,2}"),
        "d": ("numeric", "1.0"),
        "e": ("char(4)", "ab  "),
        "f": ("int4range", "[1,5)"),
        "g": ("timestamptz", "2026-01-01 00:00:00+00"),
        "h": ("float4", 0.1),
        "i": ("bool", True),
        "j": ("int8", "9223372036854775807"),
        "k": ("bytea", "\\x00ff"),
        "l": ("jsonb", '{"a": 1.50}'),
        "m": ("bit(3)", "101"),
    }
    made = ", ".join(f"{name} {kind} NOT NULL UNIQUE" for name, (kind, _) in columns.items())
    await grid.run(f"CREATE TABLE keyed ({made}, n int)")
    values = {name: value for name, (_, value) in columns.items()}
    (row,) = (await grid.apply(insert(**values, n=0), table="keyed"))["rows"]
    for count, name in enumerate(columns):
        change = update({name: row[name]}, {"n": count}, n=count + 1)
        (row,) = (await grid.apply(change, table="keyed"))["rows"]
    everything = update(values | {"g": row["g"]}, row, n=1)
    answer = await grid.change(everything, table="keyed")
    assert "not a key" in answer["error"]["message"]
