"""Creates the example data of the demo with the repositories and services that requests use."""

from collections.abc import AsyncIterator
from uuid import UUID

import msgspec

from db.connections import Connections
from db.demo.documents import documents
from db.demo.folder import DemoFolder, DemoState
from db.demo.shop import HOST, NAME, Shop
from db.kit.base import OwnerId
from db.postgres.sessions import Session
from db.services import Services
from db.storage import Bsps, Buckets, NewBsp, NewFile, store_bytes
from db.tasks import Tasks
from db.workbench import SavedConnections

CONNECTION = "Shop"
BUCKET = "documents"

_TASKS = (
    ("Run a first query on the shop", "Try the view `reporting.monthly_revenue`.", False),
    ("Find customers without an order", "A tenth of them never ordered anything.", False),
    ("Add an index for the search by city", None, False),
    ("Send the newsletter for July", "To the customers with `newsletter`.", False),
    ("Order new boots", "Eight models, sizes 36 to 48.", False),
    ("Export the revenue of June", "As CSV, to the bucket `documents`.", True),
    ("Set the prices for summer", None, True),
    ("Count the stock", None, True),
)
_PROVIDERS = (
    NewBsp("shop-backup-north", 500 * 1024**3, ["/dns4/north.example.com/tcp/443/wss"]),
    NewBsp("shop-backup-south", 250 * 1024**3, ["/dns4/south.example.com/tcp/443/wss"]),
)


async def create_examples(
    services: Services, owner: OwnerId, folder: DemoFolder, shop: Shop
) -> None:
    """Create the example data at the first start. Later starts change nothing but the port."""
    state = folder.state
    connections = SavedConnections(services.database, services.vault, services.workbench)
    if not state.complete:
        await services.database.transaction(lambda session: _create_tasks(session, owner))
        await _create_files(services, owner)
        connection_id = await _save_connection(connections, owner, shop)
        folder.write(DemoState(complete=True, connection_id=connection_id, shop_port=shop.port))
    elif state.shop_port != shop.port:  # another program uses it, or the cluster is a new one
        await _follow_shop(connections, owner, state, shop)
        folder.write(msgspec.structs.replace(state, shop_port=shop.port))


async def _create_tasks(session: Session, owner: OwnerId) -> None:
    tasks = Tasks(session, owner)
    for title, description, completed in reversed(_TASKS):  # lists show the newest first
        task = await tasks.create(title=title, description=description)
        if completed:
            await tasks.change(task.id, completed=True)


async def _create_files(services: Services, owner: OwnerId) -> None:
    async def create_bucket(session: Session) -> UUID:
        bsps = Bsps(session, owner)
        for provider in _PROVIDERS:
            await bsps.create(provider)
        return (await Buckets(session, owner).create(BUCKET, private=True)).id

    bucket_id = await services.database.transaction(create_bucket)
    for location, content_type, content in documents():
        new = NewFile(
            bucket_id, location, len(content), content_type, desired_replicas=len(_PROVIDERS)
        )
        file = await services.storage.create_file(owner, new)
        await store_bytes(services.storage, services.objects, file, _chunks(content))


async def _chunks(content: bytes) -> AsyncIterator[bytes]:
    yield content


async def _save_connection(connections: SavedConnections, owner: OwnerId, shop: Shop) -> UUID:
    fields = {
        "name": CONNECTION,
        "host": HOST,
        "port": shop.port,
        "database": NAME,
        "username": NAME,
        "password": await shop.renew_password(),
        "save_password": True,
        "ssl_mode": "DISABLE",  # the embedded PostgreSQL has no TLS and listens on loopback only
    }
    return (await connections.add(owner, fields)).id


async def _follow_shop(
    connections: SavedConnections, owner: OwnerId, state: DemoState, shop: Shop
) -> None:
    """Point the saved connection to the new port, unless the user changed or deleted it."""
    if state.connection_id is None:
        return
    async with connections.database.read() as session:
        row = await Connections(session, owner).get(state.connection_id)
    if row is None or (row.host, row.port, row.username) != (HOST, state.shop_port, NAME):
        return
    fields = {
        "port": shop.port,
        "password": await shop.renew_password(),
        "save_password": True,
    }
    await connections.change(owner, row.id, fields, expected_version=row.version)
