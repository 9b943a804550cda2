"""`changeRows` makes all changes of a request, or none, and tells which."""

from typing import Any

from tests.fixtures.audit import Doer, brief
from tests.fixtures.changes import CHANGE, Grid, delete, insert, update
from tests.fixtures.clients import Client

EVERYTHING = "SELECT * FROM goods ORDER BY id"
BEFORE: list[dict[str, Any]] = [
    {"id": 1, "name": "one", "price": "1.50"},
    {"id": 2, "name": "two", "price": "2"},
    {"id": 3, "name": None, "price": None},
]
RENAME = update({"id": 1}, {"name": "one"}, name="eins")
MALFORMED: list[list[Any]] = [
    [],
    [{"kind": "INSERT", "key": {"id": 1}, "values": {}}],
    [{"kind": "INSERT", "expected": {"id": 1}, "values": {}}],
    [{"kind": "UPDATE", "expected": {"name": "a"}, "values": {"name": "b"}}],
    [update({"id": None}, {"name": "one"}, name="a")],
    [update({"id": 1}, None, name="a")],
    [update({"id": 1}, {"price": "1.50"}, name="a")],
    [update({"id": 1}, {"name": "one"})],
    [{"kind": "DELETE", "key": {"id": 1}}],
    [{"kind": "DELETE", "key": {"id": 1}, "expected": {}, "values": {"name": "a"}}],
    [{"kind": "DELETE", "key": 1, "expected": {}}],
    [insert(id=[1])],
    [insert(id={"a": 1})],
    [insert(name="\0")],
    [{"kind": "INSERT", "values": {"": 1}}],
]
NOT_ALLOWED: list[tuple[Any, str]] = [
    (update({"name": "one", "id": 1}, {"price": "1.50"}, price="2"), "not a key"),
    (update({"price": "1.50"}, {"name": "one"}, name="a"), "not a key"),
    (update({"id": 1}, {"nam": "one", "name": "one"}, name="a"), "nam"),
    (insert(id=4, Names="a"), "Names"),
    (insert(id=4, twice="a"), "generated"),
    (update({"id": 1}, {"twice": "3.00"}, twice="3"), "generated"),
    (insert(id=4, number=4), "identity"),
]
"""Changes, and what their error says."""


async def test_changes_are_made_in_order_and_answer_the_new_rows(grid: Grid) -> None:
    answer = await grid.apply(
        update({"id": 1}, {"name": "one", "price": "1.50"}, name="eins", price="1.5"),
        delete({"id": 2}, {"name": "two", "price": "2"}),
        insert(id=2, name="zwei"),
        update({"id": 3}, {"name": None, "price": None}, price="1e3", id=33),
        update({"id": 33}, {"name": None}, name="dreiunddreißig"),
        insert(id=4),
    )
    assert answer["rows"] == [
        {"id": 1, "name": "eins", "price": "1.5"},
        None,
        {"id": 2, "name": "zwei", "price": None},
        {"id": 33, "name": None, "price": "1000"},
        {"id": 33, "name": "dreiunddreißig", "price": "1000"},
        {"id": 4, "name": None, "price": None},
    ]
    run = answer["run"]
    assert (run["state"], run["command"], run["rowsAffected"]) == ("SUCCEEDED", "COMMIT", 6)
    assert run["statement"] == "-- changeRows public.goods: 2 INSERT, 3 UPDATE, 1 DELETE"
    last = [answer["rows"][each] for each in (0, 2, 5, 4)]
    assert await grid.rows(EVERYTHING) == last
    assert answer["statements"][0] == (
        'UPDATE "public"."goods" SET "name" = \'eins\', "price" = \'1.5\' WHERE "id" = 1 AND '
        '"name" COLLATE "C" IS NOT DISTINCT FROM \'one\' AND '
        "pg_catalog.format('%s', \"price\") COLLATE \"C\" = '1.50' "
        'RETURNING "id", "name", "price"'
    )
    assert answer["statements"][1] == (
        'DELETE FROM "public"."goods" WHERE "id" = 2 AND '
        '"name" COLLATE "C" IS NOT DISTINCT FROM \'two\' AND '
        "pg_catalog.format('%s', \"price\") COLLATE \"C\" = '2'"
    )


