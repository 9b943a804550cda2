"""Plans: selection of the operation, compilation, fallback and caches."""

from typing import Annotated

import pytest
import strawberry
from graphql import GraphQLError, OperationType, build_schema, parse

from graph.executor import InvalidVariable, compile_plan
from graph.executor.plan import CompiledProgram
from tests.graph.executor.compare import compare
from tests.graph.executor.rows import Row
from tests.graph.executor.world import core_schema

TWO = "query A { person { id } } query B { person { name } } mutation C { add }"


def test_plan_selects_named_operation() -> None:
    assert compile_plan(core_schema, parse(TWO), "B").kind is OperationType.QUERY
    assert compile_plan(core_schema, parse(TWO), "C").kind is OperationType.MUTATION
    assert compile_plan(core_schema, parse("{ nickname }"), None).kind is OperationType.QUERY


@pytest.mark.parametrize(
    ("query", "name", "message"),
    [
        (TWO, None, "Must provide operation name if query contains multiple operations."),
        (TWO, "D", "Unknown operation named 'D'."),
        ("{ nickname }", "A", "Unknown operation named 'A'."),
        ("fragment F on Query { nickname }", None, "Must provide an operation."),
    ],
)
def test_plan_reports_missing_operation(query: str, name: str | None, message: str) -> None:
    with pytest.raises(GraphQLError, match=message):
        compile_plan(core_schema, parse(query), name)


async def test_plan_without_root_type_falls_back() -> None:
    plan = compile_plan(build_schema("type Query { a: Int }"), parse("mutation { a }"), None)
    assert not isinstance(plan, CompiledProgram)
    result = await plan.execute(context=None, variables=None)
    assert result.errors
    assert "not configured to execute mutation" in result.errors[0].message


@pytest.mark.parametrize(
    "query",
    [
        "query @experimental_disableErrorPropagation { person { name } }",
        "{ person { ... @defer(if: false) { name } } }",
        "{ person { friends @stream(if: false) { name } name } }",
    ],
)
async def test_plan_with_unsupported_directives_falls_back(query: str) -> None:
    plan = compile_plan(core_schema, parse(query), None)
    assert not isinstance(plan, CompiledProgram)
    result = await plan.execute(context={}, variables=None, root=Row("root"))
    assert result.data
    assert result.data["person"]["name"] == "name of root.boss"


async def test_plan_refuses_condition_that_is_null() -> None:
    """graphql-core would execute what does not depend on it, without a limit of fields."""
    query = "query($a: Boolean = true) { nickname person { name @skip(if: $a) } }"
    result = await compile_plan(core_schema, parse(query), None).execute(
        context=None, variables={"a": None}, root=Row("root")
    )
    assert result.data is None
    assert result.errors
    [error] = result.errors
    assert isinstance(error, InvalidVariable)
    assert (error.path, error.field) == (None, "a")


async def test_plan_of_too_deep_document_falls_back() -> None:
    query = "{ person " + 190 * "{ boss " + "{ id }" + 190 * "}" + "}"
    result = await compile_plan(core_schema, parse(query), None).execute(
        context=None, variables=None, root=Row("root")
    )
    assert result.errors
    assert "recursion" in result.errors[0].message


async def test_plan_can_hide_suggestions() -> None:
    query = parse("query($mood: Mood!) { person { echo(mood: $mood) } }")
    for hidden in (False, True):
        plan = compile_plan(core_schema, query, None, hide_suggestions=hidden)
        result = await plan.execute(context=None, variables={"mood": "SADD"}, root=Row("root"))
        assert result.errors
        assert ("Did you mean" in result.errors[0].message) is not hidden


async def test_plan_accepts_reserved_python_names() -> None:
    @strawberry.type
    class Query:
        class_: str = strawberry.field(name="class")
        import_: int = strawberry.field(name="None")

    schema = strawberry.Schema(Query)._schema
    query = "{ class None source: class run: None path: class v0: class build: class }"
    result = await compile_plan(schema, parse(query), None).execute(
        context=None, variables=None, root=Query(class_="first", import_=1)
    )
    assert result.errors is None
    assert list((result.data or {}).values()) == ["first", 1, "first", 1, "first", "first", "first"]


@strawberry.type
class Answered:
    text: str


@strawberry.type
class Refusal:
    reason: str


class Refuse(strawberry.ExceptionHandler[ValueError, Refusal]):
    def handle(self, exception: ValueError, *, field: object, info: object) -> Refusal:
        return Refusal(reason=str(exception))


async def test_plan_keeps_strawberry_exception_handlers() -> None:
    @strawberry.type
    class Query:
        @strawberry.field
        def answer(self) -> Annotated[Answered | Refusal, strawberry.union("Answer")]:
            raise ValueError("no answer")

    schema = strawberry.Schema(Query, exception_handlers=[Refuse()])._schema
    document = parse("{ answer { ... on Refusal { reason } } }")
    result = await compare(schema, document, None, lambda: None)
    assert result.data == {"answer": {"reason": "no answer"}}
