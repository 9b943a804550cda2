"""Makes rows of storage for the contract tests, in any implementation."""

from uuid import UUID

from db.kit.base import OwnerId, new_id
from db.kit.lists.paging import Window
from db.storage import BspRow, BucketRow, FileRow, NewBsp, NewFile, StorageOperations

HELLO = bytes.fromhex("2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824")
ADDRESS = "/ip4/203.0.113.7/tcp/30333"
MANY = Window(100)


async def make_bsp(
    storage: StorageOperations, owner: OwnerId, account: str = "acme", capacity: int = 1_000
) -> BspRow:
    return await storage.create_bsp(owner, NewBsp(account, capacity, [ADDRESS]))


async def make_bucket(
    storage: StorageOperations, owner: OwnerId, name: str = "photos", *, private: bool = True
) -> BucketRow:
    return await storage.create_bucket(owner, name, private=private)


async def make_file(
    storage: StorageOperations,
    owner: OwnerId,
    bucket: BucketRow,
    location: str = "a.txt",
    *,
    size: int = 5,
    replicas: int = 0,
) -> FileRow:
    return await storage.create_file(owner, NewFile(bucket.id, location, size, None, replicas))


async def store_file(storage: StorageOperations, file: FileRow) -> FileRow:
    return await storage.finish_upload(file, object_id=new_id(), fingerprint=HELLO)


async def read_bucket(storage: StorageOperations, owner: OwnerId, bucket_id: UUID) -> BucketRow:
    (bucket,) = await storage.buckets_by_id(owner, [bucket_id])
    return bucket


async def used_capacities(storage: StorageOperations, owner: OwnerId, *bsps: BspRow) -> list[int]:
    found = {bsp.id: bsp for bsp in await storage.bsps_by_id(owner, [one.id for one in bsps])}
    return [found[bsp.id].used_capacity for bsp in bsps]
