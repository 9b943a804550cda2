"""What a production server does by itself: no root, no GraphiQL, https only, secrets from files."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from db.errors import BadInput, Forbidden
from db.services import Services
from db.settings import Settings, load_settings, sources, unknown_variables
from db.settings.files import MAX_BYTES, may_be_file
from graph.commands.serving.serve import refuse_root
from tests.graph.commands.test_cli import howdah
from tests.security.test_local_sign_in import calling

ROOT = Path(__file__).parents[2]
BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
HSTS = "strict-transport-security"


@pytest.mark.parametrize(
    ("settings", "uid", "refused"),
    [
        ({"env": "production"}, 0, True),
        ({"env": "production"}, 1_000, False),
        ({"env": "production", "allow_root": True}, 0, False),
        ({"env": "development"}, 0, False),
    ],
)
def test_production_refuses_root(
    monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any], uid: int, *, refused: bool
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: uid)
    if refused:
        with pytest.raises(Forbidden, match="root"):
            refuse_root(Settings(**settings))
    else:
        refuse_root(Settings(**settings))


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to be refused")
@pytest.mark.parametrize("workers", ["1", "2"])
async def test_serve_as_root_says_what_to_do(workers: str) -> None:
    code, _, errors = await howdah("serve", "--workers", workers, HOWDAH_ENV="production")
    assert code == 1
    assert "HOWDAH_ALLOW_ROOT" in errors


async def test_https_policy_is_sent_over_https_in_production(services: Services) -> None:
    for path in ("/healthz", "/graphql?query=%7B__typename%7D", "/nothing"):
        async with calling(services, env="production", introspection=True) as http:
            over_https = await http.get(f"https://127.0.0.1:8000{path}")
            assert over_https.headers.get_list(HSTS) == ["max-age=31536000"]
            assert HSTS not in (await http.get(path)).headers
        async with calling(services, env="production", hsts_seconds=0) as http:
            assert HSTS not in (await http.get(f"https://127.0.0.1:8000{path}")).headers
        async with calling(services) as http:
            assert HSTS not in (await http.get(f"https://127.0.0.1:8000{path}")).headers


@pytest.mark.parametrize(
    ("chosen", "served"),
    [
        ({"env": "production"}, False),
        ({"env": "production", "graphiql": True}, True),
        ({"env": "development"}, True),
        ({"env": "development", "graphiql": False}, False),
    ],
)
async def test_graphiql_is_served_where_it_is_wanted(
    services: Services, chosen: dict[str, Any], *, served: bool
) -> None:
    async with calling(services, **chosen) as http:
        page = await http.get("/graphql", headers=BROWSER)
        home = await http.get("/", headers=BROWSER)
        asset = await http.get("/graphql/assets/none.js")
        answer = await http.post("/graphql", json={"query": "{ health { status } }"})
    assert answer.status_code == 200
    assert (home.status_code == 307) is served
    assert page.headers["content-type"].startswith("text/html") is served
    if not served:
        assert (page.status_code, asset.status_code) == (404, 404)
        assert "HOWDAH_GRAPHIQL" in page.json()["errors"][0]["extensions"]["hint"]


SECRETS = ("secret_key", "credential_key", "jwt_secret", "metrics_token")


@pytest.mark.parametrize(
    "name",
    [
        *SECRETS,
        "database_url",
        "direct_database_url",
        "read_database_urls",
        "events_url",
        "objects_url",
    ],
)
def test_secret_is_read_from_a_file(tmp_path: Path, name: str) -> None:
    file = tmp_path / "secret"
    file.write_text("postgresql://from:file@host/x\n")
    environ = {f"HOWDAH_{name.upper()}_FILE": str(file)}
    if name == "jwt_secret":
        environ["HOWDAH_JWT_AUDIENCE"] = "us"
    if name in {"direct_database_url", "read_database_urls"}:
        environ["HOWDAH_DATABASE_URL"] = "postgresql://host/x"
    assert getattr(load_settings(environ), name) == "postgresql://from:file@host/x"
    assert unknown_variables(environ) == []
    assert name in sources(environ)


def test_file_is_for_secrets_only() -> None:
    assert unknown_variables({"HOWDAH_PORT_FILE": "x", "HOWDAH_PUBLIC_URL_FILE": "x"})
    secret = [name for name in Settings.__struct_fields__ if may_be_file(name)]
    assert set(SECRETS) <= set(secret)


@pytest.mark.parametrize("content", [None, "", " \n", "x" * (MAX_BYTES + 1), b"\xff\xfe"])
def test_file_of_a_secret_that_cannot_be_used_is_an_error(
    tmp_path: Path, content: str | bytes | None
) -> None:
    file = tmp_path / "canary"
    if content is not None:
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(BadInput, match="HOWDAH_SECRET_KEY_FILE"):
        load_settings({"HOWDAH_SECRET_KEY_FILE": str(file)})


def test_secret_in_a_file_and_in_a_variable_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("from the file")
    both = {"HOWDAH_SECRET_KEY_FILE": str(tmp_path / "secret"), "HOWDAH_SECRET_KEY": "other"}
    with pytest.raises(BadInput, match="both set"):
        load_settings(both)


def test_npm_runs_no_scripts_of_packages() -> None:
    """Except for the benchmark of PostGraphile: the package `node` is its install script."""
    folders = {
        path.parent
        for path in ROOT.rglob("package.json")
        if "node_modules" not in path.parts and path.parent.name != "postgraphile"
    }
    outer = {folder for folder in folders if not folders & set(folder.parents)}
    assert len(outer) >= 5
    for folder in outer:
        assert "ignore-scripts=true" in (folder / ".npmrc").read_text().splitlines(), folder
        assert json.loads((folder / "package.json").read_text())
