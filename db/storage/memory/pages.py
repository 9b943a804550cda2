"""Keyset pages over plain lists, the same that a statement of `db.kit.paging.select_page` gives."""

import bisect
from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple, TypeVar

from db.kit.base import to_timestamp_text
from db.kit.paging import Page, SortOrder, Window, make_page, window_values
from db.storage.rows import NEWEST

Row = TypeVar("Row", bound=NamedTuple)


def page(rows: Iterable[Row], window: Window, order: SortOrder) -> Page[Row]:
    rows = list(rows)
    kind = datetime if order is NEWEST else str
    values = window_values(window, order, kind=kind)
    for name in ("after_key", "before_key"):
        if kind is datetime and name in values:
            values[name] = to_timestamp_text(values[name])
    placed = sorted((getattr(row, order.column), row.id, row) for row in rows)  # type: ignore[attr-defined]  # every row has an id
    low, high = ("before", "after") if order.descending else ("after", "before")
    places = [place[:2] for place in placed]
    start, end = 0, len(places)
    if f"{low}_key" in values:
        start = bisect.bisect_right(places, (values[f"{low}_key"], values[f"{low}_id"]))
    if f"{high}_key" in values:
        end = bisect.bisect_left(places, (values[f"{high}_key"], values[f"{high}_id"]))
    kept = placed[start:end]
    if order.descending is not window.backward:
        kept.reverse()
    return make_page([row for _, _, row in kept[: values["limit"]]], window, order)
