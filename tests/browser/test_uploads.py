"""Resumable uploads in a real browser, from a page of another origin."""

import shutil
from pathlib import Path

import pytest

from tests.browser.conftest import RunScript, serve_folder
from tests.fixtures.served import Served
from tests.graph.storage.test_storage import CREATE_FILE
from tests.graph.transport.test_clients import CLIENTS

TUS = CLIENTS / "node_modules" / "tus-js-client" / "dist" / "tus.min.js"
CREATE_BUCKET = """mutation { createBucket(input: {name: "uploads"}) { bucket { id } } }"""
FILE = "query ($id: ID!) { file(id: $id) { status fingerprint } }"


@pytest.mark.skipif(not TUS.exists(), reason="needs npm install --prefix tests/clients")
async def test_browser_pauses_and_resumes_an_upload(
    browser_tools: RunScript, howdah_server: Served, tmp_path: Path
) -> None:
    shutil.copy(TUS, tmp_path)
    (tmp_path / "index.html").write_text("<!doctype html><script src=tus.min.js></script>")
    bucket = (await howdah_server.ask(CREATE_BUCKET))["createBucket"]["bucket"]["id"]
    new = {"bucketId": bucket, "location": "may.bin", "size": "3000000"}
    made = (await howdah_server.ask(CREATE_FILE, input=new))["createFile"]
    with serve_folder(tmp_path) as page:
        digest = await browser_tools("uploads.mjs", page, made["uploadUrl"])
    file = (await howdah_server.ask(FILE, id=made["file"]["id"]))["file"]
    assert file == {"status": "STORED", "fingerprint": digest.strip()}
