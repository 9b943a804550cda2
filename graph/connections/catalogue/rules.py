"""The GraphQL types of triggers and row-level security policies."""

import strawberry

from db.workbench.catalogue.definitions import DefinedKind
from db.workbench.catalogue.objects import (
    PolicyCommand,
    PolicyRow,
    TriggerEvent,
    TriggerFiring,
    TriggerRow,
    TriggerTiming,
    rules,
)
from graph.connections.catalogue.functions import DatabaseFunction, FunctionByKey
from graph.connections.catalogue.loaders import ByKey, Lists
from graph.connections.catalogue.nodes import (
    OF_DATABASE,
    catalogue_node,
    definition_field,
    loaded_by,
)
from graph.kit.fields import attribute, field, graphql_enum
from graph.kit.ids import NameKey, Node

graphql_enum(
    "When a trigger fires, in relation to its event.",
    BEFORE="Before the event; the function can change the row or skip it.",
    AFTER="After the event.",
    INSTEAD_OF="Instead of the event, on a view.",
)(TriggerTiming)
graphql_enum(
    "An event that fires a trigger.",
    INSERT="`INSERT`.",
    UPDATE="`UPDATE`, of certain columns if the trigger has `columns`.",
    DELETE="`DELETE`.",
    TRUNCATE="`TRUNCATE`.",
)(TriggerEvent)
graphql_enum(
    "In which sessions a trigger fires, by their setting `session_replication_role`.",
    ORIGIN="Unless the role is `replica`. The default.",
    ALWAYS="In all.",
    REPLICA="Only if the role is `replica`.",
    DISABLED="In none: the trigger is disabled.",
)(TriggerFiring)
graphql_enum(
    "The command that a row-level security policy applies to.",
    ALL="All commands.",
    SELECT="`SELECT`.",
    INSERT="`INSERT`.",
    UPDATE="`UPDATE`.",
    DELETE="`DELETE`.",
)(PolicyCommand)


class TriggerLists(Lists):
    kind = rules.TRIGGERS


class TriggerByKey(ByKey):
    kind = rules.TRIGGERS


class PolicyLists(Lists):
    kind = rules.POLICIES


class PolicyByKey(ByKey):
    kind = rules.POLICIES


@strawberry.type(
    description="A trigger of a `DatabaseTable`. Triggers that PostgreSQL makes itself, such as "
    "those of foreign keys, are omitted. " + OF_DATABASE
)
@catalogue_node("trigger", row=TriggerRow, loader=TriggerByKey, names=3)
class TableTrigger(Node):
    schema_name: str = attribute("Name of the schema that contains the table.")
    table_name: str = attribute("Name of the table.")
    name: str = attribute("Name of the trigger.")
    timing: TriggerTiming = attribute("When the trigger fires.")
    events: list[TriggerEvent] = attribute("Events that fire the trigger.")
    columns: list[str] = attribute(
        "Columns whose update fires the trigger. Empty if every update does."
    )
    is_for_each_row: bool = attribute("False if the trigger fires once for each statement.")
    firing: TriggerFiring = attribute("In which sessions the trigger fires.")
    function_schema: str = attribute("Name of the schema that contains the function.")
    function_name: str = attribute("Name of the function that the trigger calls.")
    comment: str | None = attribute(
        "Comment set with `COMMENT ON TRIGGER`. Null if there is none.", long="comment"
    )
    definition = definition_field(DefinedKind.TRIGGER)

    @field(
        "Function that the trigger calls. Null if the database failed to answer.",
        type=DatabaseFunction | None,
    )
    @loaded_by(FunctionByKey)
    def function(root: strawberry.Parent[TriggerRow]) -> NameKey:
        signature = f"{root.function_name}()"
        return NameKey(root.connection_id, (root.function_schema, signature))


@strawberry.type(description="A row-level security policy of a `DatabaseTable`. " + OF_DATABASE)
@catalogue_node("policy", row=PolicyRow, loader=PolicyByKey, names=3)
class TablePolicy(Node):
    schema_name: str = attribute("Name of the schema that contains the table.")
    table_name: str = attribute("Name of the table.")
    name: str = attribute("Name of the policy.")
    command: PolicyCommand = attribute("Command that the policy applies to.")
    is_permissive: bool = attribute(
        "True if one permissive policy that allows a row is sufficient. False if all restrictive "
        "policies have to allow it, too."
    )
    roles: list[str] = attribute("Roles that the policy applies to; `public` stands for all.")
    using: str | None = attribute(
        "SQL condition that existing rows have to meet. Null if there is none.", long="using"
    )
    check: str | None = attribute(
        "SQL condition that new rows have to meet. Null if there is none.", long="check"
    )
    comment: str | None = attribute(
        "Comment set with `COMMENT ON POLICY`. Null if there is none.", long="comment"
    )
    definition = definition_field(DefinedKind.POLICY)
