"""GraphQL types of scripts and their statements."""

import strawberry

from graph.kit.fields import attribute


@strawberry.type(
    description="Position of a statement in the text of a script. Offsets count Unicode characters "
    "from 0. In JavaScript, whose strings are UTF-16, slice `Array.from(script)`."
)
class StatementRange:
    index: int = attribute("Zero-based index of the statement in its script.")
    start: int = attribute(
        "Offset of the first character: of the statement, or of a block comment before it."
    )
    end: int = attribute("Offset after the last character. The semicolon is not included.")
    line: int = attribute("Line of `start`, starting at 1.")
    column: int = attribute("Column of `start` in its line, in Unicode characters, starting at 1.")
    kind: str = attribute(
        "Command of the statement in upper case, such as `SELECT`, `CREATE TABLE` or `BEGIN`. A "
        "`WITH` query has the command that follows it, such as `INSERT`. Empty if the statement "
        "does not begin with a word."
    )
    data_start: int | None = attribute(
        "Offset of the inline data of `COPY ... FROM STDIN`: the lines that follow the statement, "
        "up to a line with `\\.` only. Null if there is none, and in `QueryRun.statementRange`."
    )
    data_end: int | None = attribute(
        "Offset after the inline data, before the line with `\\.`. Null if `dataStart` is null."
    )
