"""The thread of a tunnel, without an SSH server."""

import asyncio
import threading

import pytest

from db.workbench.connections.tunnels import tunnel_thread, tunnel_turns
from db.workbench.connections.tunnels.tunnel_thread import TunnelThread
from tests.fixtures.patience import patience


async def test_thread_ends_if_its_start_is_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    """It waits for its turn meanwhile, as beside busy tunnels."""
    failures: list[threading.ExceptHookArgs] = []
    monkeypatch.setattr(threading, "excepthook", failures.append)
    others = set(tunnel_thread._living)
    with tunnel_turns._turn:
        starting = asyncio.create_task(TunnelThread.start())
        await asyncio.sleep(0)
        (thread,) = tunnel_thread._living - others
        starting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await starting
    async with patience():
        await thread.wait_stopped()
    assert thread not in tunnel_thread._living
    assert failures == []