async def test_statements_of_answer_do_the_same_one_by_one(grid: Grid) -> None:
    changes = [
        update({"id": 1}, {"name": "one"}, name="o'n\\e\n"),
        insert(id=4, name='; DROP TABLE goods; -- "'),
        delete({"id": 2}, {"price": "2"}),
    ]
    statements = (await grid.change(*changes, dryRun=True))["statements"]
    assert await grid.rows(EVERYTHING) == BEFORE
    for statement in statements:
        await grid.run(statement)
    found = await grid.rows(EVERYTHING)
    await grid.run("DELETE FROM goods")
    await grid.run("INSERT INTO goods VALUES (1, 'one', 1.50), (2, 'two', 2), (3, NULL, NULL)")
    await grid.apply(*changes)
    assert await grid.rows(EVERYTHING) == found
    assert found[0]["name"] == "o'n\\e\n"


async def test_row_that_moved_on_is_conflict_with_present_values(grid: Grid) -> None:
    await grid.run("UPDATE goods SET price = 1.5 WHERE id = 1")
    await grid.run("DELETE FROM goods WHERE id = 2")
    answer = await grid.change(
        insert(id=9, name="nine"),
        update({"id": 1}, {"price": "1.50"}, price="7"),
        delete({"id": 2}, {"name": "two"}),
        update({"id": 3}, {"name": None}, name="three"),
    )
    assert answer["conflicts"] == [
        {"index": 1, "row": {"id": 1, "name": "one", "price": "1.5"}},
        {"index": 2, "row": None},
    ]
    assert (answer["error"]["code"], answer["errorIndex"]) == ("CONFLICT", None)
    assert (answer["applied"], answer["rows"], len(answer["statements"])) == (False, [], 4)
    assert answer["run"]["state"] == "FAILED"
    assert [row["id"] for row in await grid.rows(EVERYTHING)] == [1, 3]
    row = answer["conflicts"][0]["row"]
    again = await grid.apply(update({"id": 1}, row, price="7"))
    assert again["rows"] == [row | {"price": "7"}]


async def test_failure_at_any_position_leaves_nothing(grid: Grid) -> None:
    for at in range(4):
        changes = [RENAME, insert(id=4), delete({"id": 3}, {})]
        changes.insert(at, insert(id=5, name="two"))
        answer = await grid.change(*changes)
        assert answer["errorIndex"] == at
        error = answer["error"]
        assert (error["sqlstate"], error["constraint"]) == ("23505", "goods_name_key")
        assert (answer["applied"], answer["rows"], answer["conflicts"]) == (False, [], [])
        assert len(answer["statements"]) == 4
        assert await grid.rows(EVERYTHING) == BEFORE


async def test_deferred_constraint_at_commit_leaves_nothing(grid: Grid) -> None:
    await grid.run(
        "CREATE TABLE IF NOT EXISTS parts (of int REFERENCES goods DEFERRABLE INITIALLY DEFERRED)"
    )
    for dry_run in (True, False):
        answer = await grid.change(insert(of=1), insert(of=77), table="parts", dryRun=dry_run)
        assert (answer["error"]["sqlstate"], answer["errorIndex"]) == ("23503", None)
        assert not answer["applied"]
    assert await grid.rows("SELECT * FROM parts") == []
    await grid.run("DROP TABLE parts")


