"""The operator as the actor of the audit log."""

import getpass

from db.kit.audit import Actor, current_actor


def act_as_operator() -> None:
    """Call this at the start of a command that changes something, before its event loop runs."""
    current_actor.set(Actor(operator=_account()))


def _account() -> str:
    """The account of the operating system that runs the command; containers may have no name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"
