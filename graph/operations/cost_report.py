"""`extensions.cost` of an answer: what the operation requests, and what is left of the limits."""

from collections.abc import Mapping
from typing import Any

import msgspec

from db.kit.base import to_timestamp_text
from db.users.cost_allowance import Standing
from graph.operations.plans import Prepared

EXTENSION = "cost"
"""The member of `extensions` that asks for the report (`{"cost": true}`), and that has it."""

_encode = msgspec.json.Encoder().encode


def report_cost(
    prepared: Prepared, variables: Mapping[str, Any], standing: Standing | None
) -> bytes:
    """A member of the extensions of an answer. `standing` is None without a limit in a minute."""
    cost = {
        "requested": prepared.cost.run(variables),
        "allowed": prepared.max_cost,
        "remaining": None if standing is None else standing.remaining,
        "resetsAt": standing and to_timestamp_text(standing.resets_at),
    }
    return _encode({EXTENSION: cost})[1:-1]
