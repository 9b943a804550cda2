"""Pages select only the columns that the fields on their rows read. Cases from the schema."""

import inspect
import re
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import pytest
from graphql import get_named_type, is_leaf_type, is_required_argument
from strawberry.schema.schema_converter import GraphQLCoreConverter

from db.kit.lists.paging import Page
from graph.kit.fields import READS
from graph.schema import schema
from tests.fixtures.clients import Client
from tests.fixtures.database import Statements
from tests.fixtures.factories import FACTORIES, make_bucket, make_saved_query, make_task
from tests.graph.test_statement_count import ELSEWHERE, NODES

core: Any = schema._schema
LISTS = {
    name: get_named_type(get_named_type(field.type).fields["nodes"].type)
    for name, field in core.query_type.fields.items()
    if "edges" in getattr(get_named_type(field.type), "fields", {})
}
FOR_ADMINS = {"users", "auditEvents", "bsps"}
MADE_BY: dict[str, Callable[[Client], Awaitable[str]]] = {
    "publicBuckets": partial(make_bucket, private=False),
    "savedQueryFolders": make_saved_query,
}
"""Lists with items that the factory of their type does not make."""
CHANGING = {"queryRuns"}  # a run proceeds while it is read


def selections(kind: Any) -> dict[str, str]:
    """A selection of each field of a node type, by its name."""
    found = {}
    for name, field in kind.fields.items():
        if any(map(is_required_argument, field.args.values())):
            continue
        if f"{kind.name}.{name}" in ELSEWHERE:
            continue
        named = get_named_type(field.type)
        is_list = "edges" in getattr(named, "fields", {})
        arguments = "(first: 1)" if is_list else ""
        found[name] = name if is_leaf_type(named) else f"{name}{arguments} {{ __typename }}"
    return found


def known(name: str, value: Any) -> Any:
    """Links contain the time."""
    return value is None if name.endswith("Url") else value


@pytest.mark.parametrize("root", sorted(LISTS))
async def test_field_alone_has_the_value_that_it_has_beside_all_others(
    ada: Client, admin: Client, root: str
) -> None:
    client = admin if root in FOR_ADMINS else ada
    for prefix in FACTORIES.keys() & {prefix for prefix in NODES if NODES[prefix] is LISTS[root]}:
        await FACTORIES[prefix](client)
    if root in MADE_BY:
        await MADE_BY[root](client)
    fields = selections(LISTS[root])
    whole = await client.ask(
        f"{{ {root}(first: 3) {{ nodes {{ {' '.join(fields.values())} }} }} }}"
    )
    assert whole[root]["nodes"], "the factories made none"
    for name, selection in fields.items():
        one = await client.ask(f"{{ {root}(first: 3) {{ edges {{ node {{ {selection} }} }} }} }}")
        alone = [known(name, edge["node"][name]) for edge in one[root]["edges"]]
        beside = [known(name, node[name]) for node in whole[root]["nodes"]]
        assert alone == beside or root in CHANGING, name


def test_resolver_reads_no_column_that_it_does_not_declare() -> None:
    checked = 0
    for kind in LISTS.values():
        for name, field in kind.fields.items():
            declared = field.extensions[GraphQLCoreConverter.DEFINITION_BACKREF]
            reads = declared.metadata.get(READS)
            if reads is not None:
                source = inspect.getsource(inspect.unwrap(declared.base_resolver.wrapped_func))
                undeclared = set(re.findall(r"\broot\.(\w+)", source)) - set(reads)
                assert not undeclared, f"{kind.name}.{name}"
                checked += 1
    assert checked > len(LISTS)


@pytest.mark.parametrize(
    ("selection", "columns"),
    [
        ("nodes { name }", {"name"}),
        ("edges { node { status } } nodes { key }", {"status", "key"}),
        ("nodes { ... on Node { id } ...Sized }", {"size"}),
        ("nodes { name @skip(if: true) version @include(if: true) }", {"name", "version"}),
        ("nodes { __typename } ... { edges { node { n: name } } }", {"name"}),
        ("totalCount pageInfo { endCursor }", set()),
    ],
)
async def test_page_selects_the_columns_of_its_fields_and_cursors(
    ada: Client, statements: Statements, selection: str, columns: set[str]
) -> None:
    fragment = "fragment Sized on File { size }" if "Sized" in selection else ""
    await ada.ask(f"{{ files(first: 1) {{ {selection} }} }} {fragment}")
    (sql,) = (text for text in statements if "LIMIT" in text and "FROM files" in text)
    found = set(re.findall(r"files\.(\w+)", sql.partition("FROM files")[0]))
    assert found == columns | {"id", "created_at"}


@pytest.mark.parametrize(
    ("query", "table", "text"),
    [
        (
            """queryRuns(first: 1) { nodes {
              state elapsedMs connection { id } session { id } scriptRun { id } savedQuery { id }
            } }""",
            "query_runs",
            "statement",
        ),
        (
            "savedQueries(first: 1) { nodes { versions(first: 1) { nodes { version name } } } }",
            "saved_query_versions",
            "text",
        ),
    ],
    ids=["runs", "versions"],
)
async def test_long_texts_that_are_not_selected_are_not_read(
    ada: Client, statements: Statements, query: str, table: str, text: str
) -> None:
    """They would limit the page, which has a size."""
    await make_saved_query(ada)
    await ada.ask(f"{{ {query} }}")
    (sql,) = (sql for sql in statements if "LIMIT" in sql and f"FROM {table}" in sql)
    assert not re.findall(rf"\.{text}\b|octet_length", sql)


async def test_cursor_of_item_is_made_only_if_it_is_selected(
    ada: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = [await make_task(ada) for _ in range(3)]

    def refuse(*_: object) -> None:
        raise AssertionError("it is not selected")

    monkeypatch.setattr(Page, "cursor", refuse)
    found = await ada.ask("{ tasks(first: 3) { edges { node { id } } } }")
    assert [edge["node"]["id"] for edge in found["tasks"]["edges"]] == made[::-1]
