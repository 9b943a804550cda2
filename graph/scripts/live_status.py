"""Live status of scripts, at a rate that a client can follow."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from uuid import UUID

from db.events import Watch, WatchClosed
from db.scripts import ScriptRunRow
from graph.context import Context
from graph.kit.followed_rows import require_followed

PROGRESS_INTERVAL_S = 0.3
"""Minimum time between two progress updates. A change of state is sent at once."""


async def follow_script(context: Context, script_id: UUID) -> AsyncIterator[ScriptRunRow]:
    """Yields the current script, then its changes until it has ended.

    Raises:
        NotFound: The viewer has no such script, or it was deleted.
    """
    with contextlib.suppress(WatchClosed):
        async with context.services.scripts.follow(context.owner, script_id) as watch:
            script = require_followed(await watch.current(), "script")
            yield script
            while not script.is_finished:
                script = await _next_update(watch, script)
                yield script


async def _next_update(watch: Watch[ScriptRunRow | None], sent: ScriptRunRow) -> ScriptRunRow:
    """Returns the script at its next change of state, or its progress after the interval."""
    deadline = asyncio.get_running_loop().time() + PROGRESS_INTERVAL_S
    script = require_followed(await watch.next_change(), "script")
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout_at(deadline):
            while script.state == sent.state:
                script = require_followed(await watch.next_change(), "script")
    return script
