"""The Dockerfile follows the rules of hadolint and of this project; `make image` runs its steps."""

import re

import pytest

from tests.fixtures.dockerfile import instructions, is_ignored
from tests.fixtures.ship_tools import ROOT, output_of, require_tool

TEXT = (ROOT / "Dockerfile").read_text(encoding="utf-8")
LAST = TEXT.rpartition("\nFROM ")[2]
IGNORED = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()


def test_dockerfile_passes_hadolint() -> None:
    assert output_of(require_tool("hadolint"), "Dockerfile") == ""


def test_dockerfile_runs_as_a_user_by_number_with_a_health_check() -> None:
    steps = dict(instructions(LAST))
    assert re.fullmatch(
        r"[1-9]\d+:[1-9]\d+", steps["USER"]
    )  # a number: Kubernetes can tell it from root
    assert "/healthz" in steps["HEALTHCHECK"]
    assert "requirements.lock" in TEXT
    assert "--require-hashes" in TEXT


@pytest.mark.parametrize(
    ("path", "ignored"),
    [
        ("db/settings/settings.py", False),
        ("alembic/versions/0001_tasks.py", False),
        (".ci/graphiql", False),
        (".env", True),
        (".git/config", True),
        ("tests/conftest.py", True),
        ("db/__pycache__/settings.pyc", True),
        ("graph/transport/graphiql/node_modules/react/index.js", True),
        ("graph/transport/graphiql/dist/index.html", True),
    ],
)
def test_image_is_made_of_listed_files_only(path: str, *, ignored: bool) -> None:
    assert is_ignored(path, [line for line in IGNORED if line and line[0] != "#"]) is ignored


def test_dockerfile_copies_only_files_that_the_context_has() -> None:
    for keyword, words in instructions(TEXT):
        if keyword == "COPY" and not words.startswith("--from="):
            for name in words.split()[:-1]:
                assert (ROOT / name).exists()
                assert not is_ignored(name.rstrip("/"), IGNORED), name
