"""Triggers and row-level security policies of tables."""

from enum import StrEnum
from typing import NamedTuple
from uuid import UUID

from db.workbench.catalogue.objects.kinds import ObjectKind, in_keys


class TriggerTiming(StrEnum):
    BEFORE = "BEFORE"
    AFTER = "AFTER"
    INSTEAD_OF = "INSTEAD_OF"


class TriggerEvent(StrEnum):
    INSERT = "INSERT"
    UPDATE = "UPDATE"
    DELETE = "DELETE"
    TRUNCATE = "TRUNCATE"


class TriggerFiring(StrEnum):
    """The values are those of `pg_trigger.tgenabled`."""

    ORIGIN = "O"
    ALWAYS = "A"
    REPLICA = "R"
    DISABLED = "D"


class PolicyCommand(StrEnum):
    """The values are those of `pg_policy.polcmd`."""

    ALL = "*"
    SELECT = "r"
    INSERT = "a"
    UPDATE = "w"
    DELETE = "d"


class TriggerRow(NamedTuple):
    id: UUID
    connection_id: UUID
    name: str
    schema_name: str
    table_name: str
    timing: TriggerTiming
    events: list[TriggerEvent]
    columns: list[str]
    is_for_each_row: bool
    firing: TriggerFiring
    function_schema: str
    function_name: str
    comment: str | None

    @property
    def key(self) -> tuple[str, ...]:
        return (self.schema_name, self.table_name, self.name)


class PolicyRow(NamedTuple):
    id: UUID
    connection_id: UUID
    name: str
    schema_name: str
    table_name: str
    command: PolicyCommand
    is_permissive: bool
    roles: list[str]
    using: str | None
    check: str | None
    comment: str | None

    @property
    def key(self) -> tuple[str, ...]:
        return (self.schema_name, self.table_name, self.name)


# The bits of `tgtype` are those of PostgreSQL's src/include/catalog/pg_trigger.h.
_TRIGGERS = """
SELECT g.tgrelid::bigint AS parent, g.tgname::text COLLATE "C" AS name, g.oid::bigint AS id,
       n.nspname::text AS schema, c.relname::text AS table,
       CASE WHEN g.tgtype & 2 > 0 THEN 'BEFORE' WHEN g.tgtype & 64 > 0 THEN 'INSTEAD_OF'
         ELSE 'AFTER' END,
       array_remove(ARRAY[CASE WHEN g.tgtype & 4 > 0 THEN 'INSERT' END,
                          CASE WHEN g.tgtype & 16 > 0 THEN 'UPDATE' END,
                          CASE WHEN g.tgtype & 8 > 0 THEN 'DELETE' END,
                          CASE WHEN g.tgtype & 32 > 0 THEN 'TRUNCATE' END], NULL),
       ARRAY(SELECT a.attname::text FROM pg_attribute AS a
             WHERE a.attrelid = g.tgrelid AND a.attnum = ANY(g.tgattr) ORDER BY a.attnum),
       g.tgtype & 1 > 0, g.tgenabled::text, fn.nspname::text, f.proname::text, d.description
FROM pg_trigger AS g
JOIN pg_class AS c ON c.oid = g.tgrelid
JOIN pg_namespace AS n ON n.oid = c.relnamespace
JOIN pg_proc AS f ON f.oid = g.tgfoid
JOIN pg_namespace AS fn ON fn.oid = f.pronamespace
LEFT JOIN pg_description AS d ON d.objoid = g.oid AND d.classoid = 'pg_trigger'::regclass
WHERE NOT g.tgisinternal
"""
TRIGGERS = ObjectKind(
    "triggers",
    TriggerRow,
    _TRIGGERS,
    "g.tgrelid = ANY($1::bigint[]::oid[])",
    in_keys("n.nspname", "c.relname", "g.tgname"),
)
_POLICIES = """
SELECT p.polrelid::bigint AS parent, p.polname::text COLLATE "C" AS name, p.oid::bigint AS id,
       n.nspname::text AS schema, c.relname::text AS table, p.polcmd::text, p.polpermissive,
       ARRAY(SELECT coalesce(r.rolname::text, 'public') FROM unnest(p.polroles) AS role(oid)
             LEFT JOIN pg_roles AS r ON r.oid = role.oid ORDER BY 1),
       pg_get_expr(p.polqual, p.polrelid), pg_get_expr(p.polwithcheck, p.polrelid), d.description
FROM pg_policy AS p
JOIN pg_class AS c ON c.oid = p.polrelid
JOIN pg_namespace AS n ON n.oid = c.relnamespace
LEFT JOIN pg_description AS d ON d.objoid = p.oid AND d.classoid = 'pg_policy'::regclass
WHERE true
"""
POLICIES = ObjectKind(
    "policies",
    PolicyRow,
    _POLICIES,
    "p.polrelid = ANY($1::bigint[]::oid[])",
    in_keys("n.nspname", "c.relname", "p.polname"),
)
