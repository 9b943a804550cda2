"""Statements on backends that a process terminates for another one: it may die before it has."""

from collections.abc import Collection, Sequence
from typing import Generic
from uuid import UUID

from sqlalchemy import text

from db.kit.live_processes import IS_JUDGE, IS_LIVE
from db.kit.repository import S
from db.postgres.sessions import Session
from db.postgres.statements import compile_change, compile_statement

_ADD = compile_change(
    text("""INSERT INTO unended_backends (id, process)
        SELECT id, :process FROM unnest(:ids ::uuid[]) AS id
        ON CONFLICT (id) DO UPDATE SET process = excluded.process
        RETURNING id""")
)
_ADOPT = compile_change(
    text(f"""UPDATE unended_backends AS held SET process = :judge
        WHERE NOT {IS_LIVE} AND {IS_JUDGE}
        RETURNING id""")  # noqa: S608 - constants of this module
)
_OF_PROCESS = compile_statement(text("SELECT id FROM unended_backends WHERE process = :process"))
_REMOVE = compile_change(
    text("DELETE FROM unended_backends WHERE id = :id AND process = :process RETURNING id")
)


class UnendedBackends(Generic[S]):
    """Each backend under the ID of its run or session, which has ended."""

    def __init__(self, session: S) -> None:
        self._session = session

    async def add(self: "UnendedBackends[Session]", ids: Collection[UUID], *, process: int) -> None:
        """`process` is the one that terminates them."""
        if ids:
            await self._session.rows(_ADD, ids=list(ids), process=process)

    async def adopt(self: "UnendedBackends[Session]", judge: int) -> None:
        """Takes over those that dead or stopped processes have left, if `judge` is a judge."""
        await self._session.rows(_ADOPT, judge=judge)

    async def of_process(self, process: int) -> Sequence[UUID]:
        """The backends that `process` has to terminate."""
        return [row[0] for row in await self._session.rows(_OF_PROCESS, process=process)]

    async def remove(self: "UnendedBackends[Session]", backend_of: UUID, *, process: int) -> None:
        """Keeps one that another process has taken over meanwhile."""
        await self._session.rows(_REMOVE, id=backend_of, process=process)
