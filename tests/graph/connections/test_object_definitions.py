"""`definition` of the objects of a connected database, over GraphQL."""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any
from uuid import UUID

import pytest

from db.workbench.catalogue import CatalogueReader
from db.workbench.catalogue.definitions import DefinedKind, reading
from tests.fixtures.clients import Client
from tests.fixtures.factories import make_connection_to
from tests.fixtures.targets import Target

SETUP = """
CREATE SCHEMA "Drawn"; GRANT USAGE ON SCHEMA "Drawn" TO ada;
COMMENT ON SCHEMA "Drawn" IS 'It''s drawn';
CREATE TYPE "Drawn".size AS ENUM ('small', 'it''s large');
CREATE SEQUENCE "Drawn".numbers INCREMENT BY 2;
CREATE FUNCTION "Drawn".touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE TABLE "Drawn".parts (id int PRIMARY KEY, size "Drawn".size DEFAULT 'small');
CREATE INDEX by_size ON "Drawn".parts (size) WHERE id > 5;
CREATE TRIGGER touched BEFORE INSERT ON "Drawn".parts FOR EACH ROW EXECUTE FUNCTION "Drawn".touch();
CREATE POLICY everybody ON "Drawn".parts USING (true);
CREATE VIEW "Drawn".small AS SELECT id FROM "Drawn".parts WHERE size = 'small';
"""
ALL = """query($id: ID!) { connection(id: $id) {
  schema(name: "Drawn") {
    id definition
    tables(first: 10) { nodes { definition
      indexes { definition } constraints { definition }
      triggers { definition } policies { definition } } }
    functions(first: 10) { nodes { definition } }
    types(first: 10) { nodes { name definition } }
    sequences(first: 10) { nodes { definition } } }
  extensions(first: 10) { nodes { name definition } } } }"""
PARTS = """CREATE TABLE "Drawn".parts (
    id integer NOT NULL,
    size "Drawn".size DEFAULT 'small'::"Drawn".size,
    CONSTRAINT parts_pkey PRIMARY KEY (id)
);
CREATE INDEX by_size ON "Drawn".parts USING btree (size) WHERE (id > 5);
"""
TRIGGER = (
    'CREATE TRIGGER touched BEFORE INSERT ON "Drawn".parts FOR EACH ROW '
    'EXECUTE FUNCTION "Drawn".touch();\n'
)
KEY = 'ALTER TABLE ONLY "Drawn".parts ADD CONSTRAINT parts_pkey PRIMARY KEY (id);\n'


@pytest.fixture
async def saved(ada: Client, target: Target) -> AsyncIterator[str]:
    await target.script(SETUP)
    yield await make_connection_to(ada, target)
    await target.script('DROP SCHEMA "Drawn" CASCADE')


async def test_objects_have_definitions(ada: Client, saved: str) -> None:
    found = (await ada.ask(ALL, id=saved))["connection"]
    schema = found["schema"]
    assert schema["definition"] == (
        "CREATE SCHEMA \"Drawn\";\nCOMMENT ON SCHEMA \"Drawn\" IS 'It''s drawn';\n"
    )
    parts, view = schema["tables"]["nodes"]
    assert parts["definition"] == PARTS
    assert [index["definition"] for index in parts["indexes"]] == [
        'CREATE INDEX by_size ON "Drawn".parts USING btree (size) WHERE (id > 5);\n',
        KEY,
    ]
    assert [constraint["definition"] for constraint in parts["constraints"]] == [KEY]
    assert [trigger["definition"] for trigger in parts["triggers"]] == [TRIGGER]
    assert [policy["definition"] for policy in parts["policies"]] == [
        'CREATE POLICY everybody ON "Drawn".parts TO PUBLIC USING (true);\n'
    ]
    assert view["definition"].startswith('CREATE VIEW "Drawn".small AS\n SELECT id\n')
    (function,) = schema["functions"]["nodes"]
    assert function["definition"].startswith('CREATE OR REPLACE FUNCTION "Drawn".touch()\n')
    types = {type["name"]: type["definition"] for type in schema["types"]["nodes"]}
    assert types["size"] == "CREATE TYPE \"Drawn\".size AS ENUM ('small', 'it''s large');\n"
    (sequence,) = schema["sequences"]["nodes"]
    assert sequence["definition"] == 'CREATE SEQUENCE "Drawn".numbers INCREMENT BY 2;\n'
    extensions = {each["name"]: each["definition"] for each in found["extensions"]["nodes"]}
    assert (
        "\nCREATE EXTENSION IF NOT EXISTS plpgsql WITH SCHEMA pg_catalog;"
        in (extensions["plpgsql"])
    )


async def test_definitions_of_one_kind_are_read_together(
    ada: Client, saved: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[tuple[DefinedKind, int]] = []
    read = CatalogueReader.definitions

    async def count_and_read(
        reader: CatalogueReader, row_id: UUID, kind: DefinedKind, ids: Sequence[UUID]
    ) -> Mapping[UUID, str]:
        reads.append((kind, len(ids)))
        return await read(reader, row_id, kind, ids)

    monkeypatch.setattr(CatalogueReader, "definitions", count_and_read)
    await ada.ask(ALL, id=saved)
    assert sorted(kind for kind, _ in reads) == sorted({kind for kind, _ in reads})
    assert dict(reads)[DefinedKind.RELATION] == 2


async def test_definitions_beyond_the_limit_name_the_page_to_lower(
    ada: Client, saved: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "MAX_DEFINITION_BYTES", 100)
    answer: Any = await ada.send(ALL, id=saved)
    assert answer.code == "TOO_LARGE"
    assert "definitions" in answer.message
    assert "first" in answer.errors[0]["extensions"]["hint"]
