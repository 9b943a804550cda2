"""Links to uploads and downloads behind a proxy with a path of its own."""

from typing import Any

import httpx
import pytest

from db.settings import Settings
from tests.fixtures.clients import Client
from tests.fixtures.factories import make_bucket
from tests.graph.storage.test_storage import CREATE_FILE, FILE

PUBLIC_URL = "https://files.example.com/howdah/"


@pytest.fixture
def settings(tmp_path: Any) -> Settings:
    return Settings(env="development", data_dir=tmp_path, sign_up="open", public_url=PUBLIC_URL)


async def test_links_start_with_the_public_url_and_work_behind_its_proxy(ada: Client) -> None:
    asked = {"bucketId": await make_bucket(ada), "location": "a", "size": "1"}
    made = (await ada.ask(CREATE_FILE, input=asked))["createFile"]
    assert made["uploadUrl"].startswith(f"{PUBLIC_URL}files/")
    proxied = httpx.URL(made["uploadUrl"].removeprefix(PUBLIC_URL[:-1]))
    assert (await ada.http.put(proxied, content=b"x")).status_code == 201
    file = (await ada.ask(FILE, id=made["file"]["id"]))["file"]
    assert file["downloadUrl"].startswith(f"{PUBLIC_URL}files/")
