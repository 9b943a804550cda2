"""Reads the numbers of a plan."""

import math
from typing import Any


def number(properties: dict[str, Any], key: str) -> float | None:
    """None if there is none. The server may not be PostgreSQL and answer anything."""
    value = properties.get(key)
    if not isinstance(value, int | float):
        return None
    try:
        found = float(value)
    except OverflowError:
        return None
    return found if math.isfinite(found) else None