async def test_dry_run_finds_what_would_happen_and_changes_nothing(grid: Grid) -> None:
    answer = await grid.change(RENAME, insert(id=4), dryRun=True)
    assert (answer["applied"], answer["error"]) == (False, None)
    assert answer["rows"] == [BEFORE[0] | {"name": "eins"}, {"id": 4, "name": None, "price": None}]
    run = answer["run"]
    assert (run["state"], run["command"], run["rowsAffected"]) == ("SUCCEEDED", "ROLLBACK", None)
    refused = await grid.change(update({"id": 1}, {"name": "x"}, name="y"), dryRun=True)
    assert refused["conflicts"] == [{"index": 0, "row": BEFORE[0]}]
    refused = await grid.change(insert(id=1), dryRun=True)
    assert (refused["error"]["sqlstate"], refused["errorIndex"]) == ("23505", 0)
    assert await grid.rows(EVERYTHING) == BEFORE


async def test_idempotency_key_returns_the_first_answer(grid: Grid) -> None:
    changes = [insert(id=4), RENAME]
    first = await grid.apply(*changes, idempotencyKey="a")
    again = await grid.change(*changes, idempotencyKey="a")
    assert again == first | {"replayed": True}
    other = await grid.client.send(
        CHANGE, input=grid.asked(insert(id=5), table="goods", idempotencyKey="a")
    )
    assert other.code == "CONFLICT"
    conflict = await grid.change(RENAME, idempotencyKey="b")
    assert conflict["conflicts"]
    assert await grid.change(RENAME, idempotencyKey="b") == conflict | {"replayed": True}


async def test_change_that_table_does_not_allow_is_refused(grid: Grid) -> None:
    await grid.run(
        "ALTER TABLE goods ADD twice numeric GENERATED ALWAYS AS (price * 2) STORED, "
        "ADD number int GENERATED ALWAYS AS IDENTITY"
    )
    for change, said in NOT_ALLOWED:
        answer = await grid.change(RENAME, change)
        error = answer["error"]
        assert (error["code"], answer["errorIndex"]) == ("BAD_USER_INPUT", 1), answer
        assert said in error["message"]
        assert (answer["applied"], answer["statements"]) == (False, [])
        hints = {"nam": "Did you mean name?", "Names": "Did you mean name?", "not a key": "(id)"}
        assert hints.get(said, "Omit the column") in error["hint"]
    assert (await grid.rows("SELECT name FROM goods WHERE id = 1")) == [{"name": "one"}]


async def test_unknown_table_is_refused_with_names_like_it(grid: Grid) -> None:
    answer = await grid.change(insert(id=1), table="good")
    assert "Did you mean goods?" in answer["error"]["hint"]
    answer = await grid.change(insert(id=1), schemaName="publik")
    assert "There is public.goods." in answer["error"]["hint"]
    await grid.run("CREATE MATERIALIZED VIEW old_goods AS SELECT * FROM goods")
    answer = await grid.change(insert(id=1), table="old_goods")
    assert "materialized view" in answer["error"]["message"]
    await grid.run("CREATE TABLE IF NOT EXISTS keyless (id int, note text)")
    answer = await grid.change(delete({"id": 1}, {}), table="keyless")
    assert "no key" in answer["error"]["message"]
    assert (await grid.apply(insert(id=1), table="keyless"))["rows"] == [{"id": 1, "note": None}]


async def test_malformed_change_is_bad_input(grid: Grid) -> None:
    for changes in MALFORMED:
        answer = await grid.client.send(CHANGE, input=grid.asked(*changes, table="goods"))
        error = answer.errors[0]["extensions"]
        assert (answer.code, error["field"]) == ("BAD_USER_INPUT", "changes"), changes
        assert error["hint"]


async def test_too_many_changes_are_refused_and_a_thousand_are_made(grid: Grid) -> None:
    many = [insert(id=10 + i, name=f"n{i}") for i in range(1001)]
    answer = await grid.client.send(CHANGE, input=grid.asked(*many, table="goods"))
    assert answer.code == "TOO_LARGE"
    made = await grid.apply(*many[:1000])
    assert [row["id"] for row in made["rows"]] == list(range(10, 1010))
    assert await grid.rows("SELECT count(*)::int AS n FROM goods") == [{"n": 1003}]


