"""Rows that subscriptions follow."""

from typing import TypeVar

from db.errors import NotFound

R = TypeVar("R")


def require_followed(row: R | None, noun: str) -> R:
    """Returns the row. Raises NotFound if the viewer has none, or if it was deleted meanwhile."""
    if row is None:
        raise NotFound(
            f"This {noun} does not exist.",
            hint=f"Check the ID: the {noun} may have been deleted.",
            field="id",
        )
    return row
