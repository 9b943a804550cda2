import asyncio
import os
import signal
import sys
from asyncio.subprocess import PIPE
from datetime import UTC, datetime, timedelta

import pytest

from db.audit import AuditEventRow
from db.errors import BadInput
from db.kit.audit import Actor, AuditKind, record_alone
from db.kit.base import TimestampText, new_id
from db.postgres.engine import Database
from graph.audit.lines import to_columns, to_json
from graph.commands.audit import parse_filters, parse_since
from graph.kit.ids import id_of
from tests.fixtures.patience import patience
from tests.graph.commands.test_cli import ROOT

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("30m", NOW - timedelta(minutes=30)),
        ("7d", NOW - timedelta(days=7)),
        ("2026-11-28", datetime(2026, 11, 28, tzinfo=UTC)),
        ("2026-11-28T14:00+02:00", datetime(2026, 11, 28, 12, tzinfo=UTC)),
    ],
)
def test_since_accepts_spans_and_times(text: str, moment: datetime) -> None:
    assert parse_since(text, NOW) == moment


@pytest.mark.parametrize("text", ["yesterday", "0d", "2w", ""])
def test_since_refuses_other_texts(text: str) -> None:
    with pytest.raises(BadInput, match="neither a span nor a time"):
        parse_since(text, NOW)


def test_filters_take_ids_and_addresses_of_users() -> None:
    user_id = new_id()
    by_id = parse_filters(since=None, user=id_of("user", user_id), kinds=["SIGN_IN"])
    assert (by_id.user_id, by_id.email, by_id.kinds) == (user_id, None, ("SIGN_IN",))
    by_email = parse_filters(since="1h", user="Ada@Example.com", kinds=[])
    assert (by_email.user_id, by_email.email, by_email.kinds) == (None, "ada@example.com", None)
    with pytest.raises(BadInput, match="LAUNCH is not a kind"):
        parse_filters(since=None, user=None, kinds=["LAUNCH"])


def test_lines_have_no_control_characters() -> None:
    event = AuditEventRow(
        id=new_id(),
        created_at=TimestampText("2026-11-29T12:00:00+00:00"),
        kind="CONNECTION_SAVED",
        outcome="SUCCEEDED",
        owner_id=None,
        actor_id=None,
        actor_email=None,
        session_id=None,
        token_id=None,
        request_id=Actor().request_id,
        address="",
        subject_id=None,
        subject_name="a\x1b[31m\nb",
        details='{"host":"h"}',
    )
    shown = to_columns(event)
    assert shown.isprintable()
    assert shown.startswith("2026-11-29 12:00:00  CONNECTION_SAVED")
    line = to_json(event)
    assert b"\n" not in line
    assert b'"details":{"host":"h"}' in line
    assert b"null" not in line


async def test_follow_prints_new_events_until_ctrl_c(
    committed: Database, committed_url: str
) -> None:
    clean = {name: value for name, value in os.environ.items() if "HOWDAH" not in name}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "graph.commands.main", "audit", "--follow"),
        cwd=ROOT,
        env=clean | {"HOWDAH_DATABASE_URL": committed_url},
        stdout=PIPE,
        stderr=PIPE,
    )
    assert process.stdout is not None
    try:
        for kind in (AuditKind.SIGN_IN, AuditKind.SIGN_OUT):
            await record_alone(committed, kind)
            async with patience():
                assert kind in (await process.stdout.readline()).decode()
        process.send_signal(signal.SIGINT)
        _, errors = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert (process.returncode, errors) == (0, b"")
