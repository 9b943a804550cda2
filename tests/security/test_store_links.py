"""Downloads from an object store: its links cannot be revoked, so each request gets its own."""

from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from db.services import Services
from db.settings import Settings
from graph.transport.files.file_routes import STORE_LINK_LIFETIME
from tests.fixtures.clients import Client
from tests.fixtures.patience import PATIENCE_S
from tests.graph.transport.files.test_file_routes import DATA, stored
from tests.security.test_links import mia, sign_in, sign_out

__all__ = ["mia"]


@pytest.fixture
def settings(request: pytest.FixtureRequest, tmp_path: Path, s3_bucket: str) -> Settings:
    return Settings(
        env="development",
        data_dir=tmp_path,
        sign_up="open",
        objects_url=f"s3://{s3_bucket}/howdah",
        objects_redirect=getattr(request, "param", True),
    )


async def test_link_to_a_store_ends_with_sign_out(mia: Client) -> None:
    refresh_token = await sign_in(mia)
    download = await stored(mia)
    assert urlsplit(download).path.startswith("/files/")
    redirect = await mia.http.get(download)
    location = redirect.headers["location"]
    assert redirect.status_code == 307
    lifetime_s = int(parse_qs(urlsplit(location).query)["X-Amz-Expires"][0])
    assert lifetime_s == STORE_LINK_LIFETIME.total_seconds() <= 60
    async with httpx.AsyncClient(timeout=PATIENCE_S) as http:
        assert (await http.get(location)).content == DATA
    await sign_out(mia, refresh_token)
    assert (await mia.http.get(download)).status_code == 403


async def test_script_of_another_origin_is_served_without_a_redirect(
    ada: Client, services: Services
) -> None:
    """A redirect changes its origin to `null`, which CORS rules of a store rarely name."""
    assert services.objects.kind == "s3"
    answer = await ada.http.get(await stored(ada), headers={"Origin": "http://localhost:5173"})
    assert (answer.status_code, answer.content) == (200, DATA)
    assert answer.headers["access-control-allow-origin"] == "http://localhost:5173"


@pytest.mark.parametrize("settings", [False], indirect=True)
async def test_setting_streams_all_downloads(ada: Client) -> None:
    answer = await ada.http.get(await stored(ada))
    assert (answer.status_code, answer.content) == (200, DATA)
