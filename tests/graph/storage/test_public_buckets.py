"""Public buckets are listed for every user, private ones for their owner only."""

from typing import Any

import pytest

from db.storage import BucketRow, Buckets
from tests.fixtures.clients import Client
from tests.fixtures.factories import make_bucket, make_file

PUBLIC = """query($after: String) { publicBuckets(first: 2, after: $after) {
  totalCount nodes { name ownedByViewer files(first: 5) { nodes { location } } }
  pageInfo { hasNextPage endCursor } } }"""
CREATE = """mutation($input: CreateBucketInput!) { createBucket(input: $input) {
  bucket { ownedByViewer } } }"""
UPDATE = """mutation($input: UpdateBucketInput!) { updateBucket(input: $input) {
  bucket { private version ownedByViewer } } }"""


async def listed(client: Client) -> list[Any]:
    found: list[Any] = []
    after = None
    while True:
        page = (await client.ask(PUBLIC, after=after))["publicBuckets"]
        found += page["nodes"]
        if not page["pageInfo"]["hasNextPage"]:
            assert page["totalCount"] == len(found)
            return found
        after = page["pageInfo"]["endCursor"]


async def test_public_buckets_of_all_users_are_listed(
    ada: Client, bob: Client, anonymous: Client
) -> None:
    made = [await make_bucket(ada, name=f"open {n}", private=False) for n in range(3)]
    await make_file(ada, bucketId=made[2], location="a.txt")
    await make_bucket(bob, name="of bob", private=False)
    await make_bucket(ada, name="hidden")
    names = {"open 0", "open 1", "open 2", "of bob"}
    for client, own in ((ada, names - {"of bob"}), (bob, {"of bob"})):
        buckets = {bucket["name"]: bucket for bucket in await listed(client)}
        assert buckets.keys() == names
        assert {name for name in names if buckets[name]["ownedByViewer"]} == own
        assert buckets["open 2"]["files"]["nodes"] == [{"location": "a.txt"}]
    assert (await anonymous.send(PUBLIC)).code == "UNAUTHENTICATED"

    changed = await ada.ask(UPDATE, input={"id": made[0], "private": True, "expectedVersion": 1})
    assert changed["updateBucket"]["bucket"] == {
        "private": True,
        "version": 2,
        "ownedByViewer": True,
    }
    assert names - {bucket["name"] for bucket in await listed(bob)} == {"open 0"}


async def test_bucket_that_an_earlier_version_kept_for_a_key_is_the_viewers(
    ada: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Buckets, "add", with_no_owner(Buckets.add))
    for _ in range(2):
        made = await ada.ask(CREATE, input={"name": "b", "idempotencyKey": "k"})
        assert made == {"createBucket": {"bucket": {"ownedByViewer": True}}}


def with_no_owner(add: Any) -> Any:
    async def add_without_owner(self: Any, **values: Any) -> BucketRow:
        row: BucketRow = await add(self, **values)
        return row._replace(owner_id=None)

    return add_without_owner
