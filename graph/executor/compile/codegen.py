"""Generates the Python function that builds one object of a response.

For ``{ id bucket { name } }`` on a file the function is::

    def build(source, path, run):
        pending = ()
        try:
            v0 = source.id
            if not (v0.__class__ is str):
                v0 = complete0(v0, (path, 'id', 'File'), run)
                if v0.__class__ is Coroutine:
                    pending += ('id',)
        except Exception as error:
            v0 = fail0(error, (path, 'id', 'File'), run)
        ...the same for v1, the bucket...
        result = {'id': v0, 'bucket': v1}
        return run.hold(await_pending(result, pending)) if pending else result

A plain field costs one attribute read, one class check and one dict entry; ``try`` is free until
an exception is raised. The source contains response keys and type names as quoted strings, and
attribute names that are Python identifiers. All other values are globals of the function.
"""

import itertools
import linecache
import weakref
import zlib
from collections.abc import Callable, Sequence
from functools import lru_cache
from operator import itemgetter
from types import CodeType, CoroutineType
from typing import Any, NamedTuple, TypeAlias

import msgspec
from graphql import (
    GraphQLBoolean,
    GraphQLFloat,
    GraphQLID,
    GraphQLInt,
    GraphQLOutputType,
    GraphQLString,
)
from graphql.type import get_nullable_type, is_non_null_type, is_scalar_type

from graph.executor.compile.fields import FieldAccess
from graph.executor.execute.batched import BatchedField, BatchedRows, ResolveMany
from graph.executor.execute.completion import Build, Complete, Fail, await_pending, guarded
from graph.executor.hints import leaves_strings, spells_integers

_numbers = itertools.count(1)
_WHOLE = itemgetter(slice(None))
"""A record as a tuple, which is unpacked faster."""

# The test for values that need no conversion.
_PASSED_THROUGH: dict[GraphQLOutputType, str] = {
    GraphQLString: "{0}.__class__ is str",
    GraphQLID: "{0}.__class__ is str",
    GraphQLBoolean: "{0}.__class__ is bool",
    GraphQLInt: "{0}.__class__ is int and -2147483648 <= {0} <= 2147483647",
    GraphQLFloat: "{0}.__class__ is float and {0} - {0} == 0.0",  # finite
}


class Typename(NamedTuple):
    """A ``__typename`` field, whose value is a constant of the object type."""

    key: str


class Later(NamedTuple):
    """A field whose value is set after the object has been built."""

    key: str


class FieldCode(NamedTuple):
    """The parts of the generated function that belong to one field."""

    key: str
    type: GraphQLOutputType
    access: FieldAccess
    complete: Complete
    fail: Fail
    resolve_many: ResolveMany | None = None
    """For all rows of a list at once."""


Part: TypeAlias = FieldCode | Typename | Later


def object_builder(type_name: str, parts: Sequence[Part]) -> Build:
    """Compile the function that builds an object with these fields, in this order."""
    body = _body(type_name, parts, "path")
    end = "    return run.hold(await_pending(result, pending)) if pending else result"
    build: Build = _function(["def build(source, path, run):", *body.lines, end], body.names)
    return build


def batched_rows(type_name: str, row: type, parts: Sequence[Part]) -> BatchedRows | None:
    """How to build rows with fields that are resolved for all rows at once; None without any."""
    kept: list[Part] = []
    batched: list[BatchedField] = []
    for part in parts:
        if isinstance(part, FieldCode) and part.resolve_many is not None:
            resolve = part.resolve_many
            batched.append(BatchedField(part.key, type_name, resolve, part.complete, part.fail))
            kept.append(Later(part.key))
        else:
            kept.append(part)
    if not batched:
        return None
    body = _body(type_name, kept, "path")
    lines = ["def build(source, path, run):", *body.lines, "    return result, pending"]
    return BatchedRows(row, _function(lines, body.names), batched)


