"""Steps that do not depend on each other: one that fails stops no other."""

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager


@contextlib.contextmanager
def postpone_errors(
    *kinds: type[Exception],
) -> Iterator[Callable[[], AbstractContextManager[None]]]:
    """Yields a context for each step, and raises the first of their errors at the end.

    Errors other than `kinds`, and those outside of a step, are raised at once.
    """
    first: Exception | None = None

    @contextlib.contextmanager
    def step() -> Iterator[None]:
        nonlocal first
        try:
            yield
        except kinds as error:
            first = first or error

    yield step
    if first is not None:
        raise first
