"""The field `definition` of every kind of object. tests/db/workbench/catalogue checks the SQL."""

import pytest

from tests.fixtures.clients import Client
from tests.fixtures.factories import IN_TARGET
from tests.fixtures.targets import Target

PARTS = {
    "column": "ALTER TABLE public.zz_factory ADD COLUMN ",
    "constraint": "ALTER TABLE",
    "extension": "CREATE EXTENSION",
    "function": "CREATE OR REPLACE FUNCTION public.zz_factory_fires()",
    "index": "ALTER TABLE ONLY public.zz_factory ADD CONSTRAINT zz_factory_key PRIMARY KEY (id)",
    "policy": "CREATE POLICY zz_factory_policy ON public.zz_factory",
    "schema": "CREATE SCHEMA",
    "sequence": "ALTER TABLE public.zz_factory ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY",
    "table": "CREATE TABLE public.zz_factory",
    "trigger": "CREATE TRIGGER zz_factory_trigger BEFORE INSERT ON public.zz_factory",
    "type": "CREATE TYPE",
}
DEFINITION = """query($id: ID!) { node(id: $id) {
  ... on TableConstraint { definition } ... on DatabaseExtension { definition }
  ... on DatabaseFunction { definition } ... on TablePolicy { definition }
  ... on DatabaseSchema { definition } ... on DatabaseTable { definition }
  ... on TableTrigger { definition } ... on TableIndex { definition }
  ... on DatabaseSequence { definition } ... on DatabaseType { definition }
  ... on TableColumn { definition } } }"""


def test_every_kind_of_object_has_a_definition() -> None:
    assert PARTS.keys() == IN_TARGET.keys()


@pytest.mark.parametrize("prefix", sorted(PARTS))
async def test_definition_is_sql_that_creates_the_object(
    ada: Client, target: Target, prefix: str
) -> None:
    found = await ada.ask(DEFINITION, id=await IN_TARGET[prefix](ada, target))
    definition = found["node"]["definition"]
    assert PARTS[prefix] in definition
    assert definition.endswith(";\n")
