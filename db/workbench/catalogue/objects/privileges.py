"""Privileges of the connection's role on an object, inherited and granted to PUBLIC included."""

from enum import StrEnum

from db.workbench.catalogue.objects.kinds import ObjectFact


class DatabasePrivilege(StrEnum):
    CREATE = "CREATE"
    DELETE = "DELETE"
    EXECUTE = "EXECUTE"
    INSERT = "INSERT"
    MAINTAIN = "MAINTAIN"
    REFERENCES = "REFERENCES"
    SELECT = "SELECT"
    TRIGGER = "TRIGGER"
    TRUNCATE = "TRUNCATE"
    UPDATE = "UPDATE"
    USAGE = "USAGE"


_NEWER = {"MAINTAIN": 170000}
"""Privileges that older servers do not know, with the first version that does."""


def _privileges(catalogue: str, function: str, *names: str) -> ObjectFact[list[DatabasePrivilege]]:
    found = ", ".join(
        f"CASE WHEN {_condition(name)}{function}(oid, '{name}') THEN '{name}' END" for name in names
    )
    return ObjectFact(
        f"SELECT oid::bigint, array_remove(ARRAY[{found}], NULL) FROM {catalogue} "  # noqa: S608 - constants
        "WHERE oid = ANY($1::bigint[]::oid[])",
        list[DatabasePrivilege],
    )


def _condition(name: str) -> str:
    if name not in _NEWER:
        return ""
    return f"current_setting('server_version_num')::int >= {_NEWER[name]} AND "


OF_TABLES = _privileges(
    "pg_class",
    "has_table_privilege",
    *("SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER", "MAINTAIN"),
)
OF_SEQUENCES = _privileges("pg_class", "has_sequence_privilege", "SELECT", "UPDATE", "USAGE")
OF_SCHEMAS = _privileges("pg_namespace", "has_schema_privilege", "CREATE", "USAGE")
OF_FUNCTIONS = _privileges("pg_proc", "has_function_privilege", "EXECUTE")
OF_TYPES = _privileges("pg_type", "has_type_privilege", "USAGE")
