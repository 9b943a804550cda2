"""Writing the Python function that builds one object of a response.

For ``{ id bucket { name } }`` on a file it reads::

    def build(source, path, run):
        waiting = ()
        try:
            v0 = source.id
            if not (v0.__class__ is str):
                v0 = place0(v0, (path, 'id', 'File'), run)
                if v0.__class__ is Coroutine:
                    waiting += ('id',)
        except Exception as error:
            v0 = fail0(error, (path, 'id', 'File'), run)
        ...the same for v1, the bucket...
        result = {'id': v0, 'bucket': v1}
        return run.hold(fill_in(result, waiting)) if waiting else result

So a plain field costs a read, a class check and an entry in a dict; a ``try`` costs nothing until
something is raised. All that is written out are response keys and type names, quoted, and
attribute names, all of which are GraphQL's or Python's identifiers. The rest are globals.
"""

from collections.abc import Sequence
from functools import lru_cache
from types import CodeType, CoroutineType
from typing import Any, NamedTuple, cast

from graphql import (
    GraphQLBoolean,
    GraphQLFloat,
    GraphQLID,
    GraphQLInt,
    GraphQLOutputType,
    GraphQLString,
)
from graphql.type import get_nullable_type, is_non_null_type, is_scalar_type

from graph.executor.completion import Build, Complete, Fail, fill_in
from graph.executor.fields import Reading
from graph.executor.hints import leaves_strings, spells_integers

# Which values the response holds as they are.
_AS_IS: dict[GraphQLOutputType, str] = {
    GraphQLString: "{0}.__class__ is str",
    GraphQLID: "{0}.__class__ is str",
    GraphQLBoolean: "{0}.__class__ is bool",
    GraphQLInt: "{0}.__class__ is int and -2147483648 <= {0} <= 2147483647",
    GraphQLFloat: "{0}.__class__ is float and {0} - {0} == 0.0",  # not infinite, not NaN
}


class Typename(NamedTuple):
    """A ``__typename``, known beforehand."""

    key: str


class Part(NamedTuple):
    """What one field brings to the function of its object."""

    key: str
    type: GraphQLOutputType
    reading: Reading
    place: Complete
    fail: Fail


def object_builder(type_name: str, parts: Sequence[Part | Typename]) -> Build:
    """Compile the function that gathers these fields of an object, in this order."""
    names: dict[str, Any] = {"Coroutine": CoroutineType, "fill_in": fill_in}
    lines = ["def build(source, path, run):", "    waiting = ()"]
    entries = []
    for number, part in enumerate(parts):
        if isinstance(part, Typename):
            entries.append(f"{part.key!r}: {type_name!r}")
            continue
        entries.append(f"{part.key!r}: v{number}")
        lines += _field_lines(number, part, type_name)
        names[f"read{number}"] = part.reading.function
        names[f"place{number}"] = part.place
        names[f"fail{number}"] = part.fail
    lines += [
        f"    result = {{{', '.join(entries)}}}",
        "    return run.hold(fill_in(result, waiting)) if waiting else result",
    ]
    exec(_code("\n".join(lines)), names)  # noqa: S102 - the text is ours, see the top
    return cast("Build", names["build"])


@lru_cache(maxsize=256)
def _code(source: str) -> CodeType:
    """Compile a text once: documents differ, yet select the same fields again and again."""
    return compile(source, "<plan>", "exec")


def _field_lines(number: int, part: Part, type_name: str) -> list[str]:
    value, path = f"v{number}", f"(path, {part.key!r}, {type_name!r})"
    read = part.reading.expression.format(function=f"read{number}", path=path)
    short_ways = _short_ways(value, part.type)
    return [
        "    try:",
        f"        {value} = {read}",
        *short_ways,
        f"        {'elif' if short_ways else 'if'} {_needs_completion(value, part.type)}:",
        f"            {value} = place{number}({value}, {path}, run)",
        f"            if {value}.__class__ is Coroutine:",
        f"                waiting += ({part.key!r},)",
        "    except Exception as error:",
        f"        {value} = fail{number}(error, {path}, run)",
    ]


def _short_ways(value: str, type_: Any) -> list[str]:
    """What can be written down at once, before the question whether more is needed."""
    nullable = get_nullable_type(type_)
    if is_scalar_type(nullable) and spells_integers(nullable.coerce_output_value):
        return [f"        if {value}.__class__ is int:", f"            {value} = str({value})"]
    return []


def _needs_completion(value: str, type_: GraphQLOutputType) -> str:
    as_is = _as_is(get_nullable_type(type_))
    if is_non_null_type(type_):
        return f"not ({as_is.format(value)})" if as_is else "True"
    present = f"{value} is not None"
    return f"not ({as_is.format(value)}) and {present}" if as_is else present


def _as_is(type_: Any) -> str | None:
    if is_scalar_type(type_) and leaves_strings(type_.coerce_output_value):
        return _AS_IS[GraphQLString]
    return _AS_IS.get(type_)
