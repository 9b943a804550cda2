"""Queries and mutations of storage. Bytes go over HTTP (`graph.transport.files.file_routes`)."""

from typing import Annotated, Any, Protocol

import strawberry

from db.kit.lists.paging import Page, Window
from db.storage import (
    BspRow,
    Bsps,
    BucketRow,
    Buckets,
    FileRow,
    Files,
    NewBsp,
    NewFile,
    PublicBuckets,
    begin_replacement,
    delete_file,
    remove_bytes_if_possible,
)
from graph.auth import AdminOnly, SignedIn
from graph.context import Info, ReaderFactory
from graph.kit.fields import argument, mutation, provided_fields, query
from graph.kit.ids import parse_id
from graph.kit.paging import Connection, Listing, paged
from graph.kit.scopes import STORAGE
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
    MoveFileInput,
    MoveFilePayload,
    ReplaceFileInput,
    ReplaceFilePayload,
    SetBspMultiaddressesInput,
    SetBspMultiaddressesPayload,
    UpdateBspCapacityInput,
    UpdateBspCapacityPayload,
    UpdateBucketInput,
    UpdateBucketPayload,
)
from graph.storage.loaders import BspById, BucketById, FileById
from graph.storage.types import Bsp, Bucket, File, parse_key, upload_link

MAX_FILES_REMOVED_AT_ONCE = 100
"""Bytes removed together with their bucket. The next sweep removes the rest."""

BspId = Annotated[strawberry.ID, argument("ID of the provider.")]
BucketId = Annotated[strawberry.ID, argument("ID of the bucket.")]
FileId = Annotated[strawberry.ID, argument("ID of the file.")]
FileKey = Annotated[str, argument("`key` of the file: 64 lowercase hexadecimal digits.")]

SCOPES = STORAGE


@strawberry.type
class Query:
    @query(
        "Fetches a provider by its ID. Returns null if it does not exist.",
        who=SignedIn,
        type=Bsp | None,
    )
    async def bsp(self, info: Info, id: BspId) -> BspRow | None:
        return await BspById.of(info.context).load(parse_id("bsp", id))

    @query("Lists all providers, newest first.", who=SignedIn, type=Connection[Bsp])
    @paged
    async def bsps(self, info: Info, window: Window) -> Listing:
        return await _list(info, Bsps, window)

    @query(
        "Fetches a bucket that the viewer owns or that is public, by its ID. "
        "Returns null if it does not exist or is not visible to the viewer.",
        who=SignedIn,
        type=Bucket | None,
    )
    async def bucket(self, info: Info, id: BucketId) -> BucketRow | None:
        return await BucketById.of(info.context).load(parse_id("bucket", id))

    @query("Lists the viewer's buckets, newest first.", who=SignedIn, type=Connection[Bucket])
    @paged
    async def buckets(self, info: Info, window: Window) -> Listing:
        return await _list(info, Buckets, window)

    @query(
        "Lists the public buckets (`private: false`) of all users, also the viewer's, newest "
        "first. It does not tell who owns them; `ownedByViewer` marks the viewer's own.",
        who=SignedIn,
        type=Connection[Bucket],
    )
    @paged
    async def public_buckets(self, info: Info, window: Window) -> Listing:
        return await _list(info, PublicBuckets, window)

    @query(
        "Fetches a file that the viewer owns or that is in a public bucket, by its ID. "
        "Returns null if it does not exist or is not visible to the viewer.",
        who=SignedIn,
        type=File | None,
    )
    async def file(self, info: Info, id: FileId) -> FileRow | None:
        return await FileById.of(info.context).load(parse_id("file", id))

    @query(
        "Fetches a stored file by its `key`. "
        "Returns null if it does not exist or is not visible to the viewer.",
        who=SignedIn,
        type=File | None,
    )
    async def file_by_key(self, info: Info, key: FileKey) -> FileRow | None:
        return await info.context.read(Files, lambda files: files.by_key(parse_key(key)))

    @query(
        "Lists the viewer's files in all buckets, newest first.",
        who=SignedIn,
        type=Connection[File],
    )
    @paged
    async def files(self, info: Info, window: Window) -> Listing:
        return await _list(info, Files, window)


