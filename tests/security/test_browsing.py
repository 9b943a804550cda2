"""Browsing a database runs nothing that someone else has made in it."""

from collections.abc import AsyncIterator

import asyncpg
import pytest

from db.kit.base import OwnerId
from db.services import Services
from db.workbench.connections.libpq import fetch_value
from db.workbench.execution.statement import statement_stop
from db.workbench.execution.statement.lender import TERMINATE
from db.workbench.sessions import backend_termination
from graph.kit.ids import parse_id
from tests.fixtures.clients import Client
from tests.fixtures.factories import make_connection
from tests.fixtures.hostile_postgres import hostile_postgres
from tests.fixtures.targets import CANARY, POSTGRES, Target

# Each fits the types of one of our statements better than what PostgreSQL has, or hides it.
TRAPS = """
CREATE SCHEMA trap;
GRANT USAGE ON SCHEMA trap TO PUBLIC;
CREATE TYPE public.mood AS ENUM ('ok');
CREATE TABLE public.crates (id int PRIMARY KEY, mood mood CHECK (mood IS NOT NULL));
CREATE VIEW public.large AS SELECT id, mood FROM crates WHERE id > 10;
CREATE FUNCTION public.note() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN new; END';
CREATE TRIGGER noted AFTER INSERT OR UPDATE OF id ON public.crates
  FOR EACH ROW EXECUTE FUNCTION public.note();
GRANT SELECT ON public.crates, public.large TO PUBLIC;
CREATE FUNCTION trap.sprung() RETURNS boolean LANGUAGE plpgsql
  AS $$ BEGIN
    PERFORM pg_catalog.nextval('trap.calls');  -- which no rollback undoes
    RAISE 'the function of a stranger ran as %', current_user;
  END $$;
CREATE SEQUENCE trap.calls;
GRANT USAGE ON trap.calls TO PUBLIC;
CREATE FUNCTION public.is_less(real, int) RETURNS boolean LANGUAGE sql AS 'SELECT trap.sprung()';
CREATE OPERATOR public.< (LEFTARG = real, RIGHTARG = int, FUNCTION = public.is_less);
CREATE FUNCTION public.both(smallint, int) RETURNS int LANGUAGE sql AS 'SELECT trap.sprung()::int';
CREATE OPERATOR public.& (LEFTARG = smallint, RIGHTARG = int, FUNCTION = public.both);
CREATE FUNCTION public.at_least(oid, int) RETURNS boolean LANGUAGE sql AS 'SELECT trap.sprung()';
CREATE OPERATOR public.>= (LEFTARG = oid, RIGHTARG = int, FUNCTION = public.at_least);
CREATE FUNCTION public.unnest(oid[]) RETURNS SETOF oid LANGUAGE sql
  AS 'SELECT trap.sprung()::int::oid';
CREATE FUNCTION public.array_remove(text[], text) RETURNS text[] LANGUAGE sql
  AS 'SELECT ARRAY[trap.sprung()::text]';
"""
HIDDEN = """
CREATE FUNCTION trap.equal(oid, oid) RETURNS boolean LANGUAGE sql AS 'SELECT trap.sprung()';
CREATE OPERATOR trap.= (LEFTARG = oid, RIGHTARG = oid, FUNCTION = trap.equal);
CREATE FUNCTION trap.equal(int, int) RETURNS boolean LANGUAGE sql AS 'SELECT trap.sprung()';
CREATE OPERATOR trap.= (LEFTARG = int, RIGHTARG = int, FUNCTION = trap.equal);
CREATE FUNCTION trap.equal(name, name) RETURNS boolean LANGUAGE sql AS 'SELECT trap.sprung()';
CREATE OPERATOR trap.= (LEFTARG = name, RIGHTARG = name, FUNCTION = trap.equal);
CREATE FUNCTION trap.set_config(text, text, boolean) RETURNS text LANGUAGE sql
  AS 'SELECT trap.sprung()::text';
CREATE VIEW trap.pg_stat_ssl AS
  SELECT * FROM pg_catalog.pg_stat_ssl WHERE trap.sprung();
CREATE VIEW trap.pg_stat_activity AS
  SELECT * FROM pg_catalog.pg_stat_activity WHERE trap.sprung();
GRANT SELECT ON ALL TABLES IN SCHEMA trap TO PUBLIC;
CREATE DOMAIN trap.text AS pg_catalog.text CHECK (trap.sprung());
CREATE DOMAIN trap.int8 AS pg_catalog.int8 CHECK (trap.sprung());
CREATE FUNCTION trap.pg_terminate_backend(int) RETURNS boolean LANGUAGE sql
  AS 'SELECT trap.sprung()';
CREATE FUNCTION trap.pg_cancel_backend(int) RETURNS boolean LANGUAGE sql AS 'SELECT trap.sprung()';
CREATE VIEW trap.pg_class AS SELECT * FROM pg_catalog.pg_class WHERE trap.sprung();
CREATE VIEW trap.pg_namespace AS SELECT * FROM pg_catalog.pg_namespace WHERE trap.sprung();
GRANT SELECT ON trap.pg_class, trap.pg_namespace TO PUBLIC;
ALTER DATABASE trapped SET search_path = trap, public, pg_catalog;
"""
BROWSED = """query($id: ID!) { connection(id: $id) {
  readOnlyRisks { kind }
  search(text: "crates", first: 5) { kind name node { id } }
  completions(text: "SELECT * FROM cra", cursor: 17, first: 5) { label }
  schemas(first: 10) { totalCount nodes { name owner privileges } }
  extensions(first: 10) { nodes { name } }
  schema(name: "public") {
    definition
    tables(first: 10) { totalCount nodes { name rowEstimate } }
    functions(first: 10) { nodes { id signature definition } }
    types(first: 10) { nodes { name kind labels definition } }
    sequences(first: 10) { nodes { name lastValue } }
    view: table(name: "large") { query definition }
    table(name: "crates") {
      id owner definition privileges sizeBytes partitionKey
      columns { id name type default } indexes { name columns definition }
      constraints { name kind clause definition } triggers { name events columns definition }
      policies { name roles }
    }
  }
} }"""