def rows_builder(
    type_name: str, parts: Sequence[Part], row: type, complete_item: Complete, fail: Fail
) -> Complete:
    """Compile the function that builds the objects of a list, without a call for each.

    Items that are no instances of `row` are passed to `complete_item`.
    """
    item_path = "at"
    body = _body(type_name, parts, item_path)
    names = {"row": row, "complete_item": complete_item, "fail": fail, "guard": guarded(fail)}
    waiting = "run.hold(await_pending(result, pending))"
    lines = [
        "def build(values, path, run):",
        "    items, waiting, kind = [], [], row",
        "    for index, source in enumerate(values):",
        "        at = (path, index, None)",
        "        try:",
        "            if source.__class__ is kind or isinstance(source, row):",
        "                kind = source.__class__",
        *(f"            {line}" for line in body.lines),
        "                if pending:",
        f"                    result = run.hold(guard({waiting}, {item_path}, run))",
        "            else:",
        f"                result = complete_item(source, {item_path}, run)",
        "        except Exception as error:",
        f"            result = fail(error, {item_path}, run)",
        "        if result.__class__ is Coroutine:",
        "            waiting.append(index)",
        "        items.append(result)",
        "    return run.hold(await_pending(items, waiting)) if waiting else items",
    ]
    build: Complete = _function(lines, body.names | names)
    return build


class RecordsBuilder:
    """Builds the objects of a list from the records of its rows, without the rows.

    That works if each field is the value of one column, or spells it, and no value needs to be
    completed. For other lists it returns None, and the list is built row by row.
    """

    def __init__(self, type_name: str, parts: Sequence[Part], row: type) -> None:
        """`row` is the class whose instances the type accepts."""
        self._type_name = type_name
        self._parts = parts
        self._accepted = row
        self._row: type | None = None
        self._build: Callable[[Any], list[Any] | None] | None = None

    def __call__(self, values: Any, run: Any) -> list[Any] | None:
        if values.row is not self._row:  # a list has rows of one class, as long as it is kept
            is_accepted = issubclass(values.row, self._accepted)
            self._build = self._compile(values.row._fields) if is_accepted else None
            self._row = values.row
        if self._build is None or (built := self._build(values.records)) is None:
            return None
        run.fields += len(built) * len(self._parts)
        return built

    def _compile(self, columns: Sequence[str]) -> Callable[[Any], list[Any] | None] | None:
        lines, values, checks = [], [], []
        for number, part in enumerate(self._parts):
            if isinstance(part, Typename):
                values.append(repr(self._type_name))
                continue
            if isinstance(part, Later) or part.access.column not in columns:
                return None
            column = f"c{columns.index(part.access.column)}"
            value = part.access.spelling.format(column)
            if value != column:
                lines.append(f"v{number} = {value}")
                value = f"v{number}"
            check = _needs_completion(value, part.type)
            if _spells_integers(part.type):
                lines.append(f"s{number} = str({value}) if {value}.__class__ is int else {value}")
                check = f"{value}.__class__ is not int and {check}"
                value = f"s{number}"
            checks.append(check)
            values.append(value)
        read = "".join(f"c{number}, " for number in range(len(columns)))
        source = [
            "def build(records):",
            "    try:",
            "        items = []",
            f"        for {read}in map(whole, records):",
            *(f"            {line}" for line in lines),
            f"            if {' or '.join(checks) or False}:",
            "                return None",
            f"            items.append(new({', '.join(values)}))",
            "        return items",
            "    except Exception:",  # found and reported again where the list is built row by row
            "        return None",
        ]
        new = json_object(tuple(part.key for part in self._parts))
        build: Callable[[Any], list[Any] | None] = _function(source, {"whole": _WHOLE, "new": new})
        return build


@lru_cache(maxsize=256)
def json_object(keys: tuple[str, ...]) -> type[msgspec.Struct]:
    """A class for objects that become the same JSON as dictionaries with these keys.

    They are made and encoded faster; nothing else reads them.
    """
    names = [f"v{number}" for number in range(len(keys))]
    return msgspec.defstruct("Object", names, rename=dict(zip(names, keys, strict=True)), gc=False)


class _Body(NamedTuple):
    """Lines that build the object `result` from `source`, and the globals that they use."""

    lines: list[str]
    names: dict[str, Any]


