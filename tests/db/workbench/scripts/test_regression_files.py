"""PostgreSQL's own regression files are split as psql splits them.

`TEST_POSTGRES_SOURCE=postgresql-15.18 pytest ...` with an unpacked source of PostgreSQL; without it
nothing is compared. Backslash commands are removed first, for psql and for us: those that send a
statement, print or reset it become a semicolon.
"""

import os
import re
from pathlib import Path

import pytest

from db.workbench.scripts import splitter
from db.workbench.scripts.splitter import PsqlCommand, StatementRange, split_script
from db.workbench.sql.sql_text import is_empty
from tests.fixtures.psql import normalized, sent_by_psql

SOURCE = os.environ.get("TEST_POSTGRES_SOURCE")
FILES = sorted(Path(SOURCE).glob("**/sql/*.sql")) if SOURCE else []
SENDING = {"p", "r", "g", "gset", "gexec", "gx", "gdesc", "crosstabview", "watch", "bind", "parse"}
OTHERWISE = {
    "dblink.sql": "psql replaces its variable USER",
    "create_function_c.sql": "psql replaces its variable LAST_ERROR_MESSAGE",
    "psql.sql": "psql replaces :{?name} by FALSE",
}
"""Files of which one statement differs, though it begins and ends alike."""


@pytest.fixture
def unlimited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(splitter, "MAX_SCRIPT_CHARS", 10**9)
    monkeypatch.setattr(splitter, "MAX_STATEMENTS", 10**9)


@pytest.mark.usefixtures("unlimited")
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_regression_file_is_split_as_by_psql(path: Path) -> None:
    try:
        text = path.read_bytes().decode().replace("\0", "")
    except UnicodeDecodeError:
        pytest.skip("not in UTF-8")
    text, ranges = without_commands(text)
    ours = [normalized(text[one.start : one.end]) for one in ranges]
    sent = [one.statement for one in sent_by_psql(text) if not is_empty(one.statement)]
    pairs = list(zip(ours, map(normalized, sent), strict=True))
    different = [
        mine
        for mine, theirs in pairs
        if not (theirs.startswith(mine) and is_empty(theirs[len(mine) :]))  # a comment after it
    ]
    assert len(different) <= (path.name in OTHERWISE), different[:3]


def without_commands(text: str) -> tuple[str, list[StatementRange]]:
    """The text without the commands of psql, and its statements."""
    while True:
        try:
            return text, split_script(text)
        except PsqlCommand as command:
            start = command.index
            if text[start + 1 : start + 2] in {";", ":"}:
                text = f"{text[:start]} {text[start + 1 :]}"
                continue
            end = text.find("\n", start)
            end = len(text) if end < 0 else end
            name = re.match(r"\\(\w*)", text[start:end])
            sends = name is not None and name[1] in SENDING
            text = text[:start] + (";" if sends else "") + text[end:]