@pytest.fixture(params=["beside", "before"])
async def trapped(request: pytest.FixtureRequest, target: Target) -> AsyncIterator[Target]:
    """A database prepared by its owner, with traps beside or before what PostgreSQL has."""
    await target.administer("CREATE DATABASE trapped")
    connection = await asyncpg.connect(
        host="127.0.0.1", port=target.port, user="postgres", password=POSTGRES, database="trapped"
    )
    await connection.execute(TRAPS + (HIDDEN if request.param == "before" else ""))
    yield target
    calls = await connection.fetchval("SELECT is_called FROM trap.calls")
    await connection.close()
    await target.administer("DROP DATABASE trapped WITH (FORCE)")
    assert calls is False


async def connect(client: Client, trapped: Target) -> str:
    return await make_connection(
        client,
        host="localhost",
        port=trapped.port,
        database="trapped",
        username="ada",
        password=CANARY,
        savePassword=True,
    )


async def test_browsing_runs_no_function_of_a_stranger(ada: Client, trapped: Target) -> None:
    saved = await connect(ada, trapped)
    found = (await ada.ask(BROWSED, id=saved))["connection"]
    schema = found["schema"]
    assert {one["name"] for one in schema["tables"]["nodes"]} == {"crates", "large"}
    assert [one["type"] for one in schema["table"]["columns"]] == ["integer", "mood"]
    assert "FROM crates" in schema["view"]["query"]
    assert schema["table"]["triggers"][0]["events"] == ["INSERT", "UPDATE"]
    assert found["completions"][0]["label"] == "crates"


async def test_runs_cause_no_call_of_a_function_of_a_stranger(ada: Client, trapped: Target) -> None:
    """What Howdah asks before and after the statement of a user."""
    saved = await connect(ada, trapped)
    for read_only in (False, True):
        made = await ada.ask(
            """mutation($input: ExecuteQueryInput!) { executeQuery(input: $input) { run {
              state error { message } notices { message }
              columns { name type table } editable { keyColumns } } } }""",
            input={
                "connectionId": saved,
                "statement": "SELECT id, mood FROM public.crates",
                "readOnly": read_only,
                "waitMs": 30_000,
            },
        )
        run = made["executeQuery"]["run"]
        assert (run["state"], run["error"], run["notices"]) == ("SUCCEEDED", None, [])
        assert [one["table"] for one in run["columns"]] == ["public.crates"] * 2
        assert run["columns"][1]["type"].endswith("mood")
        assert run["editable"]["keyColumns"] == ["id"]


async def test_run_that_meets_a_limit_calls_no_function_of_a_stranger(
    ada: Client, trapped: Target
) -> None:
    """Howdah asks on a side connection whether the statement has written, and cancels it."""
    made = await ada.ask(
        """mutation($input: ExecuteQueryInput!) { executeQuery(input: $input) { run {
          state truncated { reason } } } }""",
        input={
            "connectionId": await connect(ada, trapped),
            "statement": "SELECT pg_catalog.generate_series(1, 100000)",
            "maxRows": 5,
            "waitMs": 30_000,
        },
    )
    expected = {"state": "SUCCEEDED", "truncated": {"reason": "MAX_ROWS"}}
    assert made["executeQuery"]["run"] == expected


async def test_ending_statements_calls_no_function_of_a_stranger(
    ada: Client, trapped: Target, services: Services
) -> None:
    """Those of a run that does not listen, and of a process that died."""
    saved = parse_id("conn", await connect(ada, trapped))
    assert ada.user is not None
    queries = (TERMINATE, statement_stop._HAS_WRITTEN, statement_stop._HAS_FAILED)
    async with services.workbench.side_connection(OwnerId(ada.user.id), saved) as connection:
        for query in queries:
            assert await fetch_value(connection, query, (1, "never")) is None
        for query in (backend_termination._CANCEL, backend_termination._TERMINATE):
            assert await fetch_value(connection, query, ([1, 2], ["never"] * 2)) is None
        assert (
            await fetch_value(connection, backend_termination._ARE_LEFT, ([1, 2], ["never"] * 2))
            is False
        )


async def test_catalogue_in_a_form_of_its_own_is_an_error_of_the_server(ada: Client) -> None:
    async with hostile_postgres() as port:
        saved = await make_connection(ada, port=port, database="run-rows", sslMode="DISABLE")
        answer = await ada.send(
            """query($id: ID!) { connection(id: $id) {
              search(text: "a") { name } completions(text: "", cursor: 0) { label } } }""",
            id=saved,
        )
    assert [one["extensions"]["code"] for one in answer.errors or []] == ["UNAVAILABLE"] * 2
