"""Formats the numbers of a plan."""

from typing import Any

from db.workbench.plans.numbers import number


def number_or_zero(properties: dict[str, Any], key: str) -> float:
    return number(properties, key) or 0.0


def counts(properties: dict[str, Any], **keys: str) -> str:
    """The numbers that are not zero, such as ` hit=1 read=2`."""
    return "".join(
        f" {name.replace('_', ' ')}={number_or_zero(properties, key):.0f}"
        for name, key in keys.items()
        if number_or_zero(properties, key) > 0
    )


def actual(properties: dict[str, Any]) -> str:
    """Rows have a fraction from PostgreSQL 18, which the JSON then has, too."""
    rows = properties.get("Actual Rows", 0)
    time = ""
    if "Actual Total Time" in properties:
        startup = number_or_zero(properties, "Actual Startup Time")
        total = number_or_zero(properties, "Actual Total Time")
        time = f"time={startup:.3f}..{total:.3f} "
    shown = f"{rows:.2f}" if isinstance(rows, float) else rows
    return f"actual {time}rows={shown} loops={number_or_zero(properties, 'Actual Loops'):.0f}"
