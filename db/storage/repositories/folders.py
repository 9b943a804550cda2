"""The repository of folders, which are derived from the locations of files."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Text, bindparam, func, literal, select, true
from sqlalchemy.sql import ClauseElement

from db.kit.lists.paging import Page, Window, make_page, window_values
from db.kit.parent_pages import PARENTS
from db.kit.repository import S
from db.postgres.statements import statement
from db.storage import rules
from db.storage.repositories.files import Files
from db.storage.rows import BY_PATH, FolderRow


class Folders(Files[S]):
    """The folders of readable buckets, one level at a time.

    A statement jumps from the files of one folder to the next folder in the index, so it reads one
    entry for each folder and not one for each file. The column `folder` ends with a slash, whose
    successor is `0`: the folders within `a/` are those from `a/` up to, not including, `a0`.
    """

    async def of_buckets_at(
        self, bucket_ids: Sequence[UUID], window: Window, *, under: str | None
    ) -> Mapping[UUID, Page[FolderRow]]:
        values = window_values(window, BY_PATH, kind=str)
        bounds = _bounds(under, values.get("after_key"), values.get("before_key"))
        query = self._folders(window.backward, "high" in bounds, True)
        found: list[list[FolderRow]] = [[] for _ in bucket_ids]
        records = await self.run(query, ids=list(bucket_ids), limit=values["limit"], **bounds)
        for path, position in records:
            found[position - 1].append(FolderRow(bucket_ids[position - 1], path[:-1]))
        pages = (make_page(rows, window, BY_PATH) for rows in found)
        return dict(zip(bucket_ids, pages, strict=True))

    async def count_of_buckets_at(
        self, bucket_ids: Sequence[UUID], *, under: str | None
    ) -> Mapping[UUID, int]:
        bounds = _bounds(under, None, None)
        query = self._folders(False, "high" in bounds, False)
        found = await self.run(query, ids=list(bucket_ids), **bounds)
        return {bucket_ids[position - 1]: count for position, count in found}

    @statement
    def _folders(cls, backward: bool, bounded: bool, limited: bool) -> ClauseElement:  # noqa: FBT001 - shapes, passed by position
        """Paths and positions of parents, or the number of paths for each position."""
        folder = cls.table().c.folder
        low, high = folder >= _text("low"), folder < _text("high")
        within = (low, high) if bounded else (low,)
        first = cls._first(PARENTS.c.id, *within, backward=backward)
        seed = select(
            PARENTS.c.id, PARENTS.c.position, _path(first.c.folder), literal(1).label("number")
        ).select_from(PARENTS.join(first, true()))
        found = seed.cte("folders", recursive=True)
        if backward:
            follows = (low, folder < found.c.path)
        else:
            follows = (folder >= func.left(found.c.path, -1).concat("0"), *within[1:])
        next_one = cls._first(found.c.id, *follows, backward=backward)
        step = select(
            found.c.id, found.c.position, _path(next_one.c.folder), found.c.number + 1
        ).select_from(found.join(next_one, true()))
        if limited:
            step = step.where(found.c.number < bindparam("limit"))
        found = found.union_all(step)
        if limited:
            columns = (found.c.path, found.c.position)
            return select(*columns).order_by(found.c.position, found.c.number)
        return select(found.c.position, func.count()).group_by(found.c.position)

    @classmethod
    def _first(cls, bucket_id: Any, *conditions: Any, backward: bool) -> Any:
        """The first folder of a bucket that meets the conditions."""
        file = cls.table().c
        order = file.folder.desc() if backward else file.folder.asc()
        found = cls.readable(file.folder).where(file.bucket_id == bucket_id, *conditions)
        return found.order_by(order).limit(1).lateral("first")


def _bounds(under: str | None, after: str | None, before: str | None) -> dict[str, str]:
    """The range of folders, without the upper bound if it is the end of the bucket."""
    base = rules.folder_prefix(under)
    # No location contains a control character, so the first one follows the folder itself.
    lows = [f"{base}\x01"] + ([] if after is None else [f"{after}0"])
    highs = ([f"{base[:-1]}0"] if base else []) + ([] if before is None else [f"{before}/"])
    bounds = {"base": base, "low": max(lows, key=str.encode)}
    return bounds | ({"high": min(highs, key=str.encode)} if highs else {})


def _path(folder: Any) -> Any:
    """The folder on the level below `base` that contains a folder, with a slash at its end."""
    base = _text("base")
    rest = func.substr(folder, func.length(base) + 1, type_=Text())
    name = func.split_part(rest, "/", 1, type_=Text())
    return base.concat(name).concat("/").label("path")


def _text(name: str) -> Any:
    return bindparam(name, type_=Text())
