"""The thread of a tunnel, without an SSH server."""

import asyncio
import threading
from typing import ClassVar

import pytest

from db.workbench.connections.tunnels import tunnel_thread, tunnel_turns
from db.workbench.connections.tunnels.tunnel_thread import TunnelThread
from tests.fixtures.patience import patience


class _Known(TunnelThread):
    """Is known to the test, although `start` is cancelled."""

    made: ClassVar[list[TunnelThread]] = []

    def __init__(self) -> None:
        super().__init__()
        self.made.append(self)


async def test_thread_ends_if_its_start_is_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    """It waits for its turn meanwhile, as beside busy tunnels."""
    failures: list[threading.ExceptHookArgs] = []
    monkeypatch.setattr(threading, "excepthook", failures.append)
    with tunnel_turns._turn:
        starting = asyncio.create_task(_Known.start("ann"))
        await asyncio.sleep(0)
        (thread,) = _Known.made
        starting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await starting
    async with patience():
        await thread.wait_stopped()
        while "ann" in tunnel_thread._slots._held:  # noqa: ASYNC110 - released by another thread
            await asyncio.sleep(0)
    assert failures == []
