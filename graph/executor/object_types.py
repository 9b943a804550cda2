"""Value completion for object, interface and union types."""

from collections.abc import Awaitable, Callable
from types import CoroutineType
from typing import Any, cast

from graphql import GraphQLAbstractType, GraphQLError, GraphQLObjectType
from graphql.execution import default_type_resolver
from graphql.pyutils import Undefined, inspect, is_awaitable
from graphql.type import is_object_type

from graph.executor.completion import Build, Complete, Null
from graph.executor.errors import Path
from graph.executor.hints import accepted_by
from graph.executor.info import Field, ResolveInfo
from graph.executor.run import Run


def object_(type_: GraphQLObjectType, build: Build, field: Field, null: Null) -> Complete:
    """Check values with the ``is_type_of`` of the type, then build their fields."""
    if type_.is_type_of is None:
        return _unchecked(build, null)
    accepted = accepted_by(type_.is_type_of)
    check = _type_check(type_, build, field)

    def complete_checked(value: Any, path: Path, run: Run) -> Any:
        if value is None or value is Undefined:
            return null()
        if value.__class__ is accepted:
            return build(value, path, run)
        return check(value, path, run)

    return complete_checked


def _type_check(type_: GraphQLObjectType, build: Build, field: Field) -> Complete:
    is_type_of = cast("Callable[..., Any]", type_.is_type_of)

    def refuse(value: Any) -> GraphQLError:
        message = f"Expected value of type '{type_}' but got: {inspect(value)}."
        return GraphQLError(message, field.nodes)

    async def check_later(verdict: Awaitable[bool], value: Any, path: Path, run: Run) -> Any:
        if not await verdict:
            raise refuse(value)
        return await awaited(build(value, path, run))

    def check(value: Any, path: Path, run: Run) -> Any:
        verdict = is_type_of(value, ResolveInfo(field, path, run))
        if verdict is True:
            return build(value, path, run)
        if is_awaitable(verdict):
            return run.hold(check_later(run.hold(verdict), value, path, run))
        if not verdict:
            raise refuse(value)
        return build(value, path, run)

    return check


def _unchecked(build: Build, null: Null) -> Complete:
    def complete_object(value: Any, path: Path, run: Run) -> Any:
        if value is None or value is Undefined:
            return null()
        return build(value, path, run)

    return complete_object


def abstract(
    type_: GraphQLAbstractType,
    complete_as: Callable[[GraphQLObjectType], Complete],
    field: Field,
    null: Null,
) -> Complete:
    """Complete values of an interface or union. ``complete_as`` is called once per object type."""
    resolve_type: Callable[..., Any] = type_.resolve_type or default_type_resolver
    completes: dict[str, Complete] = {}

    def complete_named(name: Any, value: Any, path: Path, run: Run) -> Any:
        complete = completes.get(name) if isinstance(name, str) else None
        if complete is None:
            runtime_type = ensure_object_type(name, type_, value, field)
            complete = completes[runtime_type.name] = complete_as(runtime_type)
        return complete(value, path, run)

    async def complete_later(name: Awaitable[Any], value: Any, path: Path, run: Run) -> Any:
        return await awaited(complete_named(await name, value, path, run))

    def complete_abstract(value: Any, path: Path, run: Run) -> Any:
        if value is None or value is Undefined:
            return null()
        name = resolve_type(value, ResolveInfo(field, path, run), type_)
        if is_awaitable(name):
            return run.hold(complete_later(run.hold(name), value, path, run))
        return complete_named(name, value, path, run)

    return complete_abstract


async def awaited(completed: Any) -> Any:
    """The result of a ``Complete``, awaited if it is a coroutine."""
    return await completed if completed.__class__ is CoroutineType else completed


def ensure_object_type(
    name: Any, abstract_type: GraphQLAbstractType, value: Any, field: Field
) -> GraphQLObjectType:
    """The object type with the resolved name.

    Raises:
        GraphQLError: with the text of graphql-core, if it is not a possible type.
    """
    to_object = f"Abstract type '{abstract_type}' must resolve to an Object type at runtime"
    runtime_type = field.schema.get_type(name) if isinstance(name, str) else None
    if is_object_type(runtime_type) and field.schema.is_sub_type(abstract_type, runtime_type):
        return runtime_type
    if name is None:
        message = (
            f"{to_object} for field '{field}'. Either the '{abstract_type}' type should provide"
            " a 'resolve_type' function or each possible type should provide"
            " an 'is_type_of' function."
        )
    elif not isinstance(name, str):
        message = (
            f"{to_object} for field '{field}' with value {inspect(value)},"
            f" received '{inspect(name)}', which is not a valid Object type name."
        )
    elif runtime_type is None:
        message = (
            f"Abstract type '{abstract_type}' was resolved to a type '{name}'"
            " that does not exist inside the schema."
        )
    elif not is_object_type(runtime_type):
        message = f"Abstract type '{abstract_type}' was resolved to a non-object type '{name}'."
    else:
        message = f"Runtime Object type '{name}' is not a possible type for '{abstract_type}'."
    raise GraphQLError(message, field.nodes)
