"""Whether an executed statement has changed the catalogue, as its command tag tells."""

from db.runs import Ending
from db.workbench.sql.statement_kind import statement_kind

_CHANGES = frozenset(
    (
        "ALTER",
        "CALL",
        "COMMENT",
        "CREATE",
        "DO",
        "DROP",
        "GRANT",
        "IMPORT",
        "REASSIGN",
        "REVOKE",
        "SECURITY",
    )
)
"""First words of commands. CALL and DO can execute any other command."""
_PREPARED = "COMMIT PREPARED"


def may_change_catalogue(statement: str, ending: Ending) -> bool:
    """A function that a query calls can change it unnoticed, as can other programs.

    A run that failed may have changed it, too, for instance `CREATE INDEX CONCURRENTLY`.
    """
    command = ending.command
    if command is None:
        command = statement_kind(statement)
    first = command.partition(" ")[0]
    if first == "SELECT" and ending.command is not None:
        return not ending.columns  # CREATE TABLE AS and SELECT INTO have this tag
    return first in _CHANGES or command == _PREPARED
