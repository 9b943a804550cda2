"""Input of `changeRows`."""

import strawberry

from db.workbench.changes.change_request import RowChangeKind
from graph.kit.fields import attribute, graphql_enum, optional, redacted_repr, retry_key
from graph.kit.scalars import Json

graphql_enum(
    "What a change does with its row.",
    INSERT="Inserts a row with `values`. Columns that are omitted get their defaults.",
    UPDATE="Sets `values` in the row with `key`, if it still has the values in `expected`.",
    DELETE="Deletes the row with `key`, if it still has the values in `expected`.",
)(RowChangeKind)


@strawberry.input(
    description="A change of one row. Each value is as `QueryRun.rows` shows it: booleans, int2, "
    "int4 and finite floats as JSON values, null for NULL, and every other type as a string in the "
    "text format of PostgreSQL."
)
class RowChangeInput:
    __repr__ = redacted_repr  # values are the user's data

    kind: RowChangeKind = attribute("What to do.")
    key: Json | None = optional(
        'Values by column that identify the row, as in `{"id": 7}`: all columns of the primary '
        "key, or of a unique index whose columns are `NOT NULL`. For a view or a foreign table, "
        "any columns that identify one row. Required for `UPDATE` and `DELETE`.",
        default=None,
    )
    expected: Json | None = optional(
        "Values by column that the row had when it was read. If one of them differs now, nothing "
        "is changed, and the change is one of `conflicts`. Required for `UPDATE`, with each column "
        "of `values`, and for `DELETE`, where `{}` deletes the row whatever its values are. The "
        "columns of `key` may be omitted.",
        default=None,
    )
    values: Json | None = optional(
        "New values by column, for `INSERT` and `UPDATE`. Columns that PostgreSQL computes are "
        "refused.",
        default=None,
    )


@strawberry.input(description="Changes of the rows of one table.")
class ChangeRowsInput:
    __repr__ = redacted_repr

    schema_name: str = attribute("Name of the schema, without quotes.")
    table_name: str = attribute("Name of the table or view, without quotes.")
    changes: list[RowChangeInput] = attribute(
        "Changes, at most 1,000. They are made in this order, all of them or none."
    )
    connection_id: strawberry.ID | None = optional(
        "ID of the `DatabaseConnection` to use. Pass either `connectionId` or `sessionId`."
    )
    session_id: strawberry.ID | None = optional(
        "ID of the `DatabaseSession` to make the changes in, after the statements that were sent "
        "to it before. In a transaction, they are committed with it."
    )
    dry_run: bool = optional(
        "If true, the changes are made and rolled back, so that conflicts and errors are found. "
        "Sequences keep the values that were taken from them. Defaults to false.",
        default=False,
    )
    timeout_ms: int | None = optional("Timeout of the run in milliseconds, as in `executeQuery`.")
    wait_ms: int = optional(
        "Maximum time to wait for the run to end before responding, in milliseconds, 0 to 30,000. "
        "Defaults to 30,000.",
        default=30_000,
    )
    idempotency_key: str | None = retry_key("what the first call did, and makes no changes")
