"""`howdah audit`: prints the audit log."""

import asyncio
import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

import click

from db.audit import (
    AuditEventRow,
    AuditFilter,
    events_after,
    has_audit_log,
    newest_events,
    present_position,
)
from db.errors import BadInput, Unavailable
from db.kit.audit import AuditKind
from db.own_database import open_own_database
from db.postgres.embedded import use_running_server
from db.postgres.engine import Database
from db.settings import Settings
from db.users import canonical_email
from graph.audit.lines import to_columns, to_json
from graph.kit.ids import parse_id

POLL_S = 1.0
_SPAN = re.compile(r"([1-9][0-9]{0,5})([mhd])")
_UNITS = {"m": "minutes", "h": "hours", "d": "days"}

Show = Callable[[AuditEventRow], None]


def print_audit_log(
    settings: Settings, filters: AuditFilter, *, limit: int, as_json: bool, follow: bool
) -> None:
    """Print the newest events, oldest first, and with `follow` those to come."""

    def show(event: AuditEventRow) -> None:
        click.echo(to_json(event) if as_json else to_columns(event))

    async def run() -> None:
        async with open_own_database(use_running_server(settings)) as own:
            await _require_log(own.database)
            await _print(own.database, filters, show, limit=limit, follow=follow)

    try:
        asyncio.run(run())
    except KeyboardInterrupt:
        if not follow:  # else it is how the command ends
            raise


def parse_filters(*, since: str | None, user: str | None, kinds: Sequence[str]) -> AuditFilter:
    """`user` is an ID or an e-mail address, also of a user who was removed."""
    for kind in kinds:
        if kind not in AuditKind.__members__:
            raise BadInput(f"{kind} is not a kind of events.", hint=f"Pass {', '.join(AuditKind)}.")
    is_id = user is not None and user.startswith("user_")
    return AuditFilter(
        kinds=tuple(kinds) or None,
        user_id=parse_id("user", user) if user is not None and is_id else None,
        email=canonical_email(user) if user is not None and not is_id else None,
        created_after=None if since is None else parse_since(since, datetime.now(UTC)),
    )


def parse_since(text: str, now: datetime) -> datetime:
    """Parses a span before `now`, such as `2h`, or a time in ISO 8601, by default in UTC."""
    if span := _SPAN.fullmatch(text):
        return now - timedelta(**{_UNITS[span[2]]: int(span[1])})
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise BadInput(
            f"{text} is neither a span nor a time.",
            hint="Pass minutes, hours or days as `30m`, `2h` or `7d`, or a time as "
            "`2026-11-29T14:00`.",
        ) from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


async def _require_log(database: Database) -> None:
    if not await has_audit_log(database):
        raise Unavailable(
            "The database has no audit log yet.", hint="Run `howdah migrate`, or start the server."
        )


async def _print(
    database: Database, filters: AuditFilter, show: Show, *, limit: int, follow: bool
) -> None:
    async with database.read() as session:
        at = await present_position(session)
        events = await newest_events(session, filters, limit=limit)
    for event in reversed(events):
        show(event)
    shown = {event.id for event in events}
    while follow:
        async with database.read() as session:
            found, at = await events_after(session, at)
        for event in found:
            if event.id not in shown and filters.matches(event):
                show(event)
        if not found:
            await asyncio.sleep(POLL_S)
