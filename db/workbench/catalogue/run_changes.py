"""`RunChanges`, which marks a catalogue as changed after the runs of users that change it."""

from collections.abc import Awaitable, Callable
from uuid import UUID

from db.runs import Ending, RunRow
from db.workbench.sql.catalogue_effects import may_change_catalogue
from db.workbench.sql.transaction_text import is_commit

MAX_SESSIONS = 10_000


class RunChanges:
    """Follows the runs of this process, which executes all runs of the sessions that it holds."""

    def __init__(self, mark_changed: Callable[[UUID], Awaitable[None]]) -> None:
        self._mark_changed = mark_changed
        self._changed: dict[UUID, None] = {}
        """Sessions whose transaction, if they are in one, has changed a catalogue."""

    async def after_run(self, run: RunRow, ending: Ending) -> None:
        """Call it when the statement has ended, and before clients learn that it has.

        Others see the changes of a transaction after its COMMIT, so that they count once more.
        """
        if run.connection_id is None:
            return
        changes = may_change_catalogue(run.statement, ending)
        if run.session_id is not None:
            if changes:
                self._remember(run.session_id)
            elif is_commit(ending.command) and run.session_id in self._changed:
                del self._changed[run.session_id]
                changes = True
        if changes:
            await self._mark_changed(run.connection_id)

    def _remember(self, session_id: UUID) -> None:
        """The oldest is forgotten: sessions with `autocommit` commit nothing themselves."""
        self._changed[session_id] = None
        while len(self._changed) > MAX_SESSIONS:
            del self._changed[next(iter(self._changed))]
