"""What the types of catalogue objects are declared with."""

import functools
from collections.abc import Callable, Sequence
from inspect import Parameter, signature
from typing import Any, TypeVar

import strawberry

from db.workbench.catalogue.definitions import DefinedKind
from db.workbench.catalogue.objects import CatalogueRow
from graph.connections.catalogue.loaders import ByKey, DefinitionKey, Definitions, ObjectKey
from graph.context import Info
from graph.executor.hints import resolving_many
from graph.kit.fields import field
from graph.kit.ids import ID_DESCRIPTION, NameKey, named_id, node
from graph.kit.loaders import BatchLoader
from graph.kit.scopes import WORKBENCH

T = TypeVar("T", bound=type)

OF_DATABASE = (
    "Its ID stands for the connection and the names of the object: an object that is dropped and "
    "created again has the same ID, a renamed one has another."
)

_INFO = Parameter("info", Parameter.POSITIONAL_OR_KEYWORD, annotation=Info)


def catalogue_node(
    prefix: str,
    *,
    row: type,
    loader: type[ByKey],
    names: int,
    defined: DefinedKind | None = None,
) -> Callable[[T], T]:
    """Registers a type for `node(id:)`, like `node`. Its IDs have the key of the row.

    `defined` adds the field `definition`.
    """

    def register(cls: T) -> T:
        cls.id = _id_field(prefix)  # type: ignore[attr-defined]
        if defined is not None:
            cls.definition = _definition_field(defined)  # type: ignore[attr-defined]
        return node(prefix, row=row, loader=loader, scopes=WORKBENCH.read, names=names)(cls)

    return register


def _id_field(prefix: str) -> Any:
    @field(ID_DESCRIPTION)
    def id(root: strawberry.Parent[CatalogueRow]) -> strawberry.ID:
        return named_id(prefix, NameKey(root.connection_id, root.key))

    return id


_CONTENTS = {
    DefinedKind.RELATION: "A table has its columns, constraints, indexes and owned sequences; its "
    "triggers, policies and partitions have definitions of their own. ",
    DefinedKind.INDEX: "The index of a constraint is recreated by the constraint. ",
    DefinedKind.EXTENSION: "The version is a comment. ",
    DefinedKind.SCHEMA: "The objects in the schema have definitions of their own. ",
    DefinedKind.SEQUENCE: "The sequence of an identity column is recreated by the column. ",
}


def _definition_field(kind: DefinedKind) -> Any:
    @field(
        "SQL that recreates the object and its comment, if the objects that it depends on exist. "
        f"{_CONTENTS.get(kind, '')}Owners, privileges and rows are omitted. Null if PostgreSQL "
        "creates the object only together with another one, or if the database failed to answer.",
        type=str | None,
    )
    @loaded_by(Definitions)
    def definition(root: strawberry.Parent[CatalogueRow]) -> DefinitionKey:
        return DefinitionKey(root.connection_id, kind, root.id)

    return definition


def loaded_by(
    loader_type: type[BatchLoader[Any, Any]], pick: Callable[[Any], Any] | None = None
) -> Callable[[Callable[..., Any]], Any]:
    """Decorates a function that makes a key: the field has what the loader finds for it.

    `pick` takes the value of the field from what is found. The rows of one list share one call of
    the loader. A key that is None has no value.
    """

    def picked(found: Any) -> Any:
        return (
            found if pick is None or found is None or isinstance(found, Exception) else pick(found)
        )

    def declare(key_of: Callable[..., Any]) -> Any:
        async def resolve_many(parents: Sequence[Any], *, info: Info) -> Sequence[Any]:
            keys = [key_of(parent) for parent in parents]
            wanted = [key for key in keys if key is not None]
            values = dict(
                zip(wanted, await loader_type.of(info.context).load_each(wanted), strict=True)
            )
            return [None if key is None else picked(values[key]) for key in keys]

        @resolving_many(resolve_many)
        @functools.wraps(key_of)
        async def resolve(root: Any, *, info: Info) -> Any:
            key = key_of(root)
            return None if key is None else picked(await loader_type.of(info.context).load(key))

        declared = signature(key_of)
        parameters = [*declared.parameters.values(), _INFO]
        resolve.__signature__ = declared.replace(parameters=parameters)  # type: ignore[attr-defined]
        return resolve

    return declare


def key_of(row: CatalogueRow) -> ObjectKey:
    return ObjectKey(row.connection_id, row.id)


async def find_named(info: Info, loader: type[ByKey], row: CatalogueRow, *names: str) -> Any:
    """The object with these names in the database of `row`."""
    return await loader.of(info.context).load(NameKey(row.connection_id, names))
