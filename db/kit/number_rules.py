"""Number validation."""

from db.errors import BadInput


def require_between(
    field: str, value: int | None, low: int, high: int, *, hint: str | None = None
) -> int:
    """Returns the value, or raises BadInput if it is missing or out of range."""
    if value is None or not low <= value <= high:
        raise BadInput(
            f"`{field}` is not between {low} and {high}.",
            hint=hint or f"Pass a value between {low} and {high}.",
            field=field,
        )
    return value
