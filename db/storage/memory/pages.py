"""Keyset pages of lists, equal to those of `db.kit.lists.paging.select_page`."""

import bisect
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import NamedTuple, TypeVar

from db.kit.base import to_timestamp_text
from db.kit.lists.paging import Page, SortOrder, Window, make_page, window_values
from db.storage.rows import BY_PATH, NEWEST, FolderRow

Row = TypeVar("Row", bound=NamedTuple)


def page(rows: Iterable[Row], window: Window, order: SortOrder) -> Page[Row]:
    rows = list(rows)
    kind = datetime if order is NEWEST else str
    values = window_values(window, order, kind=kind)
    for name in ("after_key", "before_key"):
        if kind is datetime and name in values:
            values[name] = to_timestamp_text(values[name])
    keyed = sorted((getattr(row, order.column), row.id, row) for row in rows)  # type: ignore[attr-defined]  # every row has an id
    low, high = ("before", "after") if order.descending else ("after", "before")
    positions = [row[:2] for row in keyed]
    start, end = 0, len(positions)
    if f"{low}_key" in values:
        start = bisect.bisect_right(positions, (values[f"{low}_key"], values[f"{low}_id"]))
    if f"{high}_key" in values:
        end = bisect.bisect_left(positions, (values[f"{high}_key"], values[f"{high}_id"]))
    selected = keyed[start:end]
    if order.descending is not window.backward:
        selected.reverse()
    return make_page([row for _, _, row in selected[: values["limit"]]], window, order)


def folder_page(folders: Sequence[FolderRow], window: Window) -> Page[FolderRow]:
    """A page of folders, which are sorted as if their paths ended with a slash."""
    values = window_values(window, BY_PATH, kind=str)
    after, before = values.get("after_key"), values.get("before_key")
    selected = [
        folder
        for folder in folders
        if (after is None or f"{folder.path}/" > f"{after}/")
        and (before is None or f"{folder.path}/" < f"{before}/")
    ]
    if window.backward:
        selected.reverse()
    return make_page(selected[: values["limit"]], window, BY_PATH)
