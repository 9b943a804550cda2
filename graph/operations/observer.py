"""What is told of each operation, for metrics and the operation log."""

from typing import Protocol

from graph.context import Context
from graph.operations.plans import Prepared


class Following(Protocol):
    """A subscription that is open."""

    def note(self, code: str) -> None:
        """Call with `OK` when the subscription is open, and with the code of each answer."""

    def end(self) -> None: ...


class Observer(Protocol):
    """`code` is `OK` or the code of the first error."""

    def ended(self, prepared: Prepared, context: Context, code: str, seconds: float) -> None:
        """Call after a query or mutation."""

    def refused(self, context: Context, code: str) -> None:
        """Call if no operation of the request may run."""

    def follow(self, prepared: Prepared, context: Context) -> Following:
        """Call when a subscription is requested."""


class _Unobserved:
    """Observes nothing."""

    def ended(self, prepared: Prepared, context: Context, code: str, seconds: float) -> None:
        """Do nothing."""

    def refused(self, context: Context, code: str) -> None:
        """Do nothing."""

    def follow(self, prepared: Prepared, context: Context) -> Following:  # noqa: ARG002 - the protocol
        return self

    def note(self, code: str) -> None:
        """Do nothing."""

    def end(self) -> None:
        """Do nothing."""


UNOBSERVED = _Unobserved()
