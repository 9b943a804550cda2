"""Splits a script into statements as psql does.

Every COPY ... FROM STDIN takes the lines after it as its data, also if it fails, as in psql since
18.6: data is never executed as statements.
"""

import re
from dataclasses import dataclass, replace

from db.errors import BadInput, TooLarge
from db.workbench.sql.sql_tokens import StatementState, Token, tokens
from db.workbench.sql.statement_kind import statement_kind

MAX_SCRIPT_CHARS = 500_000
MAX_STATEMENTS = 5_000
COMMAND_CHARS = 40

_BYTE_ORDER_MARK = "\ufeff"
_NESTING_KINDS = frozenset(("open", "close", "word"))
_END_OF_DATA = re.compile(r"^\\\.\r?(?:\n|\Z)", re.MULTILINE)


class PsqlCommand(BadInput):
    """The script has a command of psql, which begins at `index`."""

    index: int


@dataclass(frozen=True, slots=True)
class StatementRange:
    """A statement of a script. Indices count characters from 0; lines and columns from 1.

    The semicolon is not included. `kind` is empty if the statement does not begin with a word.
    """

    index: int
    start: int
    end: int
    line: int
    column: int
    kind: str
    data_start: int | None = None
    """The inline data of a COPY ... FROM STDIN, without the line that ends it."""
    data_end: int | None = None


def split_script(script: str) -> list[StatementRange]:
    """The statements of a script, without empty ones. Takes up to 1 s for the longest script.

    A statement begins at its first token or block comment. The last one needs no semicolon; a
    string or a comment that is not closed belongs to it.

    Raises:
        PsqlCommand: The script has a command of psql.
        BadInput: A statement continues after COPY data.
        TooLarge: The script is too long, or has too many statements.
    """
    if len(script) > MAX_SCRIPT_CHARS:
        raise TooLarge(
            f"`script` has more than {MAX_SCRIPT_CHARS} characters.",
            hint="Divide it into several scripts, and import data with `importRows`.",
            field="script",
        )
    return _Splitter(script).split()


class _Splitter:
    def __init__(self, script: str) -> None:
        self._script = script
        self._found: list[StatementRange] = []
        self._lines = _LineCounter(script)
        self._awaiting: list[int] = []
        """Indices of COPY statements whose data begins on the next line."""
        self._start: int | None = None
        self._end: int | None = None
        self._state = StatementState()

    def split(self) -> list[StatementRange]:
        index = len(_BYTE_ORDER_MARK) if self._script.startswith(_BYTE_ORDER_MARK) else 0
        size = len(self._script)
        while index < size:
            index = self._scan(index, size)
            if self._awaiting:
                index = self._take_data(index)
        self._finish()
        return self._found

    def _scan(self, index: int, end: int, *, through_copy: bool = False) -> int:
        """Scans up to `end`, or up to the semicolon of a COPY whose data follows."""
        for token in tokens(self._script, index, end):
            if token.kind == "backslash":
                raise self._command_error(token)
            if token.kind == "end" and self._state.is_closed:
                self._finish()
                if self._awaiting and not through_copy:
                    return token.end
                continue
            if token.kind in _NESTING_KINDS:
                self._state.update(token)
            if self._start is None:
                self._start = token.start
            if token.kind != "comment":
                self._end = token.end
        return end

    def _take_data(self, index: int) -> int:
        """Takes the data of the COPY statements of a line; returns the index after it."""
        line_end = self._script.find("\n", index)
        line_end = len(self._script) if line_end < 0 else line_end
        self._scan(index, line_end, through_copy=True)
        if self._end is not None and line_end < len(self._script):
            raise self._interrupted_error()
        self._start = self._start if line_end == len(self._script) else None  # only a comment
        start = min(line_end + 1, len(self._script))
        for number in self._awaiting:
            mark = _END_OF_DATA.search(self._script, start)
            end, after = mark.span() if mark else (len(self._script),) * 2
            self._found[number] = replace(self._found[number], data_start=start, data_end=end)
            start = after
        self._awaiting = []
        return start

    def _finish(self) -> None:
        """Ends the statement that was begun. One without a token is empty and left out."""
        if self._start is not None and self._end is not None:
            if len(self._found) == MAX_STATEMENTS:
                raise TooLarge(
                    f"`script` has more than {MAX_STATEMENTS} statements.",
                    hint="Divide it into several scripts, or write rows with fewer INSERTs.",
                    field="script",
                )
            text = self._script[self._start : self._end]
            line, column = self._lines.locate(self._start)
            kind = statement_kind(text)
            index = len(self._found)
            self._found.append(StatementRange(index, self._start, self._end, line, column, kind))
            if self._state.reads_copy_data:
                self._awaiting.append(index)
        self._start = self._end = None
        self._state = StatementState()

    def _command_error(self, token: Token) -> PsqlCommand:
        line, _ = self._lines.locate(token.start)
        hint = "Remove it: commands of psql work in psql only. Send SQL instead."
        if token.text == "\\.":
            hint = "Put it on a line of its own after the data of a COPY ... FROM STDIN."
        elif token.text.startswith("\\copy"):
            hint = "Write COPY ... FROM STDIN with its data in the script, or use `importRows`."
        error = PsqlCommand(
            f"Line {line} has the psql command `{token.text[:COMMAND_CHARS]}`.",
            hint=hint,
            field="script",
        )
        error.index = token.start
        return error

    def _interrupted_error(self) -> BadInput:
        line, _ = self._lines.locate(self._start or 0)
        return BadInput(
            f"The statement that begins on line {line} continues after the data of a COPY.",
            hint="Begin it on a line of its own, after the line `\\.` that ends the data.",
            field="script",
        )


class _LineCounter:
    """Finds lines and columns of growing indices. CR LF, LF and CR end a line."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._counted = 0
        self._line = 1
        self._line_start = 0

    def locate(self, index: int) -> tuple[int, int]:
        """`index` is not inside of a CR LF, and not smaller than the index before."""
        text, counted = self._text, self._counted
        breaks = [text.count(mark, counted, index) for mark in ("\n", "\r", "\r\n")]
        self._line += breaks[0] + breaks[1] - breaks[2]
        last = max(text.rfind(mark, counted, index) for mark in ("\n", "\r"))
        if last >= 0:
            self._line_start = last + 1
        self._counted = index
        return self._line, index - self._line_start + 1
