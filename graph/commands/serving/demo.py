"""`howdah demo`: a development server with a sample database and example data."""

import contextlib
from pathlib import Path

import click
import msgspec

from db.demo import BUCKET, CONNECTION, DemoFolder, Shop, create_examples
from db.services import Services
from db.settings import Settings, load_settings
from db.users import LOCAL_ADMIN
from graph.auth import owner_of_email
from graph.commands.serving.serve import open_server, serve_requests
from graph.server.logs import logging_to
from graph.server.signals import Stop, run


def serve_demo(data_dir: Path | None, *, port: int | None, reset: bool) -> None:
    """Serve until SIGTERM or SIGINT.

    Raises:
        BadInput: the folder contains files and is not a demo's.
        Unavailable: another server uses the folder.
    """
    folder = DemoFolder(data_dir)
    settings = _settings(folder, port=port)
    with logging_to(settings):
        run(lambda stop: _serve(settings, folder, stop, reset=reset))


async def _serve(settings: Settings, folder: DemoFolder, stop: Stop, *, reset: bool) -> None:
    if reset or not folder.state.complete:  # a first start that was interrupted begins anew
        await folder.reset()
    async with contextlib.AsyncExitStack() as stack:

        async def prepare(services: Services) -> None:
            shop = await Shop.open(folder.path / "shop", port=folder.state.shop_port)
            await stack.enter_async_context(shop)
            await services.identity.local_admin()
            owner = await owner_of_email(services, LOCAL_ADMIN)
            await create_examples(services, owner, folder, shop)

        async with open_server(settings, prepare) as (services, listener):
            if settings.log_format != "json":
                click.echo(
                    f'There is a saved connection "{CONNECTION}" to a sample database, a bucket '
                    f'"{BUCKET}" and some tasks. `--reset` begins anew.'
                )
            await serve_requests(services, listener, stop)


def _settings(folder: DemoFolder, *, port: int | None) -> Settings:
    """The settings of the environment, without those that lead to other data or other machines."""
    return msgspec.structs.replace(
        load_settings(port=port),
        data_dir=folder.path,
        host="127.0.0.1",
        env="development",
        database_url=None,
        direct_database_url=None,
        read_database_urls=None,
        events_url=None,
        objects_url=None,
        targets=None,
    )
