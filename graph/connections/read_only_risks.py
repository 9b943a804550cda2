"""GraphQL types of the rights with which a read-only run can make changes."""

import strawberry

from db.workbench.catalogue import ReadOnlyRiskKind
from graph.kit.fields import attribute, graphql_enum

graphql_enum(
    "A right with which a role can make lasting changes from a read-only transaction.",
    SUPERUSER="The role is a superuser, or a member of one.",
    SERVER_PROGRAMS="The role can run programs on the server: `COPY ... TO PROGRAM`.",
    SERVER_FILES="The role can write files on the server: `COPY ... TO 'file'`.",
    REPLICATION="The role can create and drop replication slots.",
    EXTENSION="The role can execute functions of an extension that acts outside the transaction, "
    "such as `dblink`.",
    FOREIGN_SERVER="The role can use a foreign server: its views and functions run in a "
    "transaction of the foreign server, which is not read-only.",
    UNTRUSTED_LANGUAGE="The role can execute functions in an untrusted language, such as "
    "`plpython3u`, or written in C outside an extension.",
)(ReadOnlyRiskKind)


@strawberry.type(
    description="A right of a connection's role with which a statement could make lasting changes "
    "although it runs in a read-only transaction."
)
class ReadOnlyRisk:
    kind: ReadOnlyRiskKind = attribute("Kind of the right.")
    name: str = attribute("Name of the role, extension, foreign server or language.")
