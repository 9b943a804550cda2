"""Queries on scripts."""

import asyncio
from typing import Annotated

import strawberry

from db.workbench.scripts.splitter import StatementRange as StatementRangeRow
from db.workbench.scripts.splitter import split_script
from graph.auth import SignedIn
from graph.context import Info
from graph.kit.fields import argument, query
from graph.kit.scopes import WORKBENCH
from graph.scripts.types import StatementRange

SCOPES = WORKBENCH

SPLIT_IN_THREAD_CHARS = 20_000
"""A longer script is split in a thread: half a million characters take up to 1 s."""


@strawberry.type
class Query:
    @query(
        "Splits a script into its statements as `psql` does, without executing anything. Empty "
        "statements are left out. Fails with `BAD_USER_INPUT` if the script has a backslash "
        "command of `psql`; the message names the command and its line.",
        who=SignedIn,
        type=list[StatementRange],
    )
    async def split_statements(
        self,
        info: Info,
        script: Annotated[str, argument("SQL statements, up to 500,000 characters.")],
    ) -> list[StatementRangeRow]:
        _ = info.context.owner
        if len(script) <= SPLIT_IN_THREAD_CHARS:
            return split_script(script)
        return await asyncio.to_thread(split_script, script)
