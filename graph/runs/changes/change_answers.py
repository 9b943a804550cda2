"""Reads what the changes of a request did from the result of their run."""

from collections.abc import Mapping

from db.errors import NotFound
from db.runs import RunRow
from db.workbench.changes.change_result import ChangeAnswer, parse_answer
from graph.context import Context
from graph.kit.loaders import BatchLoader
from graph.runs.results.row_budget import RowBudget


class ChangeAnswers(BatchLoader[RunRow, ChangeAnswer]):
    """Reads each result once for all fields of a payload. Any replica can read it."""

    @classmethod
    async def of_run(cls, context: Context, run: RunRow) -> ChangeAnswer:
        """Empty if the run has not ended."""
        return await cls.of(context).load(run) or ChangeAnswer()

    async def find(self, keys: list[RunRow]) -> Mapping[RunRow, ChangeAnswer]:
        return {run: await self._read(run) for run in keys if run.is_finished}

    async def _read(self, run: RunRow) -> ChangeAnswer:
        lines: list[bytes] = []
        budget = RowBudget.of(self.context)
        while len(lines) < run.row_count:
            more = await budget.read(run.id, offset=len(lines), first=run.row_count - len(lines))
            if not more:
                raise NotFound(
                    "The result of these changes is not stored any more.",
                    hint="Read the rows again: `run` says whether they were changed.",
                )
            lines += more
        return parse_answer(lines)
