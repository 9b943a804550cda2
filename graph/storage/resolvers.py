"""Storage: providers keep files, buckets hold them, their bytes go by HTTP (graph.transfers)."""

from typing import Annotated

import strawberry

from db.storage import (
    UPLOAD_WITHIN,
    BspRow,
    BucketRow,
    FileRow,
    NewBsp,
    NewFile,
    delete_file,
    remove_bytes_if_possible,
)
from graph.auth import AdminOnly, SignedIn
from graph.context import Info
from graph.kit.fields import argument, given, mutation, query
from graph.kit.ids import parse_id
from graph.kit.paging import After, Before, Connection, First, Last, Listing, window
from graph.kit.signed_links import Links
from graph.storage.inputs import (
    CreateBspInput,
    CreateBspPayload,
    CreateBucketInput,
    CreateBucketPayload,
    CreateFileInput,
    CreateFilePayload,
    DeleteBspInput,
    DeleteBspPayload,
    DeleteBucketInput,
    DeleteBucketPayload,
    DeleteFileInput,
    DeleteFilePayload,
    RenameBucketInput,
    RenameBucketPayload,
    SetBspMultiaddressesInput,
    SetBspMultiaddressesPayload,
    UpdateBspCapacityInput,
    UpdateBspCapacityPayload,
)
from graph.storage.loaders import BspById, BucketById, FileById
from graph.storage.types import Bsp, Bucket, File, parse_key
from graph.transport.file_routes import file_path

REMOVED_AT_ONCE = 100
"""Bytes of so many files go with their bucket; those of the rest with the next sweep."""

BspId = Annotated[strawberry.ID, argument("The id of a provider.")]
BucketId = Annotated[strawberry.ID, argument("The id of a bucket.")]
FileId = Annotated[strawberry.ID, argument("The id of a file.")]
FileKey = Annotated[str, argument("The `key` of a file: 64 hex digits.")]


@strawberry.type
class Query:
    """What can be asked."""

    @query("A provider; null when there is none of this id.", who=SignedIn, type=Bsp | None)
    async def bsp(self, info: Info, id: BspId) -> BspRow | None:
        return await BspById.of(info.context).load(parse_id("bsp", id))

    @query("All providers, newest first.", who=SignedIn, type=Connection[Bsp])
    async def bsps(
        self,
        info: Info,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
    ) -> Listing:
        storage, owner = info.context.services.storage, info.context.owner
        asked = window(info.context, first=first, after=after, last=last, before=before)
        return Listing(await storage.bsps(owner, asked), lambda: storage.count_bsps(owner))

    @query(
        "A bucket, mine or public; null when I may read none of this id.",
        who=SignedIn,
        type=Bucket | None,
    )
    async def bucket(self, info: Info, id: BucketId) -> BucketRow | None:
        return await BucketById.of(info.context).load(parse_id("bucket", id))

    @query("My buckets, newest first.", who=SignedIn, type=Connection[Bucket])
    async def buckets(
        self,
        info: Info,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
    ) -> Listing:
        storage, owner = info.context.services.storage, info.context.owner
        asked = window(info.context, first=first, after=after, last=last, before=before)
        return Listing(await storage.buckets(owner, asked), lambda: storage.count_buckets(owner))

    @query(
        "A file, mine or in a public bucket; null when I may read none.",
        who=SignedIn,
        type=File | None,
    )
    async def file(self, info: Info, id: FileId) -> FileRow | None:
        return await FileById.of(info.context).load(parse_id("file", id))

    @query(
        "The stored file with this key; null when I may read none.", who=SignedIn, type=File | None
    )
    async def file_by_key(self, info: Info, key: FileKey) -> FileRow | None:
        storage, owner = info.context.services.storage, info.context.owner
        return await storage.file_by_key(owner, parse_key(key))

    @query("All my files, over all buckets, newest first.", who=SignedIn, type=Connection[File])
    async def files(
        self,
        info: Info,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
    ) -> Listing:
        storage, owner = info.context.services.storage, info.context.owner
        asked = window(info.context, first=first, after=after, last=last, before=before)
        return Listing(await storage.files(owner, asked), lambda: storage.count_files(owner))


