"""Secrets in statements. tests/graph/server/test_logs.py has those of messages."""

import pytest

from db.security.redaction import HIDDEN, redacted
from tests.fixtures.targets import CANARY


@pytest.mark.parametrize(
    "statement",
    [
        "ALTER ROLE ada PASSWORD 'CANARY'",
        "alter role ada password E'a\\'CANARY'",
        "ALTER ROLE ada PASSWORD U&'CANARY'",
        "ALTER ROLE ada PASSWORD'CANARY'",
        "ALTER ROLE ada PASSWORD/* of ada */'CANARY'",
        "ALTER ROLE ada PASSWORD -- of ada\n  'CANARY'",
        "CREATE USER MAPPING FOR ada SERVER shop OPTIONS (\"password\" 'CANARY')",
        "CREATE USER MAPPING FOR ada SERVER shop OPTIONS (sslpassword 'CANARY')",
        "ALTER ROLE ada PASSWORD 'first'\n'CANARY'",
        "ALTER ROLE ada PASSWORD 'it''s CANARY'",
        "ALTER ROLE ada PASSWORD 'cut off CANARY",
        "ALTER ROLE ada PASSWORD $x$CANARY$x$",
        "UPDATE users SET password = 'it''s CANARY' WHERE id = 1",
        "UPDATE users SET api_key = 'cut off CANARY",
        "SELECT * FROM dblink('host=h user=u password=CANARY', 'SELECT 1')",
        "SELECT * FROM dblink('postgres://u:CANARY@h/d', 'SELECT 1')",
        "SELECT http_header('Authorization', 'Bearer CANARY')",
    ],
)
def test_secret_of_statement_is_hidden(statement: str) -> None:
    shown = redacted(statement.replace("CANARY", CANARY))
    assert CANARY not in shown
    assert HIDDEN in shown


def test_statement_without_secret_is_unchanged() -> None:
    statement = "SELECT id, name FROM orders WHERE state IN ('open', 'it''s') -- by Ada"
    assert redacted(statement) == statement
