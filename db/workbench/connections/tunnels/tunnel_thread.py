"""A thread with an event loop of its own, in which one SSH connection lives.

A hostile SSH server can keep the loop of its tunnel busy, and no other loop. All tunnels together
take at most one of the turns at the interpreter (`tunnel_turns`).
"""

import asyncio
import threading
from collections.abc import Coroutine, Hashable
from concurrent.futures import Future
from typing import Any, TypeVar

from db.concurrency.fair_slots import FairSlots
from db.errors import Overloaded
from db.workbench.connections.tunnels.tunnel_turns import TurnSelector

T = TypeVar("T")
MAX_THREADS = 200
_slots = FairSlots("SSH tunnels", total=MAX_THREADS)


class TunnelThread:
    """Runs coroutines of one tunnel. `stop` cancels those that are not done."""

    def __init__(self) -> None:
        self._started: Future[asyncio.AbstractEventLoop] = Future()
        self._ended: Future[None] = Future()
        self._stopped = asyncio.Event()
        self._selector = TurnSelector()

    @classmethod
    async def start(cls, user: Hashable = None) -> "TunnelThread":
        """Returns a running thread.

        Raises:
            Overloaded: This process has `MAX_THREADS` tunnels, or the user has tunnels, and the
                last quarter is kept for those who have none.
        """
        if not _slots.take(user):
            raise Overloaded(
                "Howdah has reached its limit of open SSH tunnels.",
                hint="Disconnect an unused connection, or try again in a moment.",
                retry_after_s=5,
                cause="tunnels",
            )
        tunnel, loop = cls(), asyncio.get_running_loop()
        tunnel._ended.add_done_callback(lambda _: _release_slot(loop, user))
        threading.Thread(target=tunnel._serve, name="ssh tunnel", daemon=True).start()
        try:
            await asyncio.shield(asyncio.wrap_future(tunnel._started))
        except asyncio.CancelledError:
            tunnel._started.add_done_callback(lambda _: tunnel.stop())
            raise
        return tunnel

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        return self._started.result()

    @property
    def is_running(self) -> bool:
        return not self._ended.done()

    async def run(self, work: Coroutine[Any, Any, T]) -> T:
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self.loop))

    def rest(self, seconds: float) -> None:
        """Blocks this thread, for work of its loop that took too long."""
        self._selector.rest(seconds)

    def stop(self) -> None:
        """Returns at once; the thread ends with its current step."""
        if self.is_running:
            self.loop.call_soon_threadsafe(self._stopped.set)

    async def wait_stopped(self) -> None:
        await asyncio.shield(asyncio.wrap_future(self._ended))

    def _serve(self) -> None:
        try:
            # `data_received` is replaced (SshBudget.watch), which uvloop would not notice.
            with asyncio.Runner(loop_factory=self._make_loop) as runner:
                runner.run(self._until_stopped())
        finally:
            self._selector.end_turn()
            self._ended.set_result(None)

    def _make_loop(self) -> asyncio.AbstractEventLoop:
        return asyncio.SelectorEventLoop(self._selector)

    async def _until_stopped(self) -> None:
        self._started.set_result(asyncio.get_running_loop())
        await self._stopped.wait()


def _release_slot(loop: asyncio.AbstractEventLoop, user: Hashable) -> None:
    """Called in the thread of the tunnel."""
    try:
        loop.call_soon_threadsafe(_slots.release, user)
    except RuntimeError:  # the loop has ended, and nobody waits for a slot
        _slots.release(user)
