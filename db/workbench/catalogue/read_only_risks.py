"""Finds rights with which a role can make lasting changes from a read-only transaction.

PostgreSQL forbids a read-only transaction to change tables. It does not forbid functions and COPY
to act outside the transaction: on files, programs, replication slots and other databases.
"""

from collections.abc import Sequence
from enum import StrEnum
from typing import Any, NamedTuple

from db.workbench.sql.pinned import pinned

MAX_RISKS = 50

EXTENSIONS = (
    "adminpack",
    "aws_lambda",
    "aws_s3",
    "dblink",
    "http",
    "pg_background",
    "pg_cron",
    "pg_curl",
    "pg_net",
)
"""Extensions whose functions act outside the transaction that calls them."""


class ReadOnlyRiskKind(StrEnum):
    SUPERUSER = "SUPERUSER"
    SERVER_PROGRAMS = "SERVER_PROGRAMS"
    SERVER_FILES = "SERVER_FILES"
    REPLICATION = "REPLICATION"
    EXTENSION = "EXTENSION"
    FOREIGN_SERVER = "FOREIGN_SERVER"
    UNTRUSTED_LANGUAGE = "UNTRUSTED_LANGUAGE"


class ReadOnlyRisk(NamedTuple):
    """`name` is that of the role, extension, foreign server or language."""

    kind: str
    name: str

    @property
    def reason(self) -> str:
        return _REASONS[ReadOnlyRiskKind(self.kind)].format(self.name)


_REASONS = {
    ReadOnlyRiskKind.SUPERUSER: "it can act as the superuser {}",
    ReadOnlyRiskKind.SERVER_PROGRAMS: "it can run programs on the server with COPY, through {}",
    ReadOnlyRiskKind.SERVER_FILES: "it can write files on the server with COPY, through {}",
    ReadOnlyRiskKind.REPLICATION: "it can create and drop replication slots as {}",
    ReadOnlyRiskKind.EXTENSION: "it can execute functions of the extension {}",
    ReadOnlyRiskKind.FOREIGN_SERVER: "it can use the foreign server {}",
    ReadOnlyRiskKind.UNTRUSTED_LANGUAGE: "it can execute functions in the untrusted language {}",
}

# The roles of a superuser are all roles, so only the superuser itself is reported then. A role
# counts if the session can change to it with SET ROLE, whether or not its rights are inherited.
READ_ONLY_RISKS = pinned(f"""
WITH roles AS (
  SELECT r.oid, r.rolname, r.rolsuper, r.rolreplication
  FROM pg_catalog.pg_roles AS r
  JOIN pg_catalog.pg_roles AS login ON login.rolname = session_user
  WHERE r.oid = login.oid
     OR (NOT login.rolsuper AND pg_catalog.pg_has_role(login.oid, r.oid, 'MEMBER'))
), functions AS (
  SELECT p.oid, l.lanname, e.extname, l.lanpltrusted
  FROM pg_catalog.pg_proc AS p
  JOIN pg_catalog.pg_language AS l ON l.oid = p.prolang
  LEFT JOIN pg_catalog.pg_depend AS d ON d.classid = 'pg_catalog.pg_proc'::regclass
    AND d.objid = p.oid AND d.deptype = 'e'
  LEFT JOIN pg_catalog.pg_extension AS e ON e.oid = d.refobjid
  WHERE NOT l.lanpltrusted AND p.oid >= 16384::oid
    AND p.prorettype <> 'pg_catalog.fdw_handler'::regtype::oid
    AND p.prorettype <> 'pg_catalog.language_handler'::regtype::oid
    AND EXISTS (SELECT FROM roles WHERE pg_catalog.has_function_privilege(
      roles.oid, p.oid, 'EXECUTE'))
), risks AS (
  SELECT 'SUPERUSER' AS kind, rolname::text AS name FROM roles WHERE rolsuper
  UNION SELECT 'REPLICATION', rolname FROM roles WHERE rolreplication AND NOT rolsuper
  UNION SELECT 'SERVER_PROGRAMS', rolname FROM roles WHERE rolname = 'pg_execute_server_program'
  UNION SELECT 'SERVER_FILES', rolname FROM roles WHERE rolname = 'pg_write_server_files'
  UNION SELECT 'EXTENSION', extname FROM functions
    WHERE extname = ANY ('{{{",".join(EXTENSIONS)}}}')
  UNION SELECT 'UNTRUSTED_LANGUAGE', lanname FROM functions
    WHERE lanname <> 'internal' AND (lanname <> 'c' OR extname IS NULL)
  UNION SELECT 'FOREIGN_SERVER', s.srvname FROM pg_catalog.pg_foreign_server AS s
    WHERE EXISTS (SELECT FROM roles WHERE
      pg_catalog.has_server_privilege(roles.oid, s.oid, 'USAGE')
      OR EXISTS (SELECT FROM pg_catalog.pg_foreign_table AS t WHERE t.ftserver = s.oid
                 AND pg_catalog.has_table_privilege(roles.oid, t.ftrelid, 'SELECT')))
)
SELECT kind, name FROM risks ORDER BY kind, name LIMIT {MAX_RISKS}
""")  # noqa: S608 - constants


def parse_risks(rows: Sequence[Any]) -> list[ReadOnlyRisk]:
    """The risks in the order of `ReadOnlyRiskKind`; rows that no PostgreSQL sends are omitted."""
    known = [ReadOnlyRisk(str(row[0]), str(row[1])) for row in rows if len(row) == 2]
    order = list(ReadOnlyRiskKind)
    return sorted((risk for risk in known if risk.kind in order), key=lambda r: order.index(r.kind))  # type: ignore[arg-type]  # checked
