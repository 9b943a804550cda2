"""Lets one tunnel thread of the process run at a time.

Threads share the interpreter, and the main loop waits for it up to one switch interval for each
thread that wants it: sixteen busy tunnels delayed a request by 270 ms.
"""

import selectors
import threading
import time

_turn = threading.Lock()


class TurnSelector(selectors.DefaultSelector):
    """Ends the turn of its loop while the loop waits, and takes the next before callbacks run."""

    def __init__(self) -> None:
        super().__init__()
        self._has_turn = False

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self.end_turn()
        ready = super().select(timeout)
        self._take_turn()
        return ready

    def rest(self, seconds: float) -> None:
        """Leaves the interpreter to others, in the middle of a callback."""
        self.end_turn()
        time.sleep(seconds)
        self._take_turn()

    def end_turn(self) -> None:
        if self._has_turn:
            self._has_turn = False
            _turn.release()

    def close(self) -> None:
        self.end_turn()
        super().close()

    def _take_turn(self) -> None:
        _turn.acquire()
        self._has_turn = True
