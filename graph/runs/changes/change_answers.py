"""Reads what the changes of a request did from the result of their run."""

import asyncio
from typing import Self

from db.errors import NotFound
from db.runs import RunRow
from db.workbench.changes.change_result import ChangeAnswer, parse_answer
from graph.context import Context
from graph.runs.results.row_budget import RowBudget


class ChangeAnswers:
    """Reads each result once for all fields of a payload."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._reading: dict[str, asyncio.Task[ChangeAnswer]] = {}

    @classmethod
    def of(cls, context: Context) -> Self:
        answers: Self = context.loaders.setdefault(cls, cls(context))
        return answers

    async def load(self, run: RunRow) -> ChangeAnswer:
        """Empty if the run has not ended. Any replica can read it."""
        reading = self._reading.get(run.id.hex)
        if reading is None:
            reading = asyncio.create_task(self._read(run), name="changes: result")
            self._reading[run.id.hex] = reading
        return await asyncio.shield(reading)

    async def _read(self, run: RunRow) -> ChangeAnswer:
        lines: list[bytes] = []
        budget = RowBudget.of(self._context)
        while run.is_finished and len(lines) < run.row_count:
            more = await budget.read(run.id, offset=len(lines), first=run.row_count - len(lines))
            if not more:
                raise NotFound(
                    "The result of these changes is not stored any more.",
                    hint="Read the rows again: `run` says whether they were changed.",
                )
            lines += more
        return parse_answer(lines)
