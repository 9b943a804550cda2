"""What the types of catalogue objects are declared with."""

import functools
from collections.abc import Callable, Sequence
from inspect import Parameter, signature
from typing import Annotated, Any, Literal, TypeVar

import strawberry

from db.kit.lists.paging import Window
from db.workbench.catalogue.definitions import DefinedKind
from db.workbench.catalogue.objects import CatalogueRow
from graph.connections.catalogue.loaders import ByKey, Definitions, ObjectKey, PageKey, Pages
from graph.context import Info
from graph.executor.hints import resolving_many
from graph.kit.fields import argument, field
from graph.kit.ids import ID_DESCRIPTION, NameKey, named_id, node
from graph.kit.loaders import BatchLoader
from graph.kit.paging import Connection, paged_by
from graph.kit.scopes import WORKBENCH

T = TypeVar("T", bound=type)

OF_DATABASE = (
    "Its ID stands for the connection and the names of the object: an object that is dropped and "
    "created again has the same ID, a renamed one has another."
)

NULL_IF_FAILED = "Null if the database failed to answer."
NULL_IF_MISSING = "Null if it does not exist or the database failed to answer."

Name = Annotated[str, argument("Name of the object, as the catalogue has it: unquoted.")]

_INFO = Parameter("info", Parameter.POSITIONAL_OR_KEYWORD, annotation=Info)


def catalogue_node(prefix: str, *, row: type, loader: type[ByKey], names: int) -> Callable[[T], T]:
    """Registers a type for `node(id:)`, like `node`. Its IDs have the key of the row."""

    def register(cls: T) -> T:
        cls.id = _id_field(prefix)  # type: ignore[attr-defined]
        return node(prefix, row=row, loader=loader, scopes=WORKBENCH.read, names=names)(cls)

    return register


def _id_field(prefix: str) -> Any:
    @field(ID_DESCRIPTION)
    def id(root: strawberry.Parent[CatalogueRow]) -> strawberry.ID:
        return named_id(prefix, NameKey(root.connection_id, root.key))

    return id


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


_CONTENTS = {
    DefinedKind.RELATION: "A table has its columns, constraints, indexes and owned sequences; its "
    "triggers, policies and partitions have definitions of their own. ",
    DefinedKind.COLUMN: "An owned sequence comes with the column; keys, other constraints and "
    "indexes have definitions of their own. ",
    DefinedKind.INDEX: "The index of a constraint is recreated by the constraint. ",
    DefinedKind.EXTENSION: "The version is in a comment. ",
    DefinedKind.SCHEMA: "The objects in the schema have definitions of their own. ",
    DefinedKind.SEQUENCE: "The sequence of an identity column is recreated by the column. ",
}


def definition_field(kind: DefinedKind) -> Any:
    """The field `definition` of the objects of one kind."""
    return loaded_field(
        "SQL statements that recreate the object with its comment if those that it depends on "
        f"exist, as `pg_dump --schema-only` writes them. {_CONTENTS.get(kind, '')}Owners, "
        "privileges and rows are omitted. Null if the object exists only as a part of another "
        "one, or if the database failed to answer.",
        str | None,
        type(f"{kind.title()}Definitions", (Definitions,), {"kind": kind}),
        long=True,
    )


def loaded_field(
    description: str,
    graphql_type: Any,
    loader: type[BatchLoader[ObjectKey, Any]],
    pick: Callable[[Any], Any] | None = None,
    *,
    long: Literal[True] | None = None,
) -> Any:
    """A field that has what the loader finds for the object, as `loaded_by`.

    `long` as in `field`.
    """

    @field(description, type=graphql_type, long=long)
    @loaded_by(loader, pick)
    def resolve(root: strawberry.Parent[CatalogueRow]) -> ObjectKey:
        return ObjectKey(root.connection_id, root.id)

    return resolve


def listed_field(description: str, graphql_type: Any, loader: type[Pages]) -> Any:
    """A field with pages of the objects in an object."""

    @field(f"{description} {NULL_IF_FAILED}", type=Connection[graphql_type] | None)
    @paged_by(loader)
    def resolve(root: strawberry.Parent[CatalogueRow], window: Window) -> PageKey:
        return PageKey(root.connection_id, root.id, window)

    return resolve


def named_field(description: str, graphql_type: Any, loader: type[ByKey]) -> Any:
    """A field that fetches an object in an object by its name."""

    @field(f"{description} {NULL_IF_MISSING}", type=graphql_type | None)
    async def resolve(root: strawberry.Parent[CatalogueRow], info: Info, name: Name) -> Any:
        return await loader.of(info.context).load(NameKey(root.connection_id, (*root.key, name)))

    return resolve