@strawberry.type
class Mutation:
    @mutation(
        "Registers a provider. Fails with `CONFLICT` if the account is registered. Requires the "
        "`ADMIN` role.",
        who=AdminOnly,
    )
    async def create_bsp(
        self, info: Info, input: Annotated[CreateBspInput, argument("Provider to register.")]
    ) -> CreateBspPayload:
        values = provided_fields(input)
        key = values.pop("idempotency_key", None)
        new = NewBsp(**values)
        bsp = await info.context.once(
            Bsps,
            lambda bsps: bsps.create(new),
            key=key,
            request=("createBsp", new),
            answer=BspRow,
            audited=True,
        )
        return CreateBspPayload(bsp=bsp)

    @mutation(
        "Changes the capacity of a provider. Fails with `CONFLICT` if more is in use. Requires the "
        "`ADMIN` role.",
        who=AdminOnly,
    )
    async def update_bsp_capacity(
        self,
        info: Info,
        input: Annotated[UpdateBspCapacityInput, argument("Provider and its new capacity.")],
    ) -> UpdateBspCapacityPayload:
        values = provided_fields(input)
        bsp_id = parse_id("bsp", values.pop("id"))
        bsp = await info.context.transact(Bsps, lambda bsps: bsps.set_capacity(bsp_id, **values))
        return UpdateBspCapacityPayload(bsp=bsp)

    @mutation(
        "Replaces the network addresses of a provider. Requires the `ADMIN` role.", who=AdminOnly
    )
    async def set_bsp_multiaddresses(
        self,
        info: Info,
        input: Annotated[SetBspMultiaddressesInput, argument("Provider and its addresses.")],
    ) -> SetBspMultiaddressesPayload:
        values = provided_fields(input)
        bsp_id = parse_id("bsp", values.pop("id"))
        bsp = await info.context.transact(
            Bsps, lambda bsps: bsps.set_multiaddresses(bsp_id, **values)
        )
        return SetBspMultiaddressesPayload(bsp=bsp)

    @mutation(
        "Deletes a provider. Fails with `CONFLICT` if it stores files. Requires the `ADMIN` role.",
        who=AdminOnly,
    )
    async def delete_bsp(
        self, info: Info, input: Annotated[DeleteBspInput, argument("Provider to delete.")]
    ) -> DeleteBspPayload:
        values = provided_fields(input)
        bsp_id = parse_id("bsp", values.pop("id"))
        await info.context.transact(Bsps, lambda bsps: bsps.remove(bsp_id, **values))
        return DeleteBspPayload(deleted_bsp_id=input.id)

    @mutation(
        "Creates a bucket. Fails with `CONFLICT` if the viewer has one of this name.", who=SignedIn
    )
    async def create_bucket(
        self, info: Info, input: Annotated[CreateBucketInput, argument("Bucket to create.")]
    ) -> CreateBucketPayload:
        values = provided_fields(input)
        key = values.pop("idempotency_key", None)
        quota = info.context.services.quotas.buckets

        async def create(buckets: Buckets) -> BucketRow:
            await quota.check(buckets)
            return await buckets.create(**values)

        bucket = await info.context.once(
            Buckets,
            create,
            key=key,
            request=("createBucket", values),
            answer=BucketRow,
        )
        return CreateBucketPayload(bucket=bucket)

    @mutation(
        "Changes the name or the visibility of a bucket the viewer owns. Fails with `CONFLICT` if "
        "they have another one of this name.",
        who=SignedIn,
    )
    async def update_bucket(
        self,
        info: Info,
        input: Annotated[UpdateBucketInput, argument("Bucket and its new values.")],
    ) -> UpdateBucketPayload:
        values = provided_fields(input)
        bucket_id = parse_id("bucket", values.pop("id"))
        bucket = await info.context.transact(
            Buckets, lambda buckets: buckets.change(bucket_id, **values)
        )
        return UpdateBucketPayload(bucket=bucket)

    @mutation("Deletes a bucket the viewer owns, optionally with its files.", who=SignedIn)
    async def delete_bucket(
        self, info: Info, input: Annotated[DeleteBucketInput, argument("Bucket to delete.")]
    ) -> DeleteBucketPayload:
        services, owner = info.context.services, info.context.owner
        bucket_id = parse_id("bucket", input.id)
        removed = await services.storage.delete_bucket(
            owner, bucket_id, with_files=input.with_files, limit=MAX_FILES_REMOVED_AT_ONCE
        )
        await remove_bytes_if_possible(services.storage, services.objects, removed)
        return DeleteBucketPayload(deleted_bucket_id=input.id)

    @mutation(
        "Creates a file in a bucket the viewer owns and returns the URL to upload its bytes to. "
        "Fails with `CONFLICT` if the location is in use, or too few providers have room for "
        "`desiredReplicas`.",
        who=SignedIn,
    )
    async def create_file(
        self, info: Info, input: Annotated[CreateFileInput, argument("File to create.")]
    ) -> CreateFilePayload:
        values = provided_fields(input)
        values["bucket_id"] = parse_id("bucket", values["bucket_id"], argument="bucketId")
        key = values.pop("idempotency_key", None)
        services, owner = info.context.services, info.context.owner
        file = await services.storage.create_file(owner, NewFile(**values), idempotency_key=key)
        return CreateFilePayload(file=file, upload_url=upload_link(info.context, file))

    @mutation(
        "Moves a file the viewer owns to another location or bucket. Its `key` changes, because it "
        "covers both; its bytes and replicas stay. A file that is already there is returned "
        "unchanged. Fails with `CONFLICT` if another file is there.",
        who=SignedIn,
    )
    async def move_file(
        self, info: Info, input: Annotated[MoveFileInput, argument("File and its destination.")]
    ) -> MoveFilePayload:
        values = provided_fields(input)
        file_id = parse_id("file", values.pop("id"))
        if values.get("bucket_id") is not None:
            values["bucket_id"] = parse_id("bucket", values["bucket_id"], argument="bucketId")
        storage, owner = info.context.services.storage, info.context.owner
        return MoveFilePayload(file=await storage.move_file(owner, file_id, **values))

    @mutation(
        "Prepares new bytes for a file the viewer owns, and returns the URL to upload them to. "
        "The file serves its old bytes until the new ones are complete, then switches at once. "
        "A later `replaceFile` cancels an earlier one that is not complete. Fails with `CONFLICT` "
        "unless the file is `STORED`.",
        who=SignedIn,
    )
    async def replace_file(
        self, info: Info, input: Annotated[ReplaceFileInput, argument("File and its new size.")]
    ) -> ReplaceFilePayload:
        values = provided_fields(input)
        file_id = parse_id("file", values.pop("id"))
        services, owner = info.context.services, info.context.owner
        file = await begin_replacement(services.storage, services.objects, owner, file_id, **values)
        return ReplaceFilePayload(file=file, upload_url=upload_link(info.context, file))

    @mutation("Deletes a file the viewer owns.", who=SignedIn)
    async def delete_file(
        self, info: Info, input: Annotated[DeleteFileInput, argument("File to delete.")]
    ) -> DeleteFilePayload:
        services, owner = info.context.services, info.context.owner
        await delete_file(services.storage, services.objects, owner, parse_id("file", input.id))
        return DeleteFilePayload(deleted_file_id=input.id)


class _NewestFirst(Protocol):
    """A repository that lists its rows, newest first."""

    async def page(self, window: Window) -> Page[Any]: ...

    async def count(self) -> int: ...


async def _list(info: Info, of: ReaderFactory[_NewestFirst], window: Window) -> Listing:
    context = info.context
    page = await context.read(of, lambda rows: rows.page(window))
    return Listing(page, lambda: context.read(of, lambda rows: rows.count()))
