"""Definitions of many objects are read together, up to a limit."""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any
from uuid import UUID

import pytest

from db.kit.lists import long_texts
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


@pytest.fixture
async def saved(ada: Client, target: Target) -> AsyncIterator[str]:
    await target.script(SETUP)
    yield await make_connection_to(ada, target)
    await target.script('DROP SCHEMA "Drawn" CASCADE')


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


@pytest.mark.parametrize("field", ["comment", "definition"])
async def test_long_texts_of_an_object_that_an_operation_repeats_are_limited(
    ada: Client, target: Target, saved: str, field: str
) -> None:
    """A response of more than 80 MB from one comment."""
    await target.script(f"COMMENT ON SCHEMA \"Drawn\" IS '{'-' * 80_000}'")
    schema_id = (await ada.ask(ALL, id=saved))["connection"]["schema"]["id"]
    text = f"query($ids: [ID!]!) {{ nodes(ids: $ids) {{ ... on DatabaseSchema {{ {field} }} }} }}"
    assert (await ada.send(text, ids=[schema_id] * 1_000)).code == "TOO_LARGE"
    assert (await ada.send(text, ids=[schema_id] * 2)).code == "OK"


@pytest.mark.parametrize("field", ["definition", "query"])
async def test_long_texts_of_a_database_use_up_the_budget_of_the_operation(
    ada: Client, saved: str, field: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tables = f"tables(first: 10) {{ nodes {{ {field} columns {{ definition }} }} }}"
    text = f"""query($id: ID!) {{
      connection(id: $id) {{ schema(name: "Drawn") {{ {tables} }} }} }}"""
    assert (await ada.send(text, id=saved)).code == "OK"
    monkeypatch.setattr(long_texts, "OPERATION_BYTES", 1)
    monkeypatch.setattr(long_texts, "READS_AT_ONCE", 1)
    answer = await ada.send(text, id=saved)
    assert answer.code == "TOO_LARGE"
    assert len(answer.errors) == 1
    assert "long texts" in answer.message