def _body(type_name: str, parts: Sequence[Part], path: str) -> _Body:
    names: dict[str, Any] = {"Coroutine": CoroutineType, "await_pending": await_pending}
    lines = [f"    run.fields += {len(parts)}", "    pending = ()"]
    entries = []
    for number, part in enumerate(parts):
        if isinstance(part, Typename):
            entries.append(f"{part.key!r}: {type_name!r}")
            continue
        if isinstance(part, Later):
            entries.append(f"{part.key!r}: None")
            continue
        entries.append(f"{part.key!r}: v{number}")
        lines += _field_lines(number, part, f"({path}, {part.key!r}, {type_name!r})")
        names[f"read{number}"] = part.access.function
        names[f"complete{number}"] = part.complete
        names[f"fail{number}"] = part.fail
    return _Body([*lines, f"    result = {{{', '.join(entries)}}}"], names)


def _function(lines: list[str], names: dict[str, Any]) -> Any:
    exec(compile_function("\n".join(lines)), names)  # noqa: S102 - only quoted names come from outside
    return names["build"]


def _field_lines(number: int, part: FieldCode, path: str) -> list[str]:
    value = f"v{number}"
    read = part.access.expression.format(function=f"read{number}", path=path)
    completion = [
        f"{value} = complete{number}({value}, {path}, run)",
        f"if {value}.__class__ is Coroutine:",
        f"    pending += ({part.key!r},)",
    ]
    return [
        "    try:",
        f"        {value} = {read}",
        *(f"        {line}" for line in _completion_lines(value, part.type, completion)),
        "    except Exception as error:",
        f"        {value} = fail{number}(error, {path}, run)",
    ]


def _completion_lines(value: str, type_: Any, otherwise: Sequence[str]) -> list[str]:
    """Lines that complete a value in place; those of `otherwise` if that takes a function call."""
    last = [f"if {_needs_completion(value, type_)}:", *(f"    {line}" for line in otherwise)]
    if _spells_integers(type_):
        return [
            f"if {value}.__class__ is int:",
            f"    {value} = str({value})",
            f"el{last[0]}",
            *last[1:],
        ]
    return last


def _spells_integers(type_: GraphQLOutputType) -> bool:
    nullable = get_nullable_type(type_)
    return is_scalar_type(nullable) and spells_integers(nullable.coerce_output_value)


def _needs_completion(value: str, type_: GraphQLOutputType) -> str:
    passes = _passes_through(get_nullable_type(type_))
    if is_non_null_type(type_):
        return f"not ({passes.format(value)})" if passes else "True"
    present = f"{value} is not None"
    return f"not ({passes.format(value)}) and {present}" if passes else present


def _passes_through(type_: Any) -> str | None:
    if is_scalar_type(type_) and leaves_strings(type_.coerce_output_value):
        return _PASSED_THROUGH[GraphQLString]
    return _PASSED_THROUGH.get(type_)


class _SourceLoader:
    """Supplies the source to `linecache` on demand.

    Most sources are never shown, and generated lines repeat: compressed, a field's takes about a
    tenth of its text.
    """

    def __init__(self, source: str) -> None:
        self._compressed = zlib.compress(source.encode(errors="surrogatepass"))

    def get_source(self, _name: str) -> str:
        return zlib.decompress(self._compressed).decode(errors="surrogatepass")


@lru_cache(maxsize=256)
def compile_function(source: str) -> CodeType:
    """Compile a module whose only statement defines a function.

    Equal sources share one code object, because different documents often select the same fields.
    The `linecache` entry is removed when neither this cache nor any plan holds the function's code.
    """
    filename = f"howdah-plan:{next(_numbers)}"  # linecache ignores names in angle brackets
    module = compile(source, filename, "exec")
    (function,) = (const for const in module.co_consts if isinstance(const, CodeType))
    linecache.lazycache(filename, {"__name__": filename, "__loader__": _SourceLoader(source)})
    weakref.finalize(function, linecache.cache.pop, filename, None).atexit = False
    return module
