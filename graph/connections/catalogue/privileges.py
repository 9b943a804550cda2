"""The privileges of the connection's role on objects."""

from db.workbench.catalogue.objects import DatabasePrivilege, privileges
from graph.connections.catalogue.loaders import Facts
from graph.kit.fields import graphql_enum

graphql_enum(
    "A privilege on an object of a PostgreSQL database.",
    CREATE="To create objects in a schema.",
    DELETE="To delete rows.",
    EXECUTE="To call a function or a procedure.",
    INSERT="To insert rows.",
    MAINTAIN="To run `VACUUM`, `ANALYZE`, `REINDEX` and the like. Since PostgreSQL 17.",
    REFERENCES="To create foreign keys that reference the table.",
    SELECT="To read rows, or the value of a sequence.",
    TRIGGER="To create triggers.",
    TRUNCATE="To truncate a table.",
    UPDATE="To update rows, or to set the value of a sequence.",
    USAGE="To look up the objects of a schema, to advance a sequence, or to use a type.",
)(DatabasePrivilege)

PRIVILEGES = (
    "Privileges of the connection's role, through its memberships and `PUBLIC` included. A "
    "privilege on single columns is not among them. Null if the database failed to answer."
)


class TablePrivileges(Facts):
    fact = privileges.OF_TABLES


class SchemaPrivileges(Facts):
    fact = privileges.OF_SCHEMAS


class SequencePrivileges(Facts):
    fact = privileges.OF_SEQUENCES


class FunctionPrivileges(Facts):
    fact = privileges.OF_FUNCTIONS


class TypePrivileges(Facts):
    fact = privileges.OF_TYPES
