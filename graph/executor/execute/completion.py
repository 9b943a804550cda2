"""Value completion: converts the results of resolvers to response data.

A ``Complete`` takes a value, its path and the run. It returns the completed value, or a coroutine
of this module that returns it. An exception from it makes the position null.
"""

from collections.abc import Awaitable, Callable, Coroutine, Sequence
from types import CoroutineType, GeneratorType
from typing import Any, NoReturn, TypeAlias, cast

from graphql import (
    FieldNode,
    GraphQLAbstractType,
    GraphQLError,
    GraphQLLeafType,
    GraphQLObjectType,
    GraphQLOutputType,
)
from graphql.execution import default_type_resolver
from graphql.pyutils import Undefined, inspect, is_awaitable
from graphql.type import is_non_null_type, is_object_type

from graph.executor.execute.run import (
    Field,
    Path,
    ResolveInfo,
    ResultTooLarge,
    Run,
    gather,
    locate,
    path_as_list,
)
from graph.executor.hints import accepted_by

Build: TypeAlias = Callable[[Any, Path | None, Run], Any]  # for objects; the root has no path
Complete: TypeAlias = Callable[[Any, Path, Run], Any]
Null: TypeAlias = Callable[[], None]
Fail: TypeAlias = Callable[[Exception, Path, Run], Any]  # returns None, or raises


# Classes whose instances are neither awaitable nor errors. Bounded by the classes of the server.
_ordinary_classes: set[type] = set()


def is_ordinary(value: object) -> bool:
    """Whether a value is neither awaitable nor an error. The result is cached per class."""
    cls = value.__class__
    if issubclass(cls, Exception | GeneratorType) or hasattr(cls, "__await__"):
        return False
    _ordinary_classes.add(cls)
    return True


def raise_if_error(value: object) -> None:
    """Treat a returned error like a raised one."""
    if isinstance(value, Exception):
        raise value


def error_handler(type_: GraphQLOutputType, nodes: list[FieldNode]) -> Fail:
    """A handler that reports errors at a nullable position, and raises them at a non-null one."""
    non_null = is_non_null_type(type_)

    def fail(error: Exception, path: Path, run: Run) -> Any:
        if run.log.is_full and not isinstance(error, ResultTooLarge):
            stopped = run.log.stop()
            if stopped is None:
                return None
            error = stopped
        if isinstance(error, ResultTooLarge):
            error.path = error.path or path_as_list(path)
            raise error
        located = locate(error, nodes, path)
        if non_null:
            raise located
        run.log.add(located, path)

    return fail


def with_errors_handled(complete: Complete, fail: Fail) -> Complete:
    """Extend ``complete`` to values that are awaitables or errors.

    The caller passes synchronous errors to ``fail``. Errors of coroutines are passed here.
    """

    async def settle(awaitable: Awaitable[Any], path: Path, run: Run) -> Any:
        try:
            value = await awaitable
            raise_if_error(value)
            completed = complete(value, path, run)
            return await completed if completed.__class__ is CoroutineType else completed
        except Exception as error:  # noqa: BLE001 - whatever a resolver raises is a field error
            return fail(error, path, run)

    guard = guarded(fail)

    def complete_value(value: Any, path: Path, run: Run) -> Any:
        if value.__class__ not in _ordinary_classes and not is_ordinary(value):
            raise_if_error(value)
            if is_awaitable(value):
                return run.hold(settle(run.await_field(value), path, run))
        completed = complete(value, path, run)
        if completed.__class__ is CoroutineType:
            return run.hold(guard(completed, path, run))
        return completed

    return complete_value


def guarded(fail: Fail) -> Callable[..., Coroutine[Any, Any, Any]]:
    async def guard(completing: Coroutine[Any, Any, Any], path: Path, run: Run) -> Any:
        try:
            return await completing
        except Exception as error:  # noqa: BLE001 - as in settle
            return fail(error, path, run)

    return guard


def null_handler(type_: GraphQLOutputType, field: Field) -> Null:
    """A function that returns None for a nullable type, and raises for a non-null type."""
    if not is_non_null_type(type_):
        return lambda: None

    def refuse() -> NoReturn:
        raise TypeError(f"Cannot return null for non-nullable field {field}.")

    return refuse


def leaf(type_: GraphQLLeafType, null: Null) -> Complete:
    coerce = type_.coerce_output_value

    def complete_leaf(value: Any, _path: Path, _run: Run) -> Any:
        if value is None or value is Undefined:
            return null()
        coerced = coerce(value)
        if coerced is None or coerced is Undefined:
            raise TypeError(
                f"Expected `{inspect(type_)}.coerce_output_value({inspect(value)})`"
                f" to return non-nullable value, returned: {inspect(coerced)}"
            )
        return coerced

    return complete_leaf


def counted(complete: Complete) -> Complete:
    """Counts a text that was awaited: only others may reach the response without completion."""

    def complete_counted(value: Any, path: Path, run: Run) -> Any:
        text = complete(value, path, run)
        return run.counted(text, text)

    return complete_counted


def pending_indexes(items: list[Any]) -> list[int]:
    """Indexes of the items that are coroutines of this module."""
    return [index for index, item in enumerate(items) if item.__class__ is CoroutineType]


async def await_pending(container: Any, keys: Sequence[Any]) -> Any:
    """Await the values at these keys of a dict or list concurrently, and replace them."""
    if len(keys) == 1:  # a single one needs no task
        container[keys[0]] = await container[keys[0]]
    else:
        answers = await gather([container[key] for key in keys])
        for key, answer in zip(keys, answers, strict=True):
            container[key] = answer
    return container


def object_(type_: GraphQLObjectType, build: Build, field: Field, null: Null) -> Complete:
    """Check values with the ``is_type_of`` of the type, then build their fields."""
    if type_.is_type_of is None:
        return _unchecked(build, null)
    accepted = accepted_by(type_.is_type_of)
    check = _type_check(type_, build, field)

    def complete_checked(value: Any, path: Path, run: Run) -> Any:
        if value is None or value is Undefined:
            return null()
        if accepted is not None and isinstance(value, accepted):
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
