"""The contract of providers: tested on PostgreSQL, on the twin, and with injected failures."""

import pytest

from db.errors import Conflict, NotFound
from db.kit.base import OwnerId, new_id
from db.storage import (
    NewBsp,
    StorageOperations,
)
from tests.db.storage.samples import make_bsp, make_bucket, make_file, read_bucket, used_capacities

# Providers


async def test_create_bsp_normalizes_account_and_addresses(
    storage: StorageOperations, owner: OwnerId
) -> None:
    given = NewBsp(
        " acme ", 2**63 - 1, ["/ip6/FE80::0001/udp/1/quic-v1", "/dns4/BSP.example/tcp/1"]
    )
    bsp = await storage.create_bsp(owner, given)
    assert (bsp.account, bsp.capacity, bsp.version) == ("acme", 2**63 - 1, 1)
    assert (bsp.used_capacity, bsp.free_capacity) == (0, 2**63 - 1)
    assert bsp.multiaddresses == ["/ip6/fe80::1/udp/1/quic-v1", "/dns4/bsp.example/tcp/1"]
    assert await storage.bsps_by_id(owner, [bsp.id, new_id()]) == [bsp]


async def test_create_bsp_rejects_a_second_provider_of_an_account(
    storage: StorageOperations, owner: OwnerId
) -> None:
    await make_bsp(storage, owner)
    with pytest.raises(Conflict) as caught:
        await make_bsp(storage, owner)
    assert caught.value.field == "account"
    assert await storage.count_bsps(owner) == 1


async def test_update_bsp_capacity_rejects_less_than_is_used(
    storage: StorageOperations, owner: OwnerId
) -> None:
    bsp = await make_bsp(storage, owner)
    await make_file(storage, owner, await make_bucket(storage, owner), size=700, replicas=1)
    with pytest.raises(Conflict, match="700 bytes") as caught:
        await storage.update_bsp_capacity(owner, bsp.id, 699)
    assert caught.value.field == "capacity"
    changed = await storage.update_bsp_capacity(owner, bsp.id, 700, expected_version=1)
    assert (changed.capacity, changed.free_capacity, changed.version) == (700, 0, 2)
    with pytest.raises(Conflict) as caught:
        await storage.update_bsp_capacity(owner, bsp.id, 800, expected_version=1)
    assert caught.value.field == "expectedVersion"
    with pytest.raises(NotFound):
        await storage.update_bsp_capacity(owner, new_id(), 1)


async def test_set_bsp_multiaddresses_replaces_all_addresses(
    storage: StorageOperations, owner: OwnerId
) -> None:
    bsp = await make_bsp(storage, owner)
    changed = await storage.set_bsp_multiaddresses(owner, bsp.id, ["/dns/b.example/tcp/1"])
    assert (changed.multiaddresses, changed.version) == (["/dns/b.example/tcp/1"], 2)
    with pytest.raises(NotFound):
        await storage.set_bsp_multiaddresses(owner, new_id(), [])
    for change in (
        storage.set_bsp_multiaddresses(owner, bsp.id, [], expected_version=1),
        storage.delete_bsp(owner, bsp.id, expected_version=1),
    ):
        with pytest.raises(Conflict) as caught:
            await change
        assert caught.value.field == "expectedVersion"
    await storage.delete_bsp(owner, bsp.id, expected_version=2)


async def test_delete_bsp_rejects_a_provider_with_files(
    storage: StorageOperations, owner: OwnerId
) -> None:
    bsp = await make_bsp(storage, owner)
    file = await make_file(storage, owner, await make_bucket(storage, owner), replicas=1)
    with pytest.raises(Conflict):
        await storage.delete_bsp(owner, bsp.id)
    await storage.begin_deletion(owner, file.id)
    await storage.delete_bsp(owner, bsp.id)
    assert await storage.count_bsps(owner) == 0
    with pytest.raises(NotFound):
        await storage.delete_bsp(owner, bsp.id)


# Placement


async def test_placement_chooses_providers_with_most_free_space(
    storage: StorageOperations, owner: OwnerId
) -> None:
    small = await make_bsp(storage, owner, "small", 100)
    large = await make_bsp(storage, owner, "large", 300)
    middle = await make_bsp(storage, owner, "middle", 200)
    bucket = await make_bucket(storage, owner)
    first = await make_file(storage, owner, bucket, "1", size=90, replicas=2)
    second = await make_file(storage, owner, bucket, "2", size=90, replicas=2)
    assert await used_capacities(storage, owner, small, middle, large) == [0, 180, 180]
    third = await make_file(storage, owner, bucket, "3", size=100, replicas=2)
    placed = await storage.bsps_of_files(owner, [first.id, second.id, third.id, new_id()])
    assert placed[first.id] == placed[second.id] == sorted([large.id, middle.id])
    assert placed[third.id] == sorted([large.id, small.id])
    assert await used_capacities(storage, owner, small, middle, large) == [100, 180, 280]


async def test_placement_without_enough_space_changes_nothing(
    storage: StorageOperations, owner: OwnerId
) -> None:
    bsp = await make_bsp(storage, owner, capacity=10)
    bucket = await make_bucket(storage, owner)
    for size, replicas in ((11, 1), (10, 2)):
        with pytest.raises(Conflict) as caught:
            await make_file(storage, owner, bucket, size=size, replicas=replicas)
        assert caught.value.field == "desiredReplicas"
    assert await used_capacities(storage, owner, bsp) == [0]
    assert (await read_bucket(storage, owner, bucket.id)).file_count == 0
    await make_file(storage, owner, bucket, size=10, replicas=1)
    assert await used_capacities(storage, owner, bsp) == [10]
