"""Reads of storage hold the viewer's slot, which limits concurrent reads."""

from datetime import UTC, datetime, timedelta

import pytest

from db.services import Services
from db.users import Role
from graph.auth import Viewer
from graph.context import Context, UnlimitedSlot
from graph.schema import schema
from tests.fixtures.clients import Client
from tests.fixtures.factories import make_bucket, make_file


class CountingSlot(UnlimitedSlot):
    """Counts the reads that ask for their share."""

    def __init__(self) -> None:
        self.count = 0

    @property
    def read_share(self) -> None:
        self.count += 1


@pytest.mark.parametrize(
    ("selection", "reads"),
    [
        ("bsps(first: 1) { totalCount }", 2),
        ("files(first: 1) { nodes { location } }", 1),
        ('fileByKey(key: "%s") { id }' % ("0" * 64), 1),
        ("buckets(first: 1) { nodes { files(first: 1) { nodes { location } } } }", 2),
        ("files(first: 1) { nodes { bucket { name } replicas { bsp { id } } } }", 3),
    ],
)
async def test_reads_hold_the_slot_of_the_viewer(
    ada: Client, services: Services, selection: str, reads: int
) -> None:
    await make_file(ada, bucketId=await make_bucket(ada))
    assert ada.user is not None
    expires_at = datetime.now(UTC) + timedelta(hours=1)
    viewer = Viewer(id=ada.user.id, role=Role.USER, expires_at=expires_at)
    slot = CountingSlot()
    context = Context(services=services, viewer=viewer, request_id="1", slot=slot)
    result = await schema.execute(f"{{ {selection} }}", context_value=context)
    assert result.errors is None
    assert slot.count == reads


async def test_files_of_many_buckets_are_limited_in_number(
    ada: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [await make_bucket(ada) for _ in range(5)]
    for bucket_id in ids:
        await make_file(ada, bucketId=bucket_id)
    text = """query($ids: [ID!]!) { nodes(ids: $ids) { ... on Bucket {
      files(first: 10) { nodes { location } } } } }"""
    monkeypatch.setattr("graph.kit.loaded_rows.MAX_ROWS_AT_ONCE", 20)
    found = await ada.ask(text, ids=ids)
    assert [len(bucket["files"]["nodes"]) for bucket in found["nodes"]] == [1] * 5
    monkeypatch.setattr("graph.kit.loaded_rows.MAX_ROWS", 4)
    assert await ada.ask(text, ids=ids[:4])
    (error,) = (await ada.send(text, ids=ids)).errors
    assert error["message"].startswith("The result has more than 4 rows")
    assert error["extensions"]["hint"].startswith(
        "Lower `first` of `files` (10) or `ids` of `nodes`"
    )