async def test_rows_beyond_the_limit_are_made_but_not_returned(grid: Grid) -> None:
    await grid.run("ALTER TABLE goods ADD text text")
    await grid.run("UPDATE goods SET text = repeat('ä', 2500000) WHERE id < 3")
    changes = [update({"id": i}, {"price": p}, price=str(i)) for i, p in ((1, "1.50"), (2, "2"))]
    answer = await grid.apply(*changes)
    assert [row and row["id"] for row in answer["rows"]] == [1, None]
    assert answer["run"]["truncated"] == {"reason": "MAX_BYTES"}
    assert await grid.rows("SELECT price FROM goods WHERE id = 2") == [{"price": "2"}]


async def test_names_are_quoted(grid: Grid) -> None:
    table, column = "we\"ird; DROP TABLE goods; --\n'", "Col'um\"n\\"
    quoted = '"' + table.replace('"', '""') + '"'
    name = '"' + column.replace('"', '""') + '"'
    await grid.run(f"DROP TABLE IF EXISTS {quoted}")
    await grid.run(f'CREATE TABLE {quoted} ({name} int, "ID" text, PRIMARY KEY ({name}, "ID"))')
    made = await grid.apply(insert(**{column: 1, "ID": "'\\'"}), table=table)
    assert made["rows"] == [{column: 1, "ID": "'\\'"}]
    key = {"ID": "'\\'", column: 1}
    made = await grid.apply(update(key, {}, **{column: 2}), table=table)
    assert made["rows"] == [{column: 2, "ID": "'\\'"}]
    await grid.apply(delete(key | {column: 2}, {}), table=table)
    assert await grid.rows(f"TABLE {quoted}") == []
    assert await grid.rows(EVERYTHING) == BEFORE


async def test_key_that_result_names_is_accepted(grid: Grid) -> None:
    """Also of a unique index whose column is of a domain that is NOT NULL."""
    await grid.run("DROP TABLE IF EXISTS keys")
    await grid.run("DROP DOMAIN IF EXISTS code")
    await grid.run("CREATE DOMAIN code AS text NOT NULL")
    await grid.run("CREATE TABLE keys (a code UNIQUE, b int, c int, UNIQUE (c) INCLUDE (b))")
    await grid.run("INSERT INTO keys VALUES ('x', 1, 2)")
    run = await grid.run("SELECT * FROM keys")
    assert run["editable"]["keyColumns"] == ["a"]
    await grid.apply(update({"a": "x"}, {"b": 1}, b=2), table="keys")
    answer = await grid.change(update({"c": 2}, {"b": 2}, b=3), table="keys")
    assert "(a)" in answer["error"]["hint"]


async def test_audit_log_has_the_table_and_no_value(grid: Grid, admin: Client) -> None:
    secret = update({"id": 1}, {"name": "one"}, name="4f1d-secret")
    asked = grid.asked(secret, table="goods")
    event = await Doer(grid.client).event(admin, CHANGE, input=asked)
    assert brief(event) == ("QUERY_RUN", "SUCCEEDED")
    assert event["details"]["statement"] == "-- changeRows public.goods: 1 UPDATE"
    conflict = await Doer(grid.client).event(admin, CHANGE, input=asked)
    assert brief(conflict) == ("QUERY_RUN", "FAILED")
    assert "secret" not in str([event, conflict])


async def test_read_only_connection_and_other_users_are_refused(grid: Grid, bob: Client) -> None:
    asked = grid.asked(RENAME, table="goods")
    assert (await bob.send(CHANGE, input=asked)).code == "FORBIDDEN"
    save = "mutation($input: SaveConnectionInput!) { saveConnection(input: $input) { __typename } }"
    await grid.client.ask(save, input={"id": grid.connection, "readOnly": True})
    answer = await grid.client.send(CHANGE, input=asked)
    assert (answer.code, bool(answer.errors[0]["extensions"]["hint"])) == ("FORBIDDEN", True)
    assert (await grid.client.send(CHANGE, input=asked | {"dryRun": True})).code == "FORBIDDEN"
