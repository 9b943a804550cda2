"""The GraphQL type of functions and procedures."""

import strawberry

from db.workbench.catalogue.definitions import DefinedKind
from db.workbench.catalogue.objects import (
    DatabasePrivilege,
    FunctionKind,
    FunctionRow,
    FunctionVolatility,
    functions,
)
from graph.connections.catalogue.loaders import ByKey, Pages
from graph.connections.catalogue.nodes import (
    OF_DATABASE,
    catalogue_node,
    definition_field,
    loaded_field,
)
from graph.connections.catalogue.privileges import PRIVILEGES, FunctionPrivileges
from graph.kit.fields import attribute, graphql_enum
from graph.kit.ids import Node

graphql_enum(
    "Kind of a `DatabaseFunction`.",
    FUNCTION="A function.",
    PROCEDURE="A procedure, which is executed by `CALL`.",
    AGGREGATE="An aggregate function.",
    WINDOW="A window function.",
)(FunctionKind)
graphql_enum(
    "What the result of a function depends on.",
    IMMUTABLE="On its arguments only.",
    STABLE="Also on the database, but it is the same within one statement.",
    VOLATILE="On anything, or the function has side effects.",
)(FunctionVolatility)


class FunctionPages(Pages):
    kind = functions.FUNCTIONS


class FunctionByKey(ByKey):
    kind = functions.FUNCTIONS


@strawberry.type(
    description="A function, procedure, aggregate or window function of a `DatabaseSchema`. "
    + OF_DATABASE
)
@catalogue_node("function", row=FunctionRow, loader=FunctionByKey, names=2)
class DatabaseFunction(Node):
    schema_name: str = attribute("Name of the schema that contains the function.")
    name: str = attribute("Name of the function. Functions with other arguments may share it.")
    signature: str = attribute(
        "Name and types of the input arguments, unique in the schema, such as `lower(text)`."
    )
    kind: FunctionKind = attribute("Kind of the function.")
    arguments: str = attribute("Arguments as PostgreSQL formats them, with names and defaults.")
    result: str | None = attribute(
        "Type of the result, such as `SETOF integer`. Null for a procedure."
    )
    language: str = attribute("Language, such as `sql` or `plpgsql`.")
    volatility: FunctionVolatility = attribute("What the result depends on.")
    is_strict: bool = attribute("True if the result is null whenever an argument is.")
    is_security_definer: bool = attribute(
        "True if the function runs with the privileges of its owner."
    )
    owner: str = attribute("Role that owns the function.")
    comment: str | None = attribute(
        "Comment set with `COMMENT ON FUNCTION`. Null if there is none.", long="comment"
    )
    definition = definition_field(DefinedKind.ROUTINE)

    privileges = loaded_field(
        PRIVILEGES,
        list[DatabasePrivilege] | None,
        FunctionPrivileges,
    )