@strawberry.type
class Mutation:
    """What can be changed."""

    @mutation("Registers a provider.", who=AdminOnly)
    async def create_bsp(
        self, info: Info, input: Annotated[CreateBspInput, argument("The provider.")]
    ) -> CreateBspPayload:
        asked = given(input)
        key = asked.pop("idempotency_key", None)
        storage, owner = info.context.services.storage, info.context.owner
        return CreateBspPayload(
            bsp=await storage.create_bsp(owner, NewBsp(**asked), idempotency_key=key)
        )

    @mutation("Changes how much a provider can keep.", who=AdminOnly)
    async def update_bsp_capacity(
        self, info: Info, input: Annotated[UpdateBspCapacityInput, argument("The change.")]
    ) -> UpdateBspCapacityPayload:
        asked = given(input)
        bsp_id = parse_id("bsp", asked.pop("id"))
        storage, owner = info.context.services.storage, info.context.owner
        return UpdateBspCapacityPayload(
            bsp=await storage.update_bsp_capacity(owner, bsp_id, **asked)
        )

    @mutation("Changes where a provider is reached.", who=AdminOnly)
    async def set_bsp_multiaddresses(
        self, info: Info, input: Annotated[SetBspMultiaddressesInput, argument("The addresses.")]
    ) -> SetBspMultiaddressesPayload:
        bsp_id = parse_id("bsp", input.id)
        storage, owner = info.context.services.storage, info.context.owner
        return SetBspMultiaddressesPayload(
            bsp=await storage.set_bsp_multiaddresses(owner, bsp_id, input.multiaddresses)
        )

    @mutation("Deletes a provider that keeps nothing.", who=AdminOnly)
    async def delete_bsp(
        self, info: Info, input: Annotated[DeleteBspInput, argument("The provider.")]
    ) -> DeleteBspPayload:
        storage, owner = info.context.services.storage, info.context.owner
        await storage.delete_bsp(owner, parse_id("bsp", input.id))
        return DeleteBspPayload(deleted_bsp_id=input.id)

    @mutation("Makes a bucket.", who=SignedIn)
    async def create_bucket(
        self, info: Info, input: Annotated[CreateBucketInput, argument("The bucket.")]
    ) -> CreateBucketPayload:
        storage, owner = info.context.services.storage, info.context.owner
        return CreateBucketPayload(bucket=await storage.create_bucket(owner, **given(input)))

    @mutation("Renames a bucket.", who=SignedIn)
    async def rename_bucket(
        self, info: Info, input: Annotated[RenameBucketInput, argument("The new name.")]
    ) -> RenameBucketPayload:
        asked = given(input)
        bucket_id = parse_id("bucket", asked.pop("id"))
        storage, owner = info.context.services.storage, info.context.owner
        return RenameBucketPayload(bucket=await storage.rename_bucket(owner, bucket_id, **asked))

    @mutation("Deletes a bucket, and its files where that is asked for.", who=SignedIn)
    async def delete_bucket(
        self, info: Info, input: Annotated[DeleteBucketInput, argument("The bucket.")]
    ) -> DeleteBucketPayload:
        services, owner = info.context.services, info.context.owner
        bucket_id = parse_id("bucket", input.id)
        gone = await services.storage.delete_bucket(owner, bucket_id, with_files=input.with_files)
        await remove_bytes_if_possible(services.storage, services.objects, gone[:REMOVED_AT_ONCE])
        return DeleteBucketPayload(deleted_bucket_id=input.id)

    @mutation("Makes room for a file, and says where its bytes go.", who=SignedIn)
    async def create_file(
        self, info: Info, input: Annotated[CreateFileInput, argument("The file.")]
    ) -> CreateFilePayload:
        asked = given(input)
        asked["bucket_id"] = parse_id("bucket", asked["bucket_id"], argument="bucketId")
        key = asked.pop("idempotency_key", None)
        services, owner = info.context.services, info.context.owner
        file = await services.storage.create_file(owner, NewFile(**asked), idempotency_key=key)
        signed = Links(services.keys).sign("PUT", file_path(file.id), expires_in=UPLOAD_WITHIN)
        return CreateFilePayload(file=file, upload_url=info.context.base_url + signed)

    @mutation("Deletes a file.", who=SignedIn)
    async def delete_file(
        self, info: Info, input: Annotated[DeleteFileInput, argument("The file.")]
    ) -> DeleteFilePayload:
        services, owner = info.context.services, info.context.owner
        await delete_file(services.storage, services.objects, owner, parse_id("file", input.id))
        return DeleteFilePayload(deleted_file_id=input.id)
