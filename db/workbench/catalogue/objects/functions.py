"""Functions, procedures, aggregates and window functions of a schema."""

from enum import StrEnum
from typing import NamedTuple
from uuid import UUID

from db.workbench.catalogue.objects.kinds import ObjectKind, in_keys


class FunctionKind(StrEnum):
    """The values are those of `pg_proc.prokind`."""

    FUNCTION = "f"
    PROCEDURE = "p"
    AGGREGATE = "a"
    WINDOW = "w"


class FunctionVolatility(StrEnum):
    """The values are those of `pg_proc.provolatile`."""

    IMMUTABLE = "i"
    STABLE = "s"
    VOLATILE = "v"


class FunctionRow(NamedTuple):
    """`signature` is the name with the types of the input arguments, which is unique."""

    id: UUID
    connection_id: UUID
    name: str
    schema_name: str
    signature: str
    kind: FunctionKind
    arguments: str
    result: str | None
    language: str
    volatility: FunctionVolatility
    is_strict: bool
    is_security_definer: bool
    owner: str
    comment: str | None

    @property
    def key(self) -> tuple[str, ...]:
        return (self.schema_name, self.signature)


_SIGNATURE = "p.proname || '(' || oidvectortypes(p.proargtypes) || ')'"
_ITEMS = f"""
SELECT p.pronamespace::bigint AS parent, p.proname::text COLLATE "C" AS name, p.oid::bigint AS id,
       n.nspname::text AS schema, {_SIGNATURE}, p.prokind::text AS kind,
       pg_get_function_arguments(p.oid), pg_get_function_result(p.oid), l.lanname::text,
       p.provolatile::text, p.proisstrict, p.prosecdef, pg_get_userbyid(p.proowner)::text,
       d.description
FROM pg_proc AS p
JOIN pg_namespace AS n ON n.oid = p.pronamespace
JOIN pg_language AS l ON l.oid = p.prolang
LEFT JOIN pg_description AS d ON d.objoid = p.oid AND d.classoid = 'pg_proc'::regclass
WHERE true
"""  # noqa: S608 - constants
FUNCTIONS = ObjectKind(
    "functions",
    FunctionRow,
    _ITEMS,
    "p.pronamespace = ANY($1::bigint[]::oid[])",
    in_keys("n.nspname", _SIGNATURE),
)
